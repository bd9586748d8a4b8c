// SPDX-License-Identifier: BSD-3-Clause
// Decompositions of matrices by LAPACK: LU and QR.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>

#include "aoti/runtime/lapack/routines.hpp"

namespace aoti::inline AOTI_ABI::detail::lapack {

struct Decompositions {
  static const char* lu_factor_ex(Body& self, std::optional<bool> pivot, std::optional<bool> checks,
                                  OperatorResult& lu, OperatorResult& pivots,
                                  OperatorResult& info) noexcept {
    if (!pivot.value_or(true)) return "only with pivots";
    if (const char* wrong = factor(self, lu, pivots, info)) return wrong;
    return checks.value_or(false) ? check(*info) : nullptr;
  }

  static const char* lu(Body& self, std::optional<bool> pivot, OperatorResult& p, OperatorResult& l,
                        OperatorResult& u) noexcept {
    if (!pivot.value_or(true)) return "only with pivots";
    OperatorResult packed, pivots, info;
    if (const char* wrong = factor(self, packed, pivots, info)) return wrong;
    return unpack(*packed, *pivots, true, true, p, l, u);
  }
  static const char* unpack(Body& lu, Body& pivots, bool unpacks_data, bool unpacks_pivots,
                            OperatorResult& p, OperatorResult& l, OperatorResult& u) noexcept {
    const Shape shape{lu};
    if (!shape.is_of_matrices()) return no_matrices;
    const std::int64_t m = shape.rows(), n = shape.columns(), k = std::min(m, n), nothing = 0;
    const std::int64_t matrices = shape.count_matrices();
    if (!unpacks_pivots) {
      if (const char* wrong = p.make(lu.dtype, &nothing, 1)) return wrong;
    }
    if (!unpacks_data) {
      if (const char* wrong = l.make(lu.dtype, &nothing, 1)) return wrong;
      if (const char* wrong = u.make(lu.dtype, &nothing, 1)) return wrong;
    }
    plain::Elements packed, order;
    if (const char* wrong = packed.read(lu)) return wrong;
    if (unpacks_pivots) {
      if (pivots.dtype != DType::int32 || pivots.count != matrices * k) return no_matrices;
      if (const char* wrong = order.read(pivots)) return wrong;
      if (const char* wrong = make(p, lu.dtype, shape.with(m, m), false)) return wrong;
      NativeFunctions::zero_(Body::handle(&*p));
    }
    if (unpacks_data) {
      if (const char* wrong = make(l, lu.dtype, shape.with(m, k), false)) return wrong;
      if (const char* wrong = make(u, lu.dtype, shape.with(k, n), false)) return wrong;
    }
    plain::Scratch<std::int64_t> rows{m + 1};
    if (!rows) return Body::no_memory;
    return with_numbers(lu.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; i < matrices; ++i) {
        if (unpacks_data) {
          const T* from = packed.data<T>() + i * m * n;
          T *lower = l.data<T>() + i * m * k, *upper = u.data<T>() + i * k * n;
          for (std::int64_t r = 0; r < m; ++r) {
            for (std::int64_t c = 0; c < n; ++c, ++from) {
              if (c < k) lower[r * k + c] = c < r ? *from : T(c == r ? 1 : 0);
              if (r < k) upper[r * n + c] = c < r ? T{0} : *from;
            }
            for (std::int64_t c = n; c < k; ++c) lower[r * k + c] = T(c == r ? 1 : 0);
          }
        }
        if (unpacks_pivots) {
          for (std::int64_t r = 0; r < m; ++r) rows[r] = r;
          for (std::int64_t r = 0; r < k; ++r) {
            const std::int64_t with = order.data<std::int32_t>()[i * k + r] - 1;
            if (with < 0 || with >= m) return "a pivot is out of range";
            std::swap(rows[r], rows[with]);
          }
          for (std::int64_t r = 0; r < m; ++r) p.data<T>()[i * m * m + rows[r] * m + r] = T(1);
        }
      }
      return nullptr;
    });
  }

  static const char* det(Body& self, OperatorResult& result, OperatorResult& lu,
                         OperatorResult& pivots) noexcept {
    if (const char* wrong = factor_as_torch(self, lu, pivots)) return wrong;
    const Shape shape{self};
    if (const char* wrong = make_vectors(result, self.dtype, shape.numbers())) return wrong;
    return for_diagonals(*lu, *pivots,
                         [&]<class T>(std::int64_t i, const T* diagonal, std::int64_t step,
                                      std::int64_t n, T product) {
                           for (std::int64_t d = 0; d < n; ++d) product *= diagonal[d * step];
                           result.data<T>()[i] = product;
                         });
  }
  static const char* slogdet(Body& self, OperatorResult& sign, OperatorResult& logarithm,
                             OperatorResult& lu, OperatorResult& pivots) noexcept {
    if (const char* wrong = factor_as_torch(self, lu, pivots)) return wrong;
    const Shape shape{self};
    if (const char* wrong = make_vectors(sign, self.dtype, shape.numbers())) return wrong;
    if (const char* wrong = make_vectors(logarithm, real_of(self.dtype), shape.numbers())) {
      return wrong;
    }
    return for_diagonals(*lu, *pivots,
                         [&]<class T>(std::int64_t i, const T* diagonal, std::int64_t step,
                                      std::int64_t n, T product) {
                           Real<T> sum = 0;
                           for (std::int64_t d = 0; d < n; ++d) {
                             const T value = diagonal[d * step];
                             const Real<T> size = std::abs(value);
                             product *= size == 0 ? T{0} : value / size;
                             sum += std::log(size);
                           }
                           sign.data<T>()[i] = product;
                           logarithm.data<Real<T>>()[i] = sum;
                         });
  }

  static const char* geqrf(Body& self, OperatorResult& a, OperatorResult& tau) noexcept {
    const Shape shape{self};
    if (!shape.is_of_matrices()) return no_matrices;
    if (!shape.fits_lapack()) return too_large;
    const std::int64_t m = shape.rows(), n = shape.columns(), k = std::min(m, n);
    if (const char* wrong = copy(a, self)) return wrong;
    if (const char* wrong = make_vectors(tau, self.dtype, shape.vectors(k))) return wrong;
    return with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; k > 0 && i < shape.count_matrices(); ++i) {
        lapack_int info = 0;
        const char* wrong = with_work<T>(info, [&](T* work, lapack_int size) {
          return lapack::geqrf<T>(static_cast<lapack_int>(m), static_cast<lapack_int>(n),
                                  a.data<T>() + i * m * n, at_least_one(m), tau.data<T>() + i * k,
                                  work, size);
        });
        if (wrong != nullptr) return wrong;
      }
      return nullptr;
    });
  }
  /// Replaces the result of geqrf by the first columns of Q.
  static const char* make_q(Body& a, const Body& tau) noexcept {
    const Shape shape{a};
    const std::int64_t m = shape.rows(), n = shape.columns();
    const std::int64_t k = tau.sizes()[tau.rank - 1];
    return with_numbers(a.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; m > 0 && n > 0 && i < shape.count_matrices(); ++i) {
        lapack_int info = 0;
        const char* wrong = with_work<T>(info, [&](T* work, lapack_int size) {
          return orgqr<T>(static_cast<lapack_int>(m), static_cast<lapack_int>(n),
                          static_cast<lapack_int>(k), reinterpret_cast<T*>(a.data) + i * m * n,
                          at_least_one(m), reinterpret_cast<const T*>(tau.data) + i * k, work,
                          size);
        });
        if (wrong != nullptr) return wrong;
      }
      return nullptr;
    });
  }
  static const char* qr(Body& self, std::optional<std::string_view> given, OperatorResult& q,
                        OperatorResult& r) noexcept {
    const std::string_view mode = given.value_or("reduced");
    const bool complete = mode == "complete", has_q = mode != "r";
    if (!complete && has_q && mode != "reduced") return "there is no such mode";
    OperatorResult a, tau;
    if (const char* wrong = geqrf(self, a, tau)) return wrong;
    const Shape shape{self};
    const std::int64_t m = shape.rows(), n = shape.columns(), k = std::min(m, n), nothing = 0;
    const std::int64_t rows = complete ? m : k;
    if (const char* wrong = make(r, self.dtype, shape.with(rows, n))) return wrong;
    const Shape q_shape = shape.with(m, rows);
    if (const char* wrong =
            has_q ? make(q, self.dtype, q_shape) : q.make(self.dtype, &nothing, 1)) {
      return wrong;
    }
    const char* wrong = with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; i < shape.count_matrices(); ++i) {
        const T* from = a.data<T>() + i * m * n;
        T* to = r.data<T>() + i * rows * n;
        for (std::int64_t c = 0; c < n; ++c) {
          for (std::int64_t row = 0; row < rows; ++row) {
            to[c * rows + row] = row <= c && row < k ? from[c * m + row] : T{0};
          }
        }
        if (!has_q) continue;
        T* vectors = q.data<T>() + i * m * rows;
        std::fill_n(vectors, m * rows, T{0});
        std::copy_n(from, m * std::min(n, rows), vectors);
      }
      return nullptr;
    });
    if (wrong != nullptr || !has_q) return wrong;
    return make_q(*q, *tau);
  }
  static const char* householder_product(Body& self, Body& tau, OperatorResult& result) noexcept {
    const Shape shape{self};
    if (!shape.is_of_matrices() || shape.rows() < shape.columns() || tau.rank + 1u != self.rank ||
        tau.dtype != self.dtype || tau.sizes()[tau.rank - 1] > shape.columns() ||
        tau.count != shape.count_matrices() * tau.sizes()[tau.rank - 1]) {
      return no_matrices;
    }
    if (!shape.fits_lapack()) return too_large;
    plain::Elements scalars;
    if (const char* wrong = scalars.read(tau)) return wrong;
    if (const char* wrong = copy(result, self)) return wrong;
    return make_q(*result, *scalars);
  }

  /// Checks a tensor of LAPACK's status codes.
  static const char* check(const Body& info) noexcept {
    bool good = true;
    walk_rows(info, [&](const std::byte* at, std::int64_t count, std::int64_t step) {
      for (; count > 0; --count, at += step) good &= load<std::int32_t>(at) == 0;
    });
    return good ? nullptr : "a matrix is singular, or not positive-definite";
  }
  static const char* check_errors(Body& info, std::string_view, bool) noexcept {
    return info.dtype == DType::int32 ? check(info) : plain::not_for_dtype;
  }

  static const char* factor(Body& self, OperatorResult& lu, OperatorResult& pivots,
                            OperatorResult& info) noexcept {
    const Shape shape{self};
    if (!shape.is_of_matrices()) return no_matrices;
    if (!shape.fits_lapack()) return too_large;
    const std::int64_t m = shape.rows(), n = shape.columns(), k = std::min(m, n);
    if (const char* wrong = copy(lu, self)) return wrong;
    if (const char* wrong = make_vectors(pivots, DType::int32, shape.vectors(k))) return wrong;
    if (const char* wrong = make_vectors(info, DType::int32, shape.numbers())) return wrong;
    static_assert(sizeof(lapack_int) == sizeof(std::int32_t));
    return with_numbers(self.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; i < shape.count_matrices(); ++i) {
        info.data<std::int32_t>()[i] =
            k == 0 ? 0
                   : getrf<T>(static_cast<lapack_int>(m), static_cast<lapack_int>(n),
                              lu.data<T>() + i * m * n, at_least_one(m),
                              pivots.data<lapack_int>() + i * k);
      }
      return nullptr;
    });
  }
  /// Torch uses the transposed matrix if that saves a copy.
  static bool transposes(const Body& self) noexcept {
    return self.row_major && !plain::is_complex(self.dtype);
  }

 private:
  static const char* factor_as_torch(Body& self, OperatorResult& lu,
                                     OperatorResult& pivots) noexcept {
    if (!Shape{self}.is_square()) return no_matrices;
    OperatorResult info, view;
    if (!transposes(self)) return factor(self, lu, pivots, info);
    if (const char* wrong = transposed(view, self)) return wrong;
    return factor(*view, lu, pivots, info);
  }

  /// Calls `each(which, diagonal, its step, size, sign)` for each matrix.
  template <class Each>
  static const char* for_diagonals(const Body& lu, const Body& pivots, Each each) noexcept {
    const Shape shape{lu};
    const std::int64_t n = shape.rows();
    return with_numbers(lu.dtype, [&]<class T>(T) -> const char* {
      for (std::int64_t i = 0; i < shape.count_matrices(); ++i) {
        bool odd = false;
        for (std::int64_t d = 0; d < n; ++d) {
          odd ^= reinterpret_cast<const lapack_int*>(pivots.data)[i * n + d] != d + 1;
        }
        each(i, reinterpret_cast<const T*>(lu.data) + i * n * n, n + 1, n, T(odd ? -1 : 1));
      }
      return nullptr;
    });
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::lapack
