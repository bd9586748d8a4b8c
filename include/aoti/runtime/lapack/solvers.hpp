// SPDX-License-Identifier: BSD-3-Clause
// Linear systems and inverses by LAPACK.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

#include "aoti/runtime/lapack/decompositions.hpp"
#include "aoti/runtime/lapack/routines.hpp"

namespace aoti::inline AOTI_ABI::detail::lapack {

struct Solvers {
  /// Solves A X = B, or X A = B.
  static const char* solve_ex(Body& a, Body& b, std::optional<bool> from_left,
                              std::optional<bool> checks, OperatorResult& result,
                              OperatorResult& lu, OperatorResult& pivots,
                              OperatorResult& info) noexcept {
    const bool left = from_left.value_or(true);
    const Shape shape{a};
    if (!shape.is_square() || a.dtype != b.dtype) return no_matrices;
    // b has one vector for each matrix if the sizes say so.
    bool vectors = b.rank + 1u == a.rank;
    for (std::uint32_t d = 0; vectors && d < b.rank; ++d) vectors = b.sizes()[d] == a.sizes()[d];
    vectors |= b.rank == 1;
    if (vectors && !left) return no_matrices;
    OperatorResult columns;
    Body* right = &b;
    if (vectors) {
      std::int64_t sizes[Body::max_rank + 1], strides[Body::max_rank + 1];
      std::copy_n(b.sizes(), b.rank, sizes);
      std::copy_n(b.strides(), b.rank, strides);
      sizes[b.rank] = strides[b.rank] = 1;
      if (const char* wrong = columns.view(b, b.rank + 1u, sizes, strides, b.offset, b.dtype)) {
        return wrong;
      }
      right = &*columns;
    }
    if (const char* wrong = Decompositions::factor(a, lu, pivots, info)) return wrong;
    if (checks.value_or(false)) {
      if (const char* wrong = Decompositions::check(*info)) return wrong;
    }
    OperatorResult solved;
    if (const char* wrong =
            solve_factored(*lu, *pivots, *right, left, 'N', vectors ? solved : result)) {
      return wrong;
    }
    if (!vectors) return nullptr;
    Shape without{*solved};
    --without.rank;
    if (without.rank < 2) {
      return result.view(*solved, without.rank, without.sizes, solved->strides(), 0, solved->dtype);
    }
    OperatorResult seen;
    if (const char* wrong =
            seen.view(*solved, without.rank, without.sizes, solved->strides(), 0, solved->dtype)) {
      return wrong;
    }
    // Torch stores the last two dimensions column-major.
    return copy(result, *seen);
  }

  static const char* lu_solve(Body& lu, Body& pivots, Body& b, std::optional<bool> from_left,
                              std::optional<bool> adjoint, OperatorResult& result) noexcept {
    const Shape shape{lu};
    if (!shape.is_square() || lu.dtype != b.dtype || pivots.dtype != DType::int32 ||
        pivots.count != shape.count_matrices() * shape.rows()) {
      return no_matrices;
    }
    const bool left = from_left.value_or(true);
    if (adjoint.value_or(false) && !left && plain::is_complex(lu.dtype)) {
      return "not the adjoint of complex matrices from the right";
    }
    const char how = adjoint.value_or(false) ? 'C' : 'N';
    OperatorResult packed;
    plain::Elements order;
    if (const char* wrong = copy(packed, lu)) return wrong;
    if (const char* wrong = order.read(pivots)) return wrong;
    return solve_factored(*packed, *order, b, left, how, result);
  }

  static const char* inv_ex(Body& self, std::optional<bool> checks, OperatorResult& result,
                            OperatorResult& info) noexcept {
    const Shape shape{self};
    if (!shape.is_square()) return no_matrices;
    OperatorResult lu, pivots;
    if (const char* wrong = Decompositions::factor(self, lu, pivots, info)) return wrong;
    if (checks.value_or(false)) {
      if (const char* wrong = Decompositions::check(*info)) return wrong;
    }
    if (const char* wrong = make(result, self.dtype, shape)) return wrong;
    const std::int64_t n = shape.rows();
    return with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; i < shape.count_matrices(); ++i) {
        T* const to = result.data<T>() + i * n * n;
        for (std::int64_t k = 0; k < n * n; ++k) to[k] = T(k % (n + 1) == 0 ? 1 : 0);
        if (n > 0) solve_one<T>('N', n, n, lu.data<T>() + i * n * n, pivots, i, to);
      }
      return nullptr;
    });
  }

  static const char* cholesky_ex(Body& self, std::optional<bool> is_upper,
                                 std::optional<bool> checks, OperatorResult& result,
                                 OperatorResult& info) noexcept {
    const Shape shape{self};
    if (!shape.is_square()) return no_matrices;
    if (!shape.fits_lapack()) return too_large;
    const bool upper = is_upper.value_or(false);
    const std::int64_t n = shape.rows();
    if (const char* wrong = copy(result, self)) return wrong;
    if (const char* wrong = make_vectors(info, DType::int32, shape.numbers())) return wrong;
    const char* wrong = with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; i < shape.count_matrices(); ++i) {
        T* const matrix = result.data<T>() + i * n * n;
        info.data<std::int32_t>()[i] =
            n == 0
                ? 0
                : potrf<T>(upper ? 'U' : 'L', static_cast<lapack_int>(n), matrix, at_least_one(n));
        keep_triangle(matrix, n, n, n, upper);
      }
      return nullptr;
    });
    if (wrong != nullptr || !checks.value_or(false)) return wrong;
    return Decompositions::check(*info);
  }
  /// Solves A X = B, given the Cholesky factor of A.
  static const char* cholesky_solve(Body& b, Body& factor, bool upper,
                                    OperatorResult& result) noexcept {
    Shape shape{factor}, target{b};
    if (!shape.is_square() || !target.is_of_matrices() || factor.dtype != b.dtype ||
        target.rows() != shape.rows() || !target.broadcast_batch(shape) ||
        !shape.broadcast_batch(target)) {
      return no_matrices;
    }
    if (!shape.fits_lapack() || !target.fits_lapack()) return too_large;
    OperatorResult matrices;
    if (const char* wrong = copy(matrices, factor, shape)) return wrong;
    if (const char* wrong = copy(result, b, target)) return wrong;
    const std::int64_t n = target.rows(), columns = target.columns();
    return with_numbers(b.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; n > 0 && i < target.count_matrices(); ++i) {
        potrs<T>(upper ? 'U' : 'L', static_cast<lapack_int>(n), static_cast<lapack_int>(columns),
                 matrices.data<T>() + i * n * n, at_least_one(n),
                 result.data<T>() + i * n * columns, at_least_one(n));
      }
      return nullptr;
    });
  }
  static const char* cholesky_inverse(Body& self, bool upper, OperatorResult& result) noexcept {
    const Shape shape{self};
    if (!shape.is_square()) return no_matrices;
    if (!shape.fits_lapack()) return too_large;
    if (const char* wrong = copy(result, self)) return wrong;
    const std::int64_t n = shape.rows();
    return with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; n > 0 && i < shape.count_matrices(); ++i) {
        T* const matrix = result.data<T>() + i * n * n;
        const lapack_int info =
            potri<T>(upper ? 'U' : 'L', static_cast<lapack_int>(n), matrix, at_least_one(n));
        if (info > 0) return "a matrix is singular";
        for (std::int64_t c = 0; c < n; ++c) {
          for (std::int64_t r = 0; r < c; ++r) {
            T &above = matrix[c * n + r], &below = matrix[r * n + c];
            (upper ? below : above) = conjugate(upper ? above : below);
          }
        }
      }
      return nullptr;
    });
  }

  static const char* ldl_factor_ex(Body& self, std::optional<bool> is_hermitian,
                                   std::optional<bool> checks, OperatorResult& result,
                                   OperatorResult& pivots, OperatorResult& info) noexcept {
    const Shape shape{self};
    if (!shape.is_square()) return no_matrices;
    if (!shape.fits_lapack()) return too_large;
    const std::int64_t n = shape.rows();
    if (const char* wrong = copy(result, self)) return wrong;
    if (const char* wrong = make_vectors(pivots, DType::int32, shape.vectors(n))) return wrong;
    if (const char* wrong = make_vectors(info, DType::int32, shape.numbers())) return wrong;
    const char* wrong = with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; i < shape.count_matrices(); ++i) {
        T* const matrix = result.data<T>() + i * n * n;
        // Torch returns only the lower triangle.
        keep_triangle(matrix, n, n, n, false);
        lapack_int failed = 0;
        const char* reason = nullptr;
        if (n > 0) {
          reason = with_work<T>(failed, [&](T* work, lapack_int size) {
            const auto call = [&](auto routine) {
              return routine('L', static_cast<lapack_int>(n), matrix, at_least_one(n),
                             pivots.data<lapack_int>() + i * n, work, size);
            };
            return is_hermitian.value_or(false)
                       ? call([](auto... all) { return hetrf<T>(all...); })
                       : call([](auto... all) { return sytrf<T>(all...); });
          });
        }
        if (reason != nullptr) return reason;
        info.data<std::int32_t>()[i] = failed;
      }
      return nullptr;
    });
    if (wrong != nullptr || !checks.value_or(false)) return wrong;
    return Decompositions::check(*info);
  }
  static const char* ldl_solve(Body& ld, Body& pivots, Body& b, std::optional<bool> is_hermitian,
                               OperatorResult& result) noexcept {
    Shape shape{ld}, target{b};
    if (!shape.is_square() || !target.is_of_matrices() || ld.dtype != b.dtype ||
        target.rows() != shape.rows() || pivots.dtype != DType::int32 ||
        pivots.count != shape.count_matrices() * shape.rows() || !target.broadcast_batch(shape)) {
      return no_matrices;
    }
    if (!shape.fits_lapack() || !target.fits_lapack()) return too_large;
    if (!shape.same_batch(target)) return "only with a matrix for each right side";
    OperatorResult matrices;
    plain::Elements order;
    if (const char* wrong = copy(matrices, ld)) return wrong;
    if (const char* wrong = order.read(pivots)) return wrong;
    if (const char* wrong = copy(result, b, target)) return wrong;
    const std::int64_t n = target.rows(), columns = target.columns();
    return with_numbers(b.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; n > 0 && i < target.count_matrices(); ++i) {
        const auto call = [&](auto routine) {
          routine('L', static_cast<lapack_int>(n), static_cast<lapack_int>(columns),
                  matrices.data<T>() + i * n * n, at_least_one(n), order.data<lapack_int>() + i * n,
                  result.data<T>() + i * n * columns, at_least_one(n));
        };
        if (is_hermitian.value_or(false)) {
          call([](auto... all) { hetrs<T>(all...); });
        } else {
          call([](auto... all) { sytrs<T>(all...); });
        }
      }
      return nullptr;
    });
  }

  /// Solves A X = B, or X A = B, for a triangular A.
  static const char* solve_triangular(Body& a, Body& b, bool upper, std::optional<bool> from_left,
                                      std::optional<bool> unit, OperatorResult& result) noexcept {
    const bool left = from_left.value_or(true);
    Shape shape{a}, target{b};
    if (!shape.is_square() || !target.is_of_matrices() || a.dtype != b.dtype ||
        (left ? target.rows() : target.columns()) != shape.rows() ||
        !target.broadcast_batch(shape) || !shape.broadcast_batch(target)) {
      return no_matrices;
    }
    OperatorResult matrices;
    if (const char* wrong = copy(matrices, a, shape)) return wrong;
    if (const char* wrong = copy(result, b, target)) return wrong;
    substitute_all(*matrices, *result, upper, left, unit.value_or(false), false);
    return with_numbers(a.dtype, [](auto) -> const char* { return nullptr; });
  }
  /// Solves A X = B, or the same with A transposed; also returns a copy of A.
  static const char* triangular_solve(Body& b, Body& a, bool upper, bool transposes, bool unit,
                                      OperatorResult& result, OperatorResult& copied) noexcept {
    Shape shape{a}, target{b};
    if (!shape.is_square() || !target.is_of_matrices() || a.dtype != b.dtype ||
        target.rows() != shape.rows() || !target.broadcast_batch(shape) ||
        !shape.broadcast_batch(target)) {
      return no_matrices;
    }
    if (const char* wrong = copy(copied, a, shape)) return wrong;
    if (const char* wrong = copy(result, b, target)) return wrong;
    substitute_all(*copied, *result, upper, true, unit, transposes);
    return with_numbers(a.dtype, [](auto) -> const char* { return nullptr; });
  }

  /// Multiplies by the Q of a result of geqrf.
  static const char* ormqr(Body& a, Body& tau, Body& other, bool left, bool transposes,
                           OperatorResult& result) noexcept {
    const Shape shape{a}, target{other};
    if (!shape.is_of_matrices() || !shape.same_batch(target) || tau.rank + 1u != a.rank ||
        tau.dtype != a.dtype || other.dtype != a.dtype) {
      return no_matrices;
    }
    const std::int64_t k = tau.sizes()[tau.rank - 1], m = target.rows(), n = target.columns();
    if ((left ? m : n) != shape.rows() || k > shape.columns() || k > shape.rows() ||
        tau.count != shape.count_matrices() * k) {
      return no_matrices;
    }
    if (!shape.fits_lapack() || !target.fits_lapack()) return too_large;
    OperatorResult reflectors;
    plain::Elements scalars;
    if (const char* wrong = copy(reflectors, a)) return wrong;
    if (const char* wrong = scalars.read(tau)) return wrong;
    if (const char* wrong = copy(result, other)) return wrong;
    return with_numbers(a.dtype, [&]<class T>(T) -> const char* {
      const char how = !transposes ? 'N' : is_complex_number<T> ? 'C' : 'T';
      for (std::int64_t i = 0; result->count > 0 && i < target.count_matrices(); ++i) {
        lapack_int info = 0;
        const char* wrong = with_work<T>(info, [&](T* work, lapack_int size) {
          return lapack::ormqr<T>(left ? 'L' : 'R', how, static_cast<lapack_int>(m),
                                  static_cast<lapack_int>(n), static_cast<lapack_int>(k),
                                  reflectors.data<T>() + i * shape.rows() * shape.columns(),
                                  at_least_one(shape.rows()), scalars.data<T>() + i * k,
                                  result.data<T>() + i * m * n, at_least_one(m), work, size);
        });
        if (wrong != nullptr) return wrong;
      }
      return nullptr;
    });
  }

 private:
  template <class T>
  static void solve_one(char how, std::int64_t n, std::int64_t columns, const T* lu,
                        const OperatorResult& pivots, std::int64_t which, T* right) noexcept {
    getrs<T>(how, static_cast<lapack_int>(n), static_cast<lapack_int>(columns), lu, at_least_one(n),
             pivots.data<lapack_int>() + which * n, right, at_least_one(n));
  }

  /// @param how LAPACK's flag for the factored matrix: 'N', 'T' or 'C'
  static const char* solve_factored(const Body& lu, const Body& pivots, const Body& b, bool left,
                                    char how, OperatorResult& result) noexcept {
    Shape shape{lu}, target{b};
    const Shape own = shape;
    if (!target.is_of_matrices() || (left ? target.rows() : target.columns()) != shape.rows() ||
        !target.broadcast_batch(shape) || !shape.broadcast_batch(target)) {
      return no_matrices;
    }
    if (!shape.fits_lapack() || !target.fits_lapack()) return too_large;
    // From the right, row-major: LAPACK sees the transposed matrices, and solves from the left.
    if (const char* wrong = copy(result, b, target, left)) return wrong;
    if (!left) how = how == 'N' ? 'T' : 'N';
    const std::int64_t n = shape.rows(), columns = left ? target.columns() : target.rows();
    return with_numbers(b.dtype, [&]<class T>(T) -> const char* {
      std::int64_t i = 0;
      for_each_index(target.sizes, target.rank - 2, [&](const std::int64_t* index) {
        // Which matrix belongs to this right-hand side.
        std::int64_t which = 0;
        for (std::uint32_t d = 0; d + 2 < own.rank; ++d) {
          const std::int64_t at = index[d + target.rank - own.rank];
          which = which * own.sizes[d] + (own.sizes[d] == 1 ? 0 : at);
        }
        if (n > 0 && columns > 0) {
          getrs<T>(how, static_cast<lapack_int>(n), static_cast<lapack_int>(columns),
                   reinterpret_cast<const T*>(lu.data) + which * n * n, at_least_one(n),
                   reinterpret_cast<const lapack_int*>(pivots.data) + which * n,
                   result.data<T>() + i * n * columns, at_least_one(n));
        }
        ++i;
      });
      return nullptr;
    });
  }

  /// For column-major matrices; both have the same batch.
  static void substitute_all(const Body& a, Body& b, bool upper, bool left, bool unit,
                             bool transposes) noexcept {
    const Shape target{b};
    const std::int64_t rows = target.rows(), columns = target.columns(), n = left ? rows : columns;
    with_numbers(b.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; i < target.count_matrices(); ++i) {
        const T* const matrix = reinterpret_cast<const T*>(a.data) + i * n * n;
        T* const right = reinterpret_cast<T*>(b.data) + i * rows * columns;
        // X A = B is A' X' = B'.
        const bool flips = transposes != !left;
        const auto at = [&](std::int64_t r, std::int64_t c) {
          return flips ? matrix[r * n + c] : matrix[c * n + r];
        };
        const bool backward = upper != flips;
        const std::int64_t step = left ? 1 : rows, next = left ? rows : 1;
        for (std::int64_t k = 0; k < (left ? columns : rows); ++k) {
          T* const x = right + k * next;
          for (std::int64_t j = 0; j < n; ++j) {
            const std::int64_t r = backward ? n - 1 - j : j;
            T sum = x[r * step];
            for (std::int64_t c = backward ? r + 1 : 0; c < (backward ? n : r); ++c) {
              sum -= at(r, c) * x[c * step];
            }
            x[r * step] = unit ? sum : sum / at(r, r);
          }
        }
      }
      return nullptr;
    });
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::lapack
