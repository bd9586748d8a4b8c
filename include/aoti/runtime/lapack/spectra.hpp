// SPDX-License-Identifier: BSD-3-Clause
// Singular values and eigenvalues of matrices by LAPACK.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <optional>
#include <string_view>

#include "aoti/runtime/lapack/routines.hpp"

namespace aoti::inline AOTI_ABI::detail::lapack {

struct Spectra {
  static const char* svd(Body& self, std::optional<bool> full, std::optional<bool> computes,
                         std::optional<std::string_view>, OperatorResult& u, OperatorResult& s,
                         OperatorResult& vh) noexcept {
    const Shape shape{self};
    if (!shape.is_of_matrices()) return no_matrices;
    if (!shape.fits_lapack()) return too_large;
    const bool whole = full.value_or(false), vectors = computes.value_or(true);
    const std::int64_t m = shape.rows(), n = shape.columns(), k = std::min(m, n), nothing = 0;
    const std::int64_t left = whole ? m : k, right = whole ? n : k;
    OperatorResult a;
    if (const char* wrong = copy(a, self)) return wrong;
    if (const char* wrong = make_vectors(s, real_of(self.dtype), shape.vectors(k))) return wrong;
    if (const char* wrong =
            vectors ? make(u, self.dtype, shape.with(m, left)) : u.make(self.dtype, &nothing, 1)) {
      return wrong;
    }
    if (const char* wrong = vectors ? make(vh, self.dtype, shape.with(right, n))
                                    : vh.make(self.dtype, &nothing, 1)) {
      return wrong;
    }
    const char job = !vectors ? 'N' : whole ? 'A' : 'S';
    plain::Scratch<lapack_int> integers{8 * k + 1};
    if (!integers) return Body::no_memory;
    return with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      const std::int64_t longer = std::max(m, n);
      plain::Scratch<Real<T>> reals{
          is_complex_number<T> ? std::max(5 * k * k + 5 * k, 2 * longer * k + 2 * k * k + k) + 1
                               : 1};
      if (!reals) return Body::no_memory;
      for (std::int64_t i = 0; i < shape.count_matrices(); ++i) {
        T* const left_vectors = vectors ? u.data<T>() + i * m * left : nullptr;
        T* const right_vectors = vectors ? vh.data<T>() + i * right * n : nullptr;
        if (k == 0) {
          if (vectors) set_identity(left_vectors, m, left);
          if (vectors) set_identity(right_vectors, right, n);
          continue;
        }
        lapack_int info = 0;
        T unused{};
        const char* wrong = with_work<T>(info, [&](T* work, lapack_int size) {
          const auto call = [&](auto... more) {
            return gesdd<T>(job, static_cast<lapack_int>(m), static_cast<lapack_int>(n),
                            a.data<T>() + i * m * n, at_least_one(m), s.data<Real<T>>() + i * k,
                            vectors ? left_vectors : &unused, at_least_one(m),
                            vectors ? right_vectors : &unused, at_least_one(right), work, size,
                            more...);
          };
          if constexpr (is_complex_number<T>) {
            return call(reals.get(), integers.get());
          } else {
            return call(integers.get());
          }
        });
        if (wrong != nullptr) return wrong;
        if (info != 0) return "the singular values do not converge";
      }
      return nullptr;
    });
  }

  static const char* eigh(Body& self, std::optional<std::string_view> triangle,
                          std::optional<bool> computes, OperatorResult& values,
                          OperatorResult& vectors) noexcept {
    const Shape shape{self};
    if (!shape.is_square()) return no_matrices;
    if (!shape.fits_lapack()) return too_large;
    const std::string_view which = triangle.value_or("L");
    const bool upper = which == "U" || which == "u", has_vectors = computes.value_or(true);
    if (!upper && which != "L" && which != "l") return "there is no such triangle";
    const std::int64_t n = shape.rows(), nothing = 0;
    OperatorResult room;
    OperatorResult& a = has_vectors ? vectors : room;
    if (const char* wrong = copy(a, self)) return wrong;
    if (const char* wrong = make_vectors(values, real_of(self.dtype), shape.vectors(n))) {
      return wrong;
    }
    if (!has_vectors) {
      if (const char* wrong = vectors.make(self.dtype, &nothing, 1)) return wrong;
    }
    return with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      const lapack_int real_size = static_cast<lapack_int>(1 + 5 * n + 2 * n * n);
      const lapack_int integer_size = static_cast<lapack_int>(3 + 5 * n);
      plain::Scratch<Real<T>> reals{is_complex_number<T> ? real_size : 1};
      plain::Scratch<lapack_int> integers{integer_size};
      if (!reals || !integers) return Body::no_memory;
      for (std::int64_t i = 0; n > 0 && i < shape.count_matrices(); ++i) {
        lapack_int info = 0;
        // LAPACK asks for all sizes at once, and finds these two large enough.
        const char* wrong = with_work<T>(info, [&](T* work, lapack_int size) {
          const bool asks = size == -1;
          const auto call = [&](auto... more) {
            return syevd<T>(has_vectors ? 'V' : 'N', upper ? 'U' : 'L', static_cast<lapack_int>(n),
                            a.data<T>() + i * n * n, at_least_one(n),
                            values.data<Real<T>>() + i * n, work, size, more..., integers.get(),
                            asks ? -1 : integer_size);
          };
          if constexpr (is_complex_number<T>) {
            return call(reals.get(), asks ? -1 : real_size);
          } else {
            return call();
          }
        });
        if (wrong != nullptr) return wrong;
        if (info != 0) return "the eigenvalues do not converge";
      }
      return nullptr;
    });
  }

  static const char* eig(Body& self, OperatorResult& values, OperatorResult& vectors) noexcept {
    return eigenvalues(self, true, values, vectors);
  }
  static const char* eigvals(Body& self, OperatorResult& values) noexcept {
    OperatorResult vectors;
    return eigenvalues(self, false, values, vectors);
  }

 private:
  template <class T>
  static void set_identity(T* matrix, std::int64_t rows, std::int64_t columns) noexcept {
    for (std::int64_t c = 0; c < columns; ++c) {
      for (std::int64_t r = 0; r < rows; ++r) matrix[c * rows + r] = T(r == c ? 1 : 0);
    }
  }

  static const char* eigenvalues(Body& self, bool has_vectors, OperatorResult& values,
                                 OperatorResult& vectors) noexcept {
    const Shape shape{self};
    if (!shape.is_square()) return no_matrices;
    if (!shape.fits_lapack()) return too_large;
    const std::int64_t n = shape.rows();
    const DType dtype = complex_of(self.dtype);
    OperatorResult a;
    if (const char* wrong = copy(a, self)) return wrong;
    if (const char* wrong = make_vectors(values, dtype, shape.vectors(n))) return wrong;
    if (const char* wrong = make(vectors, dtype, shape)) return wrong;
    const char job = has_vectors ? 'V' : 'N';
    return with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      using R = Real<T>;
      plain::Scratch<R> reals{2 * n + 1};  // for real matrices, the parts of the eigenvalues
      plain::Scratch<T> room{n * n + 1};
      if (!reals || !room) return Body::no_memory;
      const auto size = static_cast<lapack_int>(n);
      for (std::int64_t i = 0; n > 0 && i < shape.count_matrices(); ++i) {
        auto* const found = values.data<std::complex<R>>() + i * n;
        auto* const columns = vectors.data<std::complex<R>>() + i * n * n;
        T* const matrix = a.data<T>() + i * n * n;
        T unused{};
        lapack_int info = 0;
        const char* wrong = with_work<T>(info, [&](T* work, lapack_int wanted) {
          if constexpr (is_complex_number<T>) {
            return geev<T>('N', job, size, matrix, size, found, &unused, lapack_int{1}, columns,
                           size, work, wanted, reals.get());
          } else {
            return geev<T>('N', job, size, matrix, size, reals.get(), reals.get() + n, &unused,
                           lapack_int{1}, room.get(), size, work, wanted);
          }
        });
        if (wrong != nullptr) return wrong;
        if (info != 0) return "the eigenvalues do not converge";
        if constexpr (!is_complex_number<T>) {
          for (std::int64_t c = 0; c < n; ++c) found[c] = {reals[c], reals[n + c]};
          // Two conjugate eigenvalues have the parts of their vectors in two columns.
          for (std::int64_t c = 0; has_vectors && c < n; ++c) {
            const T *real = room.get() + c * n, *imaginary = real + n;
            if (reals[n + c] == 0) {
              for (std::int64_t r = 0; r < n; ++r) columns[c * n + r] = {real[r], 0};
              continue;
            }
            for (std::int64_t r = 0; r < n; ++r) {
              columns[c * n + r] = {real[r], imaginary[r]};
              columns[(c + 1) * n + r] = {real[r], -imaginary[r]};
            }
            ++c;
          }
        }
      }
      return nullptr;
    });
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::lapack
