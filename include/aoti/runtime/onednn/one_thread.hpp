// SPDX-License-Identifier: BSD-3-Clause
// Work that is too small to be divided among threads.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <initializer_list>

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

/// While it lives, what the calling thread starts through OpenMP runs on that thread alone, if that
/// is wanted and the process has OpenMP.
class OneThread {
 public:
  /// Measured: fewer multiplications than this take less time than starting the other threads.
  static constexpr double least_divided = 1 << 19;

  /// Whether the product of these is less.
  static bool is_small(std::initializer_list<std::int64_t> factors) noexcept {
    double multiplications = 1;
    for (const std::int64_t factor : factors) multiplications *= static_cast<double>(factor);
    return multiplications < least_divided;
  }

  explicit OneThread(bool wanted) noexcept {
    if (!wanted || functions().get == nullptr || functions().set == nullptr) return;
    before_ = functions().get();
    if (before_ > 1) functions().set(1);
  }
  ~OneThread() {
    if (before_ > 1) functions().set(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  struct Functions {
    int (*get)();
    void (*set)(int);
  };
  static const Functions& functions() noexcept {
    static const Functions found{
        reinterpret_cast<int (*)()>(::dlsym(RTLD_DEFAULT, "omp_get_max_threads")),
        reinterpret_cast<void (*)(int)>(::dlsym(RTLD_DEFAULT, "omp_set_num_threads"))};
    return found;
  }

  int before_ = 1;
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
