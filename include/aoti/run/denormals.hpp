// SPDX-License-Identifier: BSD-3-Clause
// How a processor treats the smallest numbers.
#pragma once

#include <dlfcn.h>

#include <cstdint>

#include "aoti/atomic.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// How denormal numbers count while it lives: as they are, or as zero.
template <bool zero> class Denormals {
 public:
  static void prepare() noexcept {}
};

/// While it lives, the calling thread reads and writes denormal numbers as zero; so do OpenMP's
/// threads that it shares work with, for good. Has no effect on processors other than x86-64 and
/// 64-bit ARM.
template <> class Denormals<true> {
 public:
  /// Looks for OpenMP, which the image of a model may just have brought along.
  static void prepare() noexcept {
    if (openmp_.load() != nullptr || ::dlsym(RTLD_DEFAULT, "GOMP_parallel") == nullptr) return;
    static const OpenMp found;
    if (found.stays()) openmp_.store(&found);
  }

  Denormals() noexcept : before_{read()} {
    write(before_ | flags);
    tell_others();
  }
  ~Denormals() { write(before_); }
  Denormals(const Denormals&) = delete;
  Denormals& operator=(const Denormals&) = delete;

 private:
#if defined(__x86_64__)
  using Control = unsigned;
  static constexpr Control flags = 1u << 15 | 1u << 6;  // of results, of operands
  static Control read() noexcept { return __builtin_ia32_stmxcsr(); }
  static void write(Control control) noexcept { __builtin_ia32_ldmxcsr(control); }
#elif defined(__aarch64__)
  using Control = std::uint64_t;
  static constexpr Control flags = 1u << 24;
  static Control read() noexcept {
    Control control;
    asm volatile("mrs %0, fpcr" : "=r"(control));
    return control;
  }
  static void write(Control control) noexcept { asm volatile("msr fpcr, %0" : : "r"(control)); }
#else
  using Control = unsigned;
  static constexpr Control flags = 0;
  static Control read() noexcept { return 0; }
  static void write(Control) noexcept {}
#endif

  struct OpenMp {
    int (*max_threads)();
    int (*in_parallel)();
    void (*run)(void (*)(void*), void*, unsigned, unsigned);

    template <class Function> static void find(const char* name, Function*& function) noexcept {
      function = reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
    }
    OpenMp() noexcept {
      find("omp_get_max_threads", max_threads);
      find("omp_in_parallel", in_parallel);
      find("GOMP_parallel", run);
    }
    /// Keeps it loaded when the model is unloaded; false if that fails, or functions are missing.
    bool stays() const noexcept {
      Dl_info library;
      return max_threads != nullptr && in_parallel != nullptr && run != nullptr &&
             ::dladdr(reinterpret_cast<const void*>(run), &library) != 0 &&
             ::dlopen(library.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE) != nullptr;
    }
  };

  /// OpenMP keeps threads for each thread that starts some.
  static void tell_others() noexcept {
    const OpenMp* const openmp = openmp_.load();
    if (openmp == nullptr || openmp->in_parallel() != 0) return;
    const int threads = openmp->max_threads();
    if (threads <= told_) return;
    told_ = threads;
    openmp->run([](void*) { write(read() | flags); }, nullptr, 0, 0);
  }

  inline static constinit Atomic<const OpenMp*> openmp_{nullptr};
  inline static constinit thread_local int told_ = 1;

  const Control before_;
};

}  // namespace aoti::inline AOTI_ABI::detail
