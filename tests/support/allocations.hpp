// Counts a thread's heap allocations, without those that the runtime marks as its own (Foreign).
// Allocations are seen at malloc: by the sanitizers' hook, or by the replacement of malloc here.
#pragma once

#include <cstddef>

#include "support/fake_runtime.hpp"
#include "support/sanitizers.hpp"

namespace aoti_test {

inline thread_local bool counts_allocations = false;
inline thread_local std::size_t allocation_count = 0;

inline void note_allocation() noexcept {
  if (counts_allocations && foreign_depth == 0) ++allocation_count;
}

/// The allocations of the library while `body` runs.
template <class Body> std::size_t allocations_in(Body&& body) {
  allocation_count = 0;
  counts_allocations = true;
  body();
  counts_allocations = false;
  return allocation_count;
}

}  // namespace aoti_test

#if AOTI_TEST_ASAN || AOTI_TEST_TSAN
// As in <sanitizer/allocator_interface.h>, which gcc does not include.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*,
                                                                  std::size_t),
                                                         void (*)(const volatile void*));
namespace aoti_test {
inline const int allocation_hook = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, std::size_t) { note_allocation(); }, [](const volatile void*) {});
}
#else
// Weak, since several files of a program may include this one.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
[[gnu::weak]] void* malloc(std::size_t size) noexcept {
  aoti_test::note_allocation();
  return __libc_malloc(size);
}
[[gnu::weak]] void* calloc(std::size_t count, std::size_t size) noexcept {
  aoti_test::note_allocation();
  return __libc_calloc(count, size);
}
[[gnu::weak]] void* realloc(void* old, std::size_t size) noexcept {
  aoti_test::note_allocation();
  return __libc_realloc(old, size);
}
}
#endif
