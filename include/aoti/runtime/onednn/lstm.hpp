// SPDX-License-Identifier: BSD-3-Clause
// The steps of an LSTM layer for one sequence. Each waits for the one before and is a small
// product, for which oneDNN takes longer to start than to compute it. With -ffast-math, results
// lose digits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

#if defined(__x86_64__)
#define AOTI_LSTM LstmAvx512
#define AOTI_LANES 16
#define AOTI_TARGET [[gnu::target("avx512f")]]
#include "aoti/runtime/onednn/lstm.inc"
#define AOTI_LSTM LstmAvx2
#define AOTI_LANES 8
#define AOTI_TARGET [[gnu::target("avx2,fma")]]
#include "aoti/runtime/onednn/lstm.inc"
#endif
#define AOTI_LSTM LstmPlain
#define AOTI_LANES 4
#define AOTI_TARGET
#include "aoti/runtime/onednn/lstm.inc"

/// The widest that this processor has and that divides a hidden state.
struct LstmSteps {
  void (*run)(void* const* data, const std::int64_t* numbers) noexcept = nullptr;  ///< Or null.
  std::int64_t width = 0;

  static LstmSteps of(std::int64_t hidden) noexcept {
#if defined(__x86_64__)
    static const bool has_avx512 = __builtin_cpu_supports("avx512f") != 0;
    static const bool has_avx2 =
        __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
    if (has_avx512 && hidden % LstmAvx512::width == 0) return {&LstmAvx512::run, LstmAvx512::width};
    if (has_avx2 && hidden % LstmAvx2::width == 0) return {&LstmAvx2::run, LstmAvx2::width};
#endif
    if (hidden % LstmPlain::width == 0) return {&LstmPlain::run, LstmPlain::width};
    return {};
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
