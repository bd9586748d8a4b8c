// SPDX-License-Identifier: BSD-3-Clause
// The memory of the native runtime: each thread keeps memory that it frees for reuse.
#pragma once

#include <dlfcn.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "aoti/atomic.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define AOTI_POOL_POISONS
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AOTI_POOL_POISONS
#endif
#endif
#if defined(AOTI_POOL_POISONS)
extern "C" void __asan_poison_memory_region(const volatile void* address, std::size_t size);
extern "C" void __asan_unpoison_memory_region(const volatile void* address, std::size_t size);
#endif

namespace aoti::inline AOTI_ABI::detail {

class Pool;

/// The header of all memory from a pool. Blocks are aligned to 64 bytes.
struct Block {
  Pool* owner;               ///< The pool that the block returns to, whichever thread frees it.
  Block* next;               ///< While it is free.
  std::uint32_t size_class;  ///< See Pool::class_size.
  Atomic<std::uint32_t> references;
};

/// C++'s operators new and delete as models find them: the program's if it exports its own, else
/// those of the C++ library that models load.
class SystemObjects {
 public:
  /// Whether they were found; the functions below may be called only then.
  static bool known() noexcept { return get().make_ != nullptr; }
  [[gnu::noinline]] static void* make(std::size_t bytes) { return get().make_(bytes); }
  [[gnu::noinline]] static void free(void* memory) noexcept { get().free_(memory); }

 private:
  SystemObjects() noexcept {
    for (const char* where : {static_cast<const char*>(nullptr), "libstdc++.so.6"}) {
      void* const scope = ::dlopen(where, RTLD_LAZY | RTLD_NOLOAD);  // stays open
      if (scope == nullptr) continue;
      void* const make = ::dlsym(scope, "_Znwm");
      void* const free = ::dlsym(scope, "_ZdlPv");
      if (make == nullptr || free == nullptr) continue;
      make_ = reinterpret_cast<void* (*)(std::size_t)>(make);
      free_ = reinterpret_cast<void (*)(void*)>(free);
      return;
    }
  }
  static const SystemObjects& get() noexcept {
    static const SystemObjects objects;
    return objects;
  }

  void* (*make_)(std::size_t) = nullptr;
  void (*free_)(void*) = nullptr;
};

/// Memory in size classes: multiples of 64 bytes up to 1 KiB, then four for each power of two. A
/// thread frees and allocates its own memory without a lock or an atomic operation. Memory that
/// another thread frees waits in a list that the owner empties when it runs out. A pool outlives
/// its thread, and serves the next thread that needs one.
class Pool {
 public:
  static constexpr std::size_t alignment = 64;
  static constexpr std::size_t largest = std::size_t{1} << 46;
#if defined(AOTI_POOL_POISONS)
  static constexpr bool keeps_objects = false;  // the sanitizer should see them
#else
  static constexpr bool keeps_objects = true;
#endif

  [[gnu::always_inline]] static constexpr std::uint32_t size_class(std::size_t bytes) noexcept {
    if (bytes <= 1024) return bytes == 0 ? 0 : static_cast<std::uint32_t>((bytes - 1) / 64);
    const auto log = static_cast<std::uint32_t>(63 - __builtin_clzll(bytes - 1));
    return 16 + (log - 10) * 4 + static_cast<std::uint32_t>((bytes - 1) >> (log - 2) & 3);
  }
  static constexpr std::size_t class_size(std::uint32_t index) noexcept {
    if (index < 16) return (index + 1) * std::size_t{64};
    const std::uint32_t log = 10 + (index - 16) / 4;
    return (std::size_t{1} << log) + (index % 4 + 1) * (std::size_t{1} << (log - 2));
  }

  /// At least `bytes`, including the header, with a reference count of one; null if the system has
  /// no memory.
  [[gnu::always_inline]] static Block* allocate(std::size_t bytes) noexcept {
    if (bytes > largest) [[unlikely]]
      return nullptr;
    const std::uint32_t index = size_class(bytes);
    Pool* pool = current_;
    if (pool != nullptr && pool->free_[index] != nullptr) [[likely]]
      return pool->pop(index);
    return allocate_slowly(index);
  }

  [[gnu::always_inline]] static void free(Block* block) noexcept {
    Pool* pool = block->owner;
    poison(block);
    if (pool == current_) [[likely]] {
      block->next = pool->free_[block->size_class];
      pool->free_[block->size_class] = block;
    } else {
      push(pool->returned_, block, block);
    }
  }

  /// Memory of a small object of exactly that size that was deleted on this thread; null if none is
  /// kept. The system owns it, see SystemObjects.
  [[gnu::always_inline]] static void* take_object(std::size_t bytes) noexcept {
    Pool* pool = current_;
    const std::size_t words = std::rotr(bytes, 3);
    if (pool == nullptr || words > most_words) [[unlikely]]
      return nullptr;
    return std::exchange(pool->objects_[words], nullptr);
  }
  /// Keeps the memory of a deleted object; false if one of that size is kept already.
  [[gnu::always_inline]] static bool keep_object(void* memory, std::size_t bytes) noexcept {
    Pool* pool = current_;
    const std::size_t words = std::rotr(bytes, 3);
    if (words > most_words) return false;
    if (pool == nullptr) [[unlikely]] {
      pool = enter_unless_ending();
      if (pool == nullptr) return false;
    }
    void*& kept = pool->objects_[words];
    if (kept != nullptr) return false;
    kept = memory;
    return true;
  }

  /// Returns memory kept for reuse to the system: that of the calling thread and of threads that
  /// have ended.
  [[gnu::noinline]] static void trim() noexcept {
    if (current_ != nullptr) current_->release();
    Pool* idle = idle_.exchange(nullptr);
    while (idle != nullptr) {
      Pool* next = idle->next_;
      idle->release();
      push(idle_, idle, idle);
      idle = next;
    }
  }

  /// The bytes that all pools have from the system, in use or kept, not counting objects.
  static std::size_t reserved() noexcept { return reserved_.load(); }

 private:
  static constexpr std::uint32_t class_count = 160;

  // For kept objects; a size that is not a multiple of eight counts as a large one.
  static constexpr std::size_t most_words = keeps_objects ? 64 : 0;

  Pool() noexcept = default;

  /// Both lists name their links like this, so that this serves either.
  static Block*& next_of(Block* block) noexcept { return block->next; }
  static Pool*& next_of(Pool* pool) noexcept { return pool->next_; }

  template <class T> static void push(Atomic<T*>& list, T* first, T* last) noexcept {
    T* head = list.load();
    do {
      next_of(last) = head;
    } while (!list.replace(head, first));
  }

  [[gnu::always_inline]] Block* pop(std::uint32_t index) noexcept {
    Block* block = free_[index];
    unpoison(block);
    free_[index] = block->next;
    block->references.store(1);
    return block;
  }

  [[gnu::noinline]] static Block* allocate_slowly(std::uint32_t index) noexcept {
    Pool* pool = current_ != nullptr ? current_ : enter();
    if (pool == nullptr) return nullptr;
    pool->collect();
    Block* block = pool->free_[index] != nullptr ? pool->pop(index) : pool->grow(index);
    if (current_ == nullptr) push(idle_, pool, pool);  // the thread is ending
    return block;
  }

  /// Moves memory that other threads returned to the free lists.
  void collect() noexcept {
    Block* block = returned_.exchange(nullptr);
    while (block != nullptr) {
      Block* next = block->next;
      block->next = free_[block->size_class];
      free_[block->size_class] = block;
      block = next;
    }
  }

  Block* grow(std::uint32_t index) noexcept {
    const std::size_t size = class_size(index);
    void* memory = std::aligned_alloc(alignment, size);
    if (memory == nullptr) {
      trim();
      release();
      memory = std::aligned_alloc(alignment, size);
    }
    if (memory == nullptr) return nullptr;
    reserved_.add(size);
    return new (memory) Block{this, nullptr, index, 1};
  }

  void release() noexcept {
    collect();
    for (std::uint32_t index = 0; index < class_count; ++index) {
      while (free_[index] != nullptr) {
        Block* block = pop(index);
        reserved_.add(std::size_t{0} - class_size(index));
        std::free(block);
      }
    }
    for (void*& object : objects_) {
      if (object != nullptr) SystemObjects::free(std::exchange(object, nullptr));
    }
  }

  /// Gives the calling thread a pool for its lifetime.
  static Pool* enter() noexcept {
    Pool* pool = idle_.exchange(nullptr);
    if (pool != nullptr && pool->next_ != nullptr) {
      Pool* rest = pool->next_;
      Pool* last = rest;
      while (last->next_ != nullptr) last = last->next_;
      push(idle_, rest, last);
    }
    if (pool == nullptr) pool = new (std::nothrow) Pool;
    if (pool == nullptr || left_) return pool;
    current_ = pool;
    static thread_local Leave leave;
    static_cast<void>(leave);
    return pool;
  }

  [[gnu::noinline]] static Pool* enter_unless_ending() noexcept {
    return left_ ? nullptr : enter();
  }

  struct Leave {
    Leave() noexcept {}
    ~Leave() {
      left_ = true;
      if (Pool* pool = current_) {
        current_ = nullptr;
        push(idle_, pool, pool);
      }
    }
  };

  static void poison([[maybe_unused]] Block* block) noexcept {
#if defined(AOTI_POOL_POISONS)
    __asan_poison_memory_region(block + 1, class_size(block->size_class) - sizeof *block);
#endif
  }
  static void unpoison([[maybe_unused]] Block* block) noexcept {
#if defined(AOTI_POOL_POISONS)
    __asan_unpoison_memory_region(block + 1, class_size(block->size_class) - sizeof *block);
#endif
  }

  inline static constinit thread_local Pool* current_ = nullptr;
  inline static constinit thread_local bool left_ = false;
  inline static constinit Atomic<Pool*> idle_ = nullptr;
  inline static constinit Atomic<std::size_t> reserved_ = 0;

  Block* free_[class_count] = {};
  void* objects_[most_words + 1] = {};
  Pool* next_ = nullptr;  // while it is idle
  alignas(64) Atomic<Block*> returned_ = nullptr;
};

}  // namespace aoti::inline AOTI_ABI::detail

#undef AOTI_POOL_POISONS
