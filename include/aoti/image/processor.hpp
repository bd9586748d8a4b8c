// SPDX-License-Identifier: BSD-3-Clause
// What this processor supports.
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <string_view>

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Whether this processor has one of the instruction sets that AOTI_CPU_ISA names; true for sets
/// that are not known here.
inline bool has_instruction_set([[maybe_unused]] std::string_view name) noexcept {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  if (name == "SSE4_2") {
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  }
  if (name == "AVX2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (name == "AVX512") {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  }
  if (name == "AVX512_VNNI") return __builtin_cpu_supports("avx512vnni");
  if (name == "AMX_TILE") {
    constexpr unsigned bf16 = 1u << 22, tile = 1u << 24, int8 = 1u << 25;  // of leaf 7's EDX
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
           (d & (bf16 | tile | int8)) == (bf16 | tile | int8);
  }
#endif
  return true;
}

}  // namespace aoti::inline AOTI_ABI::detail
