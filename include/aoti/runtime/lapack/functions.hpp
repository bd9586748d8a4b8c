// SPDX-License-Identifier: BSD-3-Clause
// Functions of matrices by their singular values and eigenvalues.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "aoti/runtime/lapack/routines.hpp"
#include "aoti/runtime/lapack/spectra.hpp"

namespace aoti::inline AOTI_ABI::detail::lapack {

struct Functions {
  /// The pseudo-inverse: singular values up to max(atol, rtol * the largest) count as 0.
  static const char* pinv(Body& self, const Body* atol, const Body* rtol,
                          std::optional<bool> hermitian, OperatorResult& result) noexcept {
    const Shape shape{self};
    if (!shape.is_of_matrices()) return no_matrices;
    const std::int64_t m = shape.rows(), n = shape.columns(), k = std::min(m, n);
    OperatorResult u, s, vh, absolute, relative;
    const bool symmetric = hermitian.value_or(false);
    if (const char* wrong = symmetric ? Spectra::eigh(self, "L", true, s, u)
                                      : Spectra::svd(self, false, true, {}, u, s, vh)) {
      return wrong;
    }
    const Shape numbers = shape.numbers();
    const DType real = real_of(self.dtype);
    if (const char* wrong = tolerance(absolute, atol, real, numbers)) return wrong;
    if (const char* wrong = tolerance(relative, rtol, real, numbers)) return wrong;
    if (const char* wrong = make(result, self.dtype, shape.with(n, m), false)) return wrong;
    return with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      using R = Real<T>;
      for (std::int64_t i = 0; i < shape.count_matrices(); ++i) {
        const R* const values = s.data<R>() + i * k;
        R largest = 0;
        for (std::int64_t j = 0; j < k; ++j) largest = std::max(largest, std::abs(values[j]));
        const R by = rtol != nullptr ? relative.data<R>()[i]
                     : absolute.data<R>()[i] > 0
                         ? R{0}
                         : std::numeric_limits<R>::epsilon() * static_cast<R>(std::max(m, n));
        const R limit = std::max(absolute.data<R>()[i], by * largest);
        const T* const left = u.data<T>() + i * m * k;
        const T* const right = symmetric ? left : vh.data<T>() + i * k * n;
        T* const to = result.data<T>() + i * n * m;
        for (std::int64_t r = 0; r < n; ++r) {
          for (std::int64_t c = 0; c < m; ++c) {
            T sum{0};
            for (std::int64_t j = 0; j < k; ++j) {
              if (!(std::abs(values[j]) > limit)) continue;
              const T v = symmetric ? right[j * n + r] : conjugate(right[r * k + j]);
              sum += v / values[j] * conjugate(left[j * m + c]);
            }
            to[r * m + c] = sum;
          }
        }
      }
      return nullptr;
    });
  }

  /// A = U H, where U has orthonormal columns and H is positive.
  static const char* polar(Body& self, OperatorResult& unitary, OperatorResult& positive) noexcept {
    const Shape shape{self};
    if (!shape.is_of_matrices() || shape.rows() < shape.columns()) return no_matrices;
    const std::int64_t m = shape.rows(), n = shape.columns();
    OperatorResult u, s, vh;
    if (const char* wrong = Spectra::svd(self, false, true, {}, u, s, vh)) return wrong;
    if (const char* wrong = make(unitary, self.dtype, shape, false)) return wrong;
    if (const char* wrong = make(positive, self.dtype, shape.with(n, n), false)) return wrong;
    return with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; i < shape.count_matrices(); ++i) {
        const T *left = u.data<T>() + i * m * n, *right = vh.data<T>() + i * n * n;
        const Real<T>* values = s.data<Real<T>>() + i * n;
        for (std::int64_t c = 0; c < n; ++c) {
          for (std::int64_t r = 0; r < m; ++r) {
            T sum{0};
            for (std::int64_t j = 0; j < n; ++j) sum += left[j * m + r] * right[c * n + j];
            unitary.data<T>()[i * m * n + r * n + c] = sum;
          }
          for (std::int64_t r = 0; r < n; ++r) {
            T sum{0};
            for (std::int64_t j = 0; j < n; ++j) {
              sum += conjugate(right[r * n + j]) * values[j] * right[c * n + j];
            }
            positive.data<T>()[i * n * n + r * n + c] = sum;
          }
        }
      }
      return nullptr;
    });
  }

  /// The exponential. The matrix is halved until its norm is at most 1; then its series is
  /// computed, and squared as often. In double precision.
  static const char* matrix_exp(Body& self, OperatorResult& result) noexcept {
    const Shape shape{self};
    if (!shape.is_square()) return no_matrices;
    const std::int64_t n = shape.rows(), size = n * n;
    plain::Elements elements;
    if (const char* wrong = elements.read(self)) return wrong;
    if (const char* wrong = make(result, self.dtype, shape, false)) return wrong;
    return with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      using Wide = std::conditional_t<is_complex_number<T>, std::complex<double>, double>;
      plain::Scratch<Wide> room{4 * size + 1};
      if (!room) return Body::no_memory;
      Wide *const matrix = room.get(), *const sum = matrix + size;
      for (std::int64_t i = 0; i < shape.count_matrices(); ++i) {
        Wide *term = sum + size, *next = term + size;
        double norm = 0;
        for (std::int64_t r = 0; r < n; ++r) {
          double row = 0;
          for (std::int64_t c = 0; c < n; ++c) {
            matrix[r * n + c] = static_cast<Wide>(elements.data<T>()[i * size + r * n + c]);
            row += std::abs(matrix[r * n + c]);
            sum[r * n + c] = term[r * n + c] = Wide(r == c ? 1 : 0);
          }
          norm = std::max(norm, row);
        }
        int halvings = 0;
        if (norm > 1 && std::isfinite(norm)) halvings = std::ilogb(norm) + 1;
        for (std::int64_t k = 0; k < size; ++k) matrix[k] *= std::ldexp(1.0, -halvings);
        for (int degree = 1; degree <= 18; ++degree) {
          multiply(term, matrix, next, n, 1.0 / degree);
          std::swap(term, next);
          for (std::int64_t k = 0; k < size; ++k) sum[k] += term[k];
        }
        for (; halvings > 0; --halvings) {
          multiply(sum, sum, term, n, 1);
          std::copy_n(term, size, sum);
        }
        for (std::int64_t k = 0; k < size; ++k) {
          result.data<T>()[i * size + k] = static_cast<T>(sum[k]);
        }
      }
      return nullptr;
    });
  }

 private:
  template <class T>
  static void multiply(const T* a, const T* b, T* to, std::int64_t n, double factor) noexcept {
    for (std::int64_t r = 0; r < n; ++r) {
      std::fill_n(to + r * n, n, T{0});
      for (std::int64_t k = 0; k < n; ++k) {
        const T by = a[r * n + k] * factor;
        for (std::int64_t c = 0; c < n; ++c) to[r * n + c] += by * b[k * n + c];
      }
    }
  }

  /// One for each matrix; 0 if none is given.
  static const char* tolerance(OperatorResult& result, const Body* given, DType dtype,
                               const Shape& numbers) noexcept {
    if (const char* wrong = make_vectors(result, dtype, numbers)) return wrong;
    if (given != nullptr) return copy_elements(*result, *given);
    NativeFunctions::zero_(Body::handle(&*result));
    return nullptr;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::lapack
