// SPDX-License-Identifier: BSD-3-Clause
// Operators that accumulate along a dimension: each element of the result depends on those up to
// it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

struct Scan {
  /// Cumulative sums along a dimension.
  /// @param dtype null for the tensor's dtype, or for int64 if that is an integer or bool
  /// @param out a new tensor with its sizes, row-major as in torch
  static const char* cumsum(Body& self, std::int64_t dimension, std::int32_t* dtype,
                            Handle* out) noexcept {
    return accumulate(self, dimension, dtype, out, 0, [](auto& sum, auto next) { sum += next; });
  }
  /// The same for products.
  static const char* cumprod(Body& self, std::int64_t dimension, std::int32_t* dtype,
                             Handle* out) noexcept {
    return accumulate(self, dimension, dtype, out, 1,
                      [](auto& product, auto next) { product *= next; });
  }
  /// The same for the logarithm of the sum of exponentials.
  static const char* logcumsumexp(Body& self, std::int64_t dimension, Handle* out) noexcept {
    if (!is_floating(self.dtype)) return not_for_dtype;
    return run(self, dimension, self.dtype, out, -std::numeric_limits<double>::infinity(),
               [](auto& sum, auto next) {
                 if constexpr (std::is_floating_point_v<std::remove_reference_t<decltype(sum)>>) {
                   const auto least = std::isnan(next) ? next : std::min(sum, next);
                   const auto most = std::isnan(next) ? next : std::max(sum, next);
                   sum = least != most || std::isfinite(least)
                             ? std::log1p(std::exp(least - most)) + most
                             : next;
                 }
               });
  }

 private:
  /// A complex sum or product, in a wider type.
  struct Wide {
    Wide(double begin) noexcept : real{begin} {}
    template <class T>
    Wide(Complex<T> value) noexcept : real{value.real}, imaginary{value.imaginary} {}
    template <class T> explicit operator Complex<T>() const noexcept {
      return {static_cast<T>(real), static_cast<T>(imaginary)};
    }
    Wide& operator+=(const Wide& other) noexcept {
      real += other.real;
      imaginary += other.imaginary;
      return *this;
    }
    Wide& operator*=(const Wide& other) noexcept {
      const double before = real;
      real = before * other.real - imaginary * other.imaginary;
      imaginary = before * other.imaginary + imaginary * other.real;
      return *this;
    }
    double real, imaginary = 0;
  };

  template <class Step>
  static const char* accumulate(const Body& self, std::int64_t dimension, const std::int32_t* dtype,
                                Handle* out, int begin, Step step) noexcept {
    const bool whole = !is_floating(self.dtype) && !is_complex(self.dtype);
    const DType wanted = dtype != nullptr ? static_cast<DType>(*dtype)
                         : whole          ? DType::int64
                                          : self.dtype;
    const auto known = [](DType type) { return is_real(type) || is_complex(type); };
    if (!known(wanted) || !known(self.dtype)) return not_for_dtype;
    return run(self, dimension, wanted, out, begin, step);
  }

  template <class Begin, class Step>
  static const char* run(const Body& self, std::int64_t dimension, DType dtype, Handle* out,
                         Begin begin, Step step) noexcept {
    if (!wrap(dimension, self.rank)) return no_dimension;
    Elements from;
    Target to;
    Output result;
    const DType type = computing(dtype);
    if (const char* wrong = result.make(dtype, self.sizes(), self.rank)) return wrong;
    if (result->count != 0) {
      if (const char* wrong = from.read(self, type)) return wrong;
      if (const char* wrong = to.begin(*result, type)) return wrong;
      const Split split{self, dimension};
      // Sums are wider than elements, as in torch; those of float16 and bfloat16 are float32.
      if (type == DType::complex64) {
        lines<Complex<float>, Wide>(split, from, to, begin, step);
      } else if (type == DType::complex128) {
        lines<Complex<double>, Wide>(split, from, to, begin, step);
      } else if (type == DType::float64) {
        lines<double, double>(split, from, to, begin, step);
      } else if (type == DType::int64) {
        lines<std::uint64_t, std::uint64_t>(split, from, to, begin, step);
      } else if (dtype == DType::float32) {
        lines<float, double>(split, from, to, begin, step);
      } else {
        lines<float, float>(split, from, to, begin, step);
      }
      if (const char* wrong = to.finish()) return wrong;
    }
    result.give(out);
    return nullptr;
  }

  template <class T, class Sum, class Begin, class Step>
  static void lines(const Split& split, const Elements& from, const Target& to, Begin begin,
                    Step step) noexcept {
    split.for_lines([&](std::int64_t at) {
      const T* next = from.data<T>() + at;
      T* result = to.data<T>() + at;
      auto sum = static_cast<Sum>(begin);
      for (std::int64_t i = 0; i < split.count; ++i) {
        step(sum, static_cast<Sum>(next[i * split.inner]));
        result[i * split.inner] = static_cast<T>(sum);
      }
    });
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
