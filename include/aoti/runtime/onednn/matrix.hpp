// SPDX-License-Identifier: BSD-3-Clause
// Matrices in BLAS's layout, and the product of two: oneDNN's, and a plain one for other types.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "aoti/runtime/native/numbers.hpp"
#include "aoti/runtime/native/tensor_body.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

/// The last two dimensions of a tensor, in BLAS's terms.
struct Matrix {
  std::byte* data;
  std::int64_t rows, columns, row_step, column_step;

  explicit Matrix(const TensorBody& tensor) noexcept
      : data{tensor.data},
        rows{tensor.sizes()[tensor.rank - 2]},
        columns{tensor.sizes()[tensor.rank - 1]},
        row_step{tensor.strides()[tensor.rank - 2]},
        column_step{tensor.strides()[tensor.rank - 1]} {}
  Matrix(std::byte* at, std::int64_t height, std::int64_t width, std::int64_t down,
         std::int64_t across) noexcept
      : data{at}, rows{height}, columns{width}, row_step{down}, column_step{across} {}
  /// Adjacent numbers.
  static Matrix row(std::byte* data, std::int64_t columns) noexcept {
    return {data, 1, columns, columns, 1};
  }

  bool has_whole_rows() const noexcept {
    return (column_step == 1 || columns == 1) && (row_step >= columns || rows == 1);
  }
  bool has_whole_columns() const noexcept {
    return (row_step == 1 || rows == 1) && (column_step >= rows || columns == 1);
  }
  /// Whether BLAS can read it in place.
  bool is_plain() const noexcept { return has_whole_rows() || has_whole_columns(); }

  /// For a matrix with whole rows or columns.
  char transposition() const noexcept { return has_whole_rows() ? 'N' : 'T'; }
  dnnl_dim_t leading() const noexcept {
    if (has_whole_rows()) return rows == 1 ? std::max<std::int64_t>(columns, 1) : row_step;
    return columns == 1 ? std::max<std::int64_t>(rows, 1) : column_step;
  }
  Matrix transposed() const noexcept {
    Matrix result = *this;
    std::swap(result.rows, result.columns);
    std::swap(result.row_step, result.column_step);
    return result;
  }
};

/// out = beta * out + alpha * a @ b, each plain and float32.
inline dnnl_status_t sgemm(const Matrix& out, const Matrix& a, const Matrix& b, float beta,
                           float alpha) noexcept {
  if (!out.has_whole_rows()) {
    return sgemm(out.transposed(), b.transposed(), a.transposed(), beta, alpha);
  }
  return dnnl_sgemm(a.transposition(), b.transposition(), out.rows, out.columns, a.columns, alpha,
                    reinterpret_cast<const float*>(a.data), a.leading(),
                    reinterpret_cast<const float*>(b.data), b.leading(), beta,
                    reinterpret_cast<float*>(out.data), out.leading());
}

/// The same for any layout, without oneDNN. Integers are unsigned, as their sums may overflow.
template <class T>
void plain_product(const Matrix& out, const Matrix& a, const Matrix& b, double beta,
                   double alpha) noexcept {
  // At least as wide as unsigned, so that no signed integers are multiplied.
  using Wide = typename std::conditional_t<std::is_arithmetic_v<T>, std::common_type<T, unsigned>,
                                           std::type_identity<T>>::type;
  const auto at = [](const Matrix& m, std::int64_t row, std::int64_t column) -> T& {
    return reinterpret_cast<T*>(m.data)[row * m.row_step + column * m.column_step];
  };
  const auto number = [](double value) -> Wide {
    if constexpr (std::is_arithmetic_v<Wide>) {
      return to<Wide>(number_of(value));
    } else {
      return static_cast<typename Wide::value_type>(value);
    }
  };
  const Wide by = number(alpha), kept = number(beta);
  for (std::int64_t i = 0; i < out.rows; ++i) {
    for (std::int64_t j = 0; j < out.columns; ++j) {
      T& element = at(out, i, j);
      element = kept == Wide{0} ? T{0} : static_cast<T>(kept * element);
    }
    for (std::int64_t k = 0; k < a.columns; ++k) {
      const Wide factor = by * at(a, i, k);
      for (std::int64_t j = 0; j < out.columns; ++j) {
        T& element = at(out, i, j);
        element = static_cast<T>(element + factor * at(b, k, j));
      }
    }
  }
}

}  // namespace aoti::inline AOTI_ABI::detail::onednn
