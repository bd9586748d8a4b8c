// SPDX-License-Identifier: BSD-3-Clause
// An operator that models call through a proxy executor, without libtorch: a row of a table, made
// from a function.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "aoti/runtime/native/functions.hpp"
#include "aoti/runtime/native/numbers.hpp"
#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail {

/// An argument for one of an operator's parameters.
struct OperatorArgument {
  enum class Kind : std::uint8_t { none, tensors, integers, floating, boolean, text };

  Kind kind = Kind::none;  ///< None if it is omitted, or None.
  const AtenTensorHandle* tensors = nullptr;
  const std::int64_t* integers = nullptr;  ///< For dtypes, the numbers of c10.
  std::size_t count = 0;                   ///< The number of tensors or integers.
  double floating = 0;                     ///< 0 or 1 for a bool.
  std::string_view text;
};

}  // namespace detail

/// Results are made in these, and handed over if the operator succeeds.
using OperatorResult = detail::plain::Output;

/// One operator that models call through a proxy executor. A provider for NativeWith returns its
/// table from `operators()`.
struct NativeOperator {
  /// The kind of argument that a parameter takes.
  enum class Takes : std::uint8_t {
    tensor,
    tensors,
    integer,
    integers,
    floating,
    boolean,
    text,
    number
  };

  const char* name;        ///< Such as "aten::constant_pad_nd" and "aten::add.Tensor".
  const char* parameters;  ///< Their names in torch's schema, separated by spaces.
  const Takes* takes;      ///< For each of them,
  const bool* optional;    ///< and whether it may be left out.
  std::size_t parameter_count, result_count;
  /// Returns null after making the results, or the reason for a failure as a string literal.
  const char* (*call)(const detail::OperatorArgument*, OperatorResult*) noexcept;

  static constexpr std::size_t max_parameters = 16, max_results = 6;
};

namespace detail {

/// Converts the arguments of an operator to what a C++ function takes.
template <class T> struct ArgumentAs;
template <> struct ArgumentAs<TensorBody&> {
  static constexpr auto takes = NativeOperator::Takes::tensor;
  static constexpr bool optional = false;
  static TensorBody& of(const OperatorArgument& a) noexcept { return *TensorBody::of(*a.tensors); }
};
template <> struct ArgumentAs<const TensorBody*> {
  static constexpr auto takes = NativeOperator::Takes::tensor;
  static constexpr bool optional = true;
  static const TensorBody* of(const OperatorArgument& a) noexcept {
    return a.count != 0 ? plain::optional(a.tensors) : nullptr;
  }
};
template <> struct ArgumentAs<std::span<const AtenTensorHandle>> {
  static constexpr auto takes = NativeOperator::Takes::tensors;
  static constexpr bool optional = false;
  static std::span<const AtenTensorHandle> of(const OperatorArgument& a) noexcept {
    return {a.tensors, a.count};
  }
};
template <> struct ArgumentAs<std::span<const std::int64_t>> {
  static constexpr auto takes = NativeOperator::Takes::integers;
  static constexpr bool optional = true;  // empty if omitted
  static std::span<const std::int64_t> of(const OperatorArgument& a) noexcept {
    return {a.integers, a.count};
  }
};
template <> struct ArgumentAs<std::int64_t> {
  static constexpr auto takes = NativeOperator::Takes::integer;
  static constexpr bool optional = false;
  static std::int64_t of(const OperatorArgument& a) noexcept { return *a.integers; }
};
template <> struct ArgumentAs<double> {
  static constexpr auto takes = NativeOperator::Takes::floating;
  static constexpr bool optional = false;
  static double of(const OperatorArgument& a) noexcept { return a.floating; }
};
template <> struct ArgumentAs<bool> {
  static constexpr auto takes = NativeOperator::Takes::boolean;
  static constexpr bool optional = false;
  static bool of(const OperatorArgument& a) noexcept { return a.floating != 0; }
};
template <> struct ArgumentAs<std::string_view> {
  static constexpr auto takes = NativeOperator::Takes::text;
  static constexpr bool optional = false;
  static std::string_view of(const OperatorArgument& a) noexcept { return a.text; }
};
template <> struct ArgumentAs<Number> {  // torch's Scalar
  static constexpr auto takes = NativeOperator::Takes::number;
  static constexpr bool optional = false;
  static Number of(const OperatorArgument& a) noexcept {
    if (a.kind == OperatorArgument::Kind::integers) return number_of(*a.integers);
    return a.kind == OperatorArgument::Kind::boolean ? number_of(a.floating != 0)
                                                     : number_of(a.floating);
  }
};
template <class T> struct ArgumentAs<std::optional<T>> {
  static constexpr auto takes = ArgumentAs<T>::takes;
  static constexpr bool optional = true;
  static std::optional<T> of(const OperatorArgument& a) noexcept {
    if (a.kind == OperatorArgument::Kind::none) return std::nullopt;
    return ArgumentAs<T>::of(a);
  }
};

/// Calls a function `const char* f(arguments…, OperatorResult&…) noexcept`.
template <auto function, class Type = decltype(function)> struct OperatorAs;
template <auto function, class... Parameters>
struct OperatorAs<function, const char* (*)(Parameters...) noexcept> {
  static constexpr std::size_t results =
      (std::size_t{std::is_same_v<Parameters, OperatorResult&>} + ... + 0);
  static constexpr std::size_t parameters = sizeof...(Parameters) - results;
  static_assert(parameters <= NativeOperator::max_parameters &&
                results <= NativeOperator::max_results);

  template <class T> static constexpr NativeOperator::Takes takes_of() noexcept {
    if constexpr (std::is_same_v<T, OperatorResult&>) {
      return NativeOperator::Takes::tensor;
    } else {
      return ArgumentAs<T>::takes;
    }
  }
  template <class T> static constexpr bool is_optional() noexcept {
    if constexpr (std::is_same_v<T, OperatorResult&>) {
      return false;
    } else {
      return ArgumentAs<T>::optional;
    }
  }
  static constexpr std::array takes{takes_of<Parameters>()...};
  static constexpr std::array optional{is_optional<Parameters>()...};

  static const char* call(const OperatorArgument* arguments, OperatorResult* results_) noexcept {
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
      return function(value<Parameters, i>(arguments, results_)...);
    }
    (std::index_sequence_for<Parameters...>{});
  }

 private:
  template <class T, std::size_t i>
  static decltype(auto) value(const OperatorArgument* arguments,
                              OperatorResult* results_) noexcept {
    if constexpr (std::is_same_v<T, OperatorResult&>) {
      return static_cast<OperatorResult&>(results_[i - parameters]);
    } else {
      return ArgumentAs<T>::of(arguments[i]);
    }
  }
};

/// Lives while an operator runs: its temporary tensors must not be placed in a BoundRun's memory,
/// and its results are copied there.
class Unplaced {
 public:
  Unplaced() noexcept : placement_{run_state.placement} {
    if (placement_ != nullptr) ++placement_->depth;
  }
  Unplaced(const Unplaced&) = delete;
  Unplaced& operator=(const Unplaced&) = delete;
  ~Unplaced() {
    if (placement_ != nullptr) --placement_->depth;
  }

 private:
  Placement* placement_;
};

/// Converts what a C function takes to what an operator's function takes.
template <class T> struct Passed;
template <> struct Passed<AtenTensorHandle> {
  AtenTensorHandle handle;
  bool defined() const noexcept { return TensorBody::of(handle)->storage != nullptr; }
  TensorBody& get() const noexcept { return *TensorBody::of(handle); }
  void give() const noexcept {}
};
template <> struct Passed<std::int32_t> {
  std::int32_t flag;
  bool defined() const noexcept { return true; }
  bool get() const noexcept { return flag != 0; }
  void give() const noexcept {}
};
template <> struct Passed<AtenTensorHandle*> {
  AtenTensorHandle* out;
  OperatorResult result{};
  bool defined() const noexcept { return true; }
  OperatorResult& get() noexcept { return result; }
  void give() noexcept { result.give(out); }
};

/// The C function of a row, made from an operator's function: tensors, then flags, then results.
template <class Import, auto function, class Type = typename Import::type> struct OfOperator;
template <class Import, auto function, class... Parameters>
struct OfOperator<Import, function, AOTITorchError(Parameters...)> {
  static AOTITorchError call(Parameters... parameters) noexcept {
    return run(Passed<Parameters>{parameters}...);
  }

 private:
  static AOTITorchError run(Passed<Parameters>&&... passed) noexcept {
    const Unplaced unplaced;
    const char* wrong =
        (passed.defined() && ...) ? function(passed.get()...) : "a tensor is undefined";
    if (wrong != nullptr) return NativeFunctions::fail(Import::symbol, wrong);
    (passed.give(), ...);
    return 0;
  }
};

}  // namespace detail

/// An operator's row, made from a function that returns null, or the reason for a failure as a
/// string literal: `native_operator<&flip>("aten::flip", "self dims")` for
/// `const char* flip(detail::TensorBody& self, std::span<const std::int64_t> dims,
/// OperatorResult& result) noexcept`. Its parameters may be `detail::TensorBody&`, spans of tensors
/// or integers, `std::int64_t`, `double`, `bool`, `std::string_view`, `detail::Number` (a Scalar),
/// optionals of these, and `const detail::TensorBody*`.
template <auto function>
constexpr NativeOperator native_operator(const char* name, const char* parameters) noexcept {
  using As = detail::OperatorAs<function>;
  return {name,           parameters,  As::takes.data(), As::optional.data(),
          As::parameters, As::results, &As::call};
}

/// A provider of operators that models call through a proxy executor.
template <class P>
concept OperatorProvider = requires {
  { P::operators() }
  noexcept->std::same_as<std::span<const NativeOperator>>;
};

}  // namespace aoti::inline AOTI_ABI
