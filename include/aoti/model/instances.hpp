// SPDX-License-Identifier: BSD-3-Clause
// Which instances of a model are in use.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI::model {

/// Hands out the numbers 0 … count-1 to threads, each to one at a time. While a number is free,
/// taking and returning it are two atomic operations on a cache line of its own. Threads that find
/// none sleep. Nothing allocates after the constructor.
class Instances {
 public:
  explicit Instances(std::size_t count)
      : slots_{new Slot[count]}, count_{count}, mask_{std::bit_ceil(count) - 1} {}

  std::size_t count() const noexcept { return count_; }

  /// Waits for a free one, and until nobody holds all of them.
  std::size_t take() noexcept {
    for (;;) {
      const std::uint32_t seen = changes_.load();
      if (closed_.load(std::memory_order_acquire) == 0) {
        std::size_t at = here();
        for (std::size_t i = 0; i < count_; ++i) {
          if (take(at)) return at;
          if (++at == count_) at = 0;
        }
      }
      sleep(seen, [&] {
        bool free = false;
        for (std::size_t at = 0; at < count_; ++at) free |= !slots_[at].busy.load();
        return free && closed_.load() == 0;
      });
    }
  }

  void give_back(std::size_t at) noexcept {
    // Sequentially consistent, as is `sleepers_`: either this sees a sleeper, or that one sees the
    // free slot.
    slots_[at].busy.exchange(false);
    if (sleepers_.load() != 0) [[unlikely]]
      wake();
  }

  /// Holds all of them: waits until each is given back. Threads that want all of them take turns.
  class All {
   public:
    explicit All(Instances& instances) noexcept : instances_{instances}, turn_{instances.turns_} {
      instances_.closed_.store(1);
      for (std::size_t at = 0; at < instances_.count_; ++at) {
        for (;;) {
          const std::uint32_t seen = instances_.changes_.load();
          if (instances_.take(at)) break;
          instances_.sleep(seen, [&] { return !instances_.slots_[at].busy.load(); });
        }
      }
    }
    All(const All&) = delete;
    ~All() {
      for (std::size_t at = 0; at < instances_.count_; ++at) instances_.slots_[at].busy = false;
      instances_.closed_.store(0);
      instances_.wake();
    }

   private:
    Instances& instances_;
    std::scoped_lock<std::mutex> turn_;
  };

  /// Holds one of them.
  class One {
   public:
    explicit One(Instances& instances) noexcept : instances_{instances}, at_{instances.take()} {}
    One(const One&) = delete;
    ~One() { instances_.give_back(at_); }
    std::size_t operator*() const noexcept { return at_; }

   private:
    Instances& instances_;
    const std::size_t at_;
  };

 private:
  struct alignas(64) Slot {
    std::atomic<bool> busy = false;
  };

  /// Where this thread begins to look: threads are spread over the slots.
  std::size_t here() const noexcept {
    static std::atomic<std::size_t> threads = 0;
    thread_local const std::size_t number = threads.fetch_add(1, std::memory_order_relaxed);
    const std::size_t at = number & mask_;
    return at < count_ ? at : at - count_;
  }

  bool take(std::size_t at) noexcept {
    std::atomic<bool>& busy = slots_[at].busy;
    return !busy.load(std::memory_order_relaxed) && !busy.exchange(true);
  }

  /// Sleeps unless `ready()`, until something was given back after `changes_` was `seen`.
  template <class Ready> void sleep(std::uint32_t seen, const Ready& ready) noexcept {
    sleepers_.fetch_add(1);
    if (!ready()) changes_.wait(seen);
    sleepers_.fetch_sub(1);
  }

  void wake() noexcept {
    changes_.fetch_add(1);
    changes_.notify_all();
  }

  std::unique_ptr<Slot[]> slots_;
  const std::size_t count_;
  const std::size_t mask_;
  std::mutex turns_;
  // Read in each run, and written to only if someone waits.
  alignas(64) std::atomic<std::uint32_t> closed_ = 0;
  std::atomic<std::uint32_t> sleepers_ = 0;
  std::atomic<std::uint32_t> changes_ = 0;
};

}  // namespace aoti::inline AOTI_ABI::model
