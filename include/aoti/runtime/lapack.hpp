// SPDX-License-Identifier: BSD-3-Clause
// Linear algebra by LAPACK, for models that run without libtorch.
#pragma once

#include <span>
#include <string_view>
#include <type_traits>

#include "aoti/runtime/lapack/decompositions.hpp"
#include "aoti/runtime/lapack/functions.hpp"
#include "aoti/runtime/lapack/solvers.hpp"
#include "aoti/runtime/lapack/spectra.hpp"
#include "aoti/runtime/native.hpp"
#include "aoti/runtime/native/executor.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail::lapack {

template <class Import> struct LapackFunction : std::false_type {};
#define AOTI_PROVIDED(row, ...)                                            \
  template <> struct LapackFunction<abi::imported::row> : std::true_type { \
    static constexpr abi::imported::row::type* function =                  \
        &detail::OfOperator<abi::imported::row, &__VA_ARGS__>::call;       \
  };
#define AOTI_OPERATOR(name, parameters, function)
#include "aoti/runtime/lapack.inc"

}  // namespace detail::lapack

/// Linear algebra on LAPACK through its interface LAPACKE, for NativeWith: `NativeWith<Onednn,
/// Lapack, PlainOperators>`. Results and their memory layouts are those of torch's operators,
/// except that singular vectors and eigenvectors may have other signs, or phases, if torch uses
/// another LAPACK. Any number of threads may call them at once.
struct Lapack {
  template <class Import> using Function = detail::lapack::LapackFunction<Import>;

  static void* import(std::string_view symbol) noexcept {
    using namespace detail::lapack;
    static const detail::NativeEntry entries[] = {
#define AOTI_PROVIDED(row, ...) \
  detail::entry<abi::imported::row>(Function<abi::imported::row>::function),
#define AOTI_OPERATOR(name, parameters, function)
#include "aoti/runtime/lapack.inc"
    };
    return detail::find(entries, symbol);
  }
  static std::span<const NativeOperator> operators() noexcept {
    using namespace detail::lapack;
    static constexpr NativeOperator rows[] = {
#define AOTI_PROVIDED(row, function)
#define AOTI_OPERATOR(name, parameters, function) native_operator<&function>(name, parameters),
#include "aoti/runtime/lapack.inc"
    };
    return rows;
  }
};

}  // namespace aoti::inline AOTI_ABI
