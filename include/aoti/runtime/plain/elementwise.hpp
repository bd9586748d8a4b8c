// SPDX-License-Identifier: BSD-3-Clause
// Elementwise operators on complex tensors, which Inductor does not compile.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "aoti/runtime/native/operands.hpp"
#include "aoti/runtime/native/operator.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

/// The strides of an elementwise operator's result, as in at::TensorIterator: dense, with the
/// dimensions in the order of the operands' strides.
inline void iterator_strides(const std::int64_t* sizes, std::uint32_t rank,
                             std::span<const Body* const> operands,
                             std::int64_t* strides) noexcept {
  const auto stride = [&](const Body& tensor, std::uint32_t d) -> std::int64_t {
    if (d + tensor.rank < rank) return 0;
    const std::uint32_t own = d + tensor.rank - rank;
    return tensor.sizes()[own] == 1 && sizes[d] != 1 ? 0 : tensor.strides()[own];
  };
  const auto compare = [&](std::uint32_t a, std::uint32_t b) {
    for (const Body* tensor : operands) {
      const std::int64_t first = stride(*tensor, a), second = stride(*tensor, b);
      if (first == 0 || second == 0) continue;
      if (first != second) return first < second ? -1 : 1;
      if (sizes[a] > sizes[b]) return 1;
    }
    return 0;
  };
  std::uint32_t inner_to_outer[Body::max_rank];
  for (std::uint32_t i = 0; i < rank; ++i) inner_to_outer[i] = rank - 1 - i;
  bool row_major = true;
  for (const Body* tensor : operands) row_major &= tensor->row_major && tensor->rank == rank;
  for (std::uint32_t i = 1; i < rank && !row_major; ++i) {
    for (std::uint32_t at = i, k = i; k-- > 0;) {
      const int order = compare(inner_to_outer[k], inner_to_outer[at]);
      if (order < 0) break;
      if (order == 0) continue;
      std::swap(inner_to_outer[k], inner_to_outer[at]);
      at = k;
    }
  }
  std::int64_t step = 1;
  for (std::uint32_t i = 0; i < rank; ++i) {
    strides[inner_to_outer[i]] = step;
    step *= sizes[inner_to_outer[i]] > 1 ? sizes[inner_to_outer[i]] : 1;
  }
}

struct Elementwise {
  static const char* multiply(Body& a, Body& b, OperatorResult& result) noexcept {
    return binary(a, b, result, [](auto x, auto y) -> decltype(x) {
      return {x.real * y.real - x.imaginary * y.imaginary,
              x.real * y.imaginary + x.imaginary * y.real};
    });
  }
  static const char* add(Body& a, Body& b, std::optional<Number> alpha,
                         OperatorResult& result) noexcept {
    return sum(a, b, alpha, 1, result);
  }
  static const char* subtract(Body& a, Body& b, std::optional<Number> alpha,
                              OperatorResult& result) noexcept {
    return sum(a, b, alpha, -1, result);
  }
  static const char* divide(Body& a, Body& b, OperatorResult& result) noexcept {
    return binary(a, b, result, [](auto x, auto y) {
      return by_std(x, y, [](auto p, auto q) { return p / q; });
    });
  }
  static const char* negate(Body& self, OperatorResult& result) noexcept {
    return unary(self, result, [](auto x) -> decltype(x) { return {-x.real, -x.imaginary}; });
  }
  static const char* reciprocal(Body& self, OperatorResult& result) noexcept {
    return unary(self, result, [](auto x) {
      using Real = decltype(x.real);
      return by_std(decltype(x){1, 0}, x, [](auto p, auto q) { return std::complex<Real>{p} / q; });
    });
  }
  static const char* exponential(Body& self, OperatorResult& result) noexcept {
    return unary(self, result,
                 [](auto x) { return by_std(x, x, [](auto p, auto) { return std::exp(p); }); });
  }
  static const char* square_root(Body& self, OperatorResult& result) noexcept {
    return unary(self, result,
                 [](auto x) { return by_std(x, x, [](auto p, auto) { return std::sqrt(p); }); });
  }
  /// A copy: no tensors here are conjugated lazily.
  static const char* conjugate(Body& self, OperatorResult& result) noexcept {
    if (!is_complex(self.dtype)) return copied(self, result);
    return unary(self, result, [](auto x) -> decltype(x) { return {x.real, -x.imaginary}; });
  }
  static const char* complex(Body& real, Body& imaginary, OperatorResult& result) noexcept {
    if (real.dtype != imaginary.dtype) return not_for_dtype;
    if (real.dtype != DType::float32 && real.dtype != DType::float64) return not_for_dtype;
    const DType dtype = real.dtype == DType::float64 ? DType::complex128 : DType::complex64;
    return binary(real, imaginary, dtype, result, [](auto x, auto y) -> decltype(x) {
      return {x.real, y.real};
    });
  }

 private:
  template <class X, class F> static X by_std(X x, X y, F f) noexcept {
    using Standard = std::complex<decltype(x.real)>;
    const auto found = f(Standard{x.real, x.imaginary}, Standard{y.real, y.imaginary});
    return {found.real(), found.imag()};
  }
  static const char* copied(Body& self, OperatorResult& result) noexcept {
    std::int64_t strides[Body::max_rank];
    dense_strides(self, strides);
    return result.copy(self, strides);
  }

  /// The dtype that torch computes in if one operand is complex; an operand with dimensions takes
  /// precedence.
  static DType promoted(const Body& a, const Body& b) noexcept {
    const auto is_wide = [](const Body& tensor) {
      return tensor.dtype == DType::complex128 || tensor.dtype == DType::float64;
    };
    const auto counts = [](const Body& tensor, const Body& other) {
      const bool alike = (tensor.rank == 0) == (other.rank == 0);
      return alike || tensor.rank != 0 || (is_complex(tensor.dtype) && !is_complex(other.dtype));
    };
    const bool wide = (is_wide(a) && counts(a, b)) || (is_wide(b) && counts(b, a));
    return wide ? DType::complex128 : DType::complex64;
  }
  template <class F>
  static const char* binary(const Body& a, const Body& b, OperatorResult& result, F f) noexcept {
    if (!is_complex(a.dtype) && !is_complex(b.dtype)) return not_for_dtype;
    if (a.dtype == DType::complex32 || b.dtype == DType::complex32) return not_for_dtype;
    return binary(a, b, promoted(a, b), result, f);
  }
  template <class F>
  static const char* binary(const Body& a, const Body& b, DType dtype, OperatorResult& result,
                            F f) noexcept {
    std::int64_t sizes[Body::max_rank], strides[Body::max_rank];
    std::uint32_t rank = 0;
    if (const char* wrong = broadcast(a, b, sizes, rank)) return wrong;
    const Body* const operands[] = {&a, &b};
    iterator_strides(sizes, rank, operands, strides);
    // With both in the result's layout, the rest is one loop.
    OperatorResult other;
    if (const char* wrong = result.make(dtype, sizes, rank, strides)) return wrong;
    if (const char* wrong = other.make(dtype, sizes, rank, strides)) return wrong;
    if (const char* wrong = copy_elements(*result, a)) return wrong;
    if (const char* wrong = copy_elements(*other, b)) return wrong;
    with_complex(dtype, [&]<class T>(T) {
      T* x = result.data<T>();
      const T* y = other.data<T>();
      for (std::int64_t i = 0; i < result->count; ++i) x[i] = f(x[i], y[i]);
    });
    return nullptr;
  }
  template <class F>
  static const char* unary(const Body& self, OperatorResult& result, F f) noexcept {
    if (self.dtype != DType::complex64 && self.dtype != DType::complex128) return not_for_dtype;
    std::int64_t strides[Body::max_rank];
    const Body* const operands[] = {&self};
    iterator_strides(self.sizes(), self.rank, operands, strides);
    if (const char* wrong = result.copy(self, strides)) return wrong;
    with_complex(self.dtype, [&]<class T>(T) {
      T* x = result.data<T>();
      for (std::int64_t i = 0; i < result->count; ++i) x[i] = f(x[i]);
    });
    return nullptr;
  }
  static const char* sum(Body& a, Body& b, const std::optional<Number>& alpha, double sign,
                         OperatorResult& result) noexcept {
    const double factor = sign * (alpha ? to<double>(*alpha) : 1);
    return binary(a, b, result, [factor](auto x, auto y) -> decltype(x) {
      const auto by = static_cast<decltype(x.real)>(factor);
      return {x.real + by * y.real, x.imaginary + by * y.imaginary};
    });
  }
  template <class Each> static void with_complex(DType dtype, Each each) {
    dtype == DType::complex128 ? each(detail::Complex<double>{}) : each(detail::Complex<float>{});
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
