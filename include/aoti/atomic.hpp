// SPDX-License-Identifier: BSD-3-Clause
// The few atomic operations that the library needs, on the compiler's builtins: with <atomic>,
// aoti/aoti.hpp would take 7 % longer to compile (g++ 12).
#pragma once

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// A number, flag or pointer that threads share.
template <class T> class Atomic {
 public:
  constexpr Atomic(T value) noexcept : value_{value} {}
  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  T load() const noexcept { return __atomic_load_n(&value_, __ATOMIC_ACQUIRE); }
  void store(T value) noexcept { __atomic_store_n(&value_, value, __ATOMIC_RELEASE); }
  T exchange(T value) noexcept { return __atomic_exchange_n(&value_, value, __ATOMIC_ACQ_REL); }
  /// Stores `value` if `expected` is found; else sets `expected` to what was found.
  bool replace(T& expected, T value) noexcept {
    return __atomic_compare_exchange_n(&value_, &expected, value, true, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
  }
  void increment() noexcept { __atomic_fetch_add(&value_, 1, __ATOMIC_RELAXED); }
  void add(T value) noexcept { __atomic_fetch_add(&value_, value, __ATOMIC_RELAXED); }
  /// Returns the new value.
  T decrement() noexcept { return __atomic_sub_fetch(&value_, 1, __ATOMIC_ACQ_REL); }

 private:
  T value_;
};

}  // namespace aoti::inline AOTI_ABI::detail
