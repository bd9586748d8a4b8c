// SPDX-License-Identifier: BSD-3-Clause
// LAPACK's routines for the four number types that torch uses them for, and matrices in their
// layout.
#pragma once

#include <lapacke.h>

#include <complex>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "aoti/runtime/native/operands.hpp"
#include "aoti/runtime/native/operator.hpp"

namespace aoti::inline AOTI_ABI::detail::lapack {

using Body = TensorBody;

inline constexpr const char* no_matrices = "the tensor is not of matrices that fit";
inline constexpr const char* too_large = "the matrices are too large for LAPACK";

template <class T> struct RealOf { using type = T; };
template <class T> struct RealOf<std::complex<T>> { using type = T; };
template <class T> using Real = typename RealOf<T>::type;
template <class T> inline constexpr bool is_complex_number = !std::is_same_v<T, Real<T>>;

// LAPACKE's complex numbers are C's, unless the program defines them otherwise.
__extension__ typedef lapack_complex_float ComplexFloat;
__extension__ typedef lapack_complex_double ComplexDouble;
template <class T> T plain_c(T argument) noexcept { return argument; }
inline auto plain_c(std::complex<float>* argument) noexcept {
  return reinterpret_cast<ComplexFloat*>(argument);
}
inline auto plain_c(const std::complex<float>* argument) noexcept {
  return reinterpret_cast<const ComplexFloat*>(argument);
}
inline auto plain_c(std::complex<double>* argument) noexcept {
  return reinterpret_cast<ComplexDouble*>(argument);
}
inline auto plain_c(const std::complex<double>* argument) noexcept {
  return reinterpret_cast<const ComplexDouble*>(argument);
}

// Without LAPACKE's search for NaN, and on the caller's memory.
#define AOTI_ROUTINE(name, of_real, of_complex)                                             \
  template <class T, class... Arguments> lapack_int name(Arguments... arguments) noexcept { \
    constexpr int order = LAPACK_COL_MAJOR;                                                 \
    if constexpr (std::is_same_v<T, float>) {                                               \
      return LAPACKE_s##of_real##_work(order, arguments...);                                \
    } else if constexpr (std::is_same_v<T, double>) {                                       \
      return LAPACKE_d##of_real##_work(order, arguments...);                                \
    } else if constexpr (std::is_same_v<T, std::complex<float>>) {                          \
      return LAPACKE_c##of_complex##_work(order, plain_c(arguments)...);                    \
    } else {                                                                                \
      return LAPACKE_z##of_complex##_work(order, plain_c(arguments)...);                    \
    }                                                                                       \
  }
AOTI_ROUTINE(getrf, getrf, getrf)
AOTI_ROUTINE(getrs, getrs, getrs)
AOTI_ROUTINE(potrf, potrf, potrf)
AOTI_ROUTINE(potrs, potrs, potrs)
AOTI_ROUTINE(potri, potri, potri)
AOTI_ROUTINE(geqrf, geqrf, geqrf)
AOTI_ROUTINE(orgqr, orgqr, ungqr)
AOTI_ROUTINE(ormqr, ormqr, unmqr)
AOTI_ROUTINE(syevd, syevd, heevd)
AOTI_ROUTINE(geev, geev, geev)
AOTI_ROUTINE(gesdd, gesdd, gesdd)
AOTI_ROUTINE(sytrf, sytrf, sytrf)
AOTI_ROUTINE(sytrs, sytrs, sytrs)
AOTI_ROUTINE(hetrf, sytrf, hetrf)
AOTI_ROUTINE(hetrs, sytrs, hetrs)
#undef AOTI_ROUTINE

template <class T> T conjugate(T value) noexcept {
  if constexpr (is_complex_number<T>) {
    return std::conj(value);
  } else {
    return value;
  }
}

/// Calls `each(T{})` with the number type; refuses other types.
template <class Each> const char* with_numbers(DType dtype, Each each) {
  switch (dtype) {
    case DType::float32:
      return each(float{});
    case DType::float64:
      return each(double{});
    case DType::complex64:
      return each(std::complex<float>{});
    case DType::complex128:
      return each(std::complex<double>{});
    default:
      return plain::not_for_dtype;
  }
}
constexpr DType real_of(DType dtype) noexcept {
  return dtype == DType::complex64    ? DType::float32
         : dtype == DType::complex128 ? DType::float64
                                      : dtype;
}
constexpr DType complex_of(DType dtype) noexcept {
  return dtype == DType::float32   ? DType::complex64
         : dtype == DType::float64 ? DType::complex128
                                   : dtype;
}

/// The shape of a batch of matrices: sizes that can be changed; the last two are the matrix.
struct Shape {
  std::int64_t sizes[Body::max_rank] = {};
  std::uint32_t rank = 0;

  Shape() noexcept = default;
  explicit Shape(const Body& tensor) noexcept : rank{tensor.rank} {
    for (std::uint32_t d = 0; d < rank; ++d) sizes[d] = tensor.sizes()[d];
  }

  bool is_of_matrices() const noexcept { return rank >= 2; }
  std::int64_t rows() const noexcept { return sizes[rank - 2]; }
  std::int64_t columns() const noexcept { return sizes[rank - 1]; }
  bool is_square() const noexcept { return is_of_matrices() && rows() == columns(); }
  /// The shape of this batch with other rows and columns.
  Shape with(std::int64_t rows, std::int64_t columns) const noexcept {
    Shape shape = *this;
    shape.sizes[rank - 2] = rows;
    shape.sizes[rank - 1] = columns;
    return shape;
  }
  /// The shape with one vector or number for each matrix.
  Shape vectors(std::int64_t length) const noexcept {
    Shape shape = *this;
    shape.sizes[shape.rank-- - 2] = length;
    return shape;
  }
  Shape numbers() const noexcept {
    Shape shape = *this;
    shape.rank -= 2;
    return shape;
  }
  std::int64_t count_matrices() const noexcept {
    std::int64_t count = 1;
    for (std::uint32_t d = 0; d + 2 < rank; ++d) count *= sizes[d];
    return count;
  }
  bool fits_lapack() const noexcept {
    constexpr std::int64_t most = std::numeric_limits<lapack_int>::max();
    return rows() <= most && columns() <= most;
  }
  bool same_batch(const Shape& other) const noexcept {
    bool same = rank == other.rank;
    for (std::uint32_t d = 0; same && d + 2 < rank; ++d) same = sizes[d] == other.sizes[d];
    return same;
  }
  /// Broadcasts the batch with another, keeping this one's matrices; false if that is not possible.
  bool broadcast_batch(const Shape& other) noexcept {
    const Shape own = *this;
    rank = own.rank > other.rank ? own.rank : other.rank;
    for (std::uint32_t d = 0; d < rank; ++d) {
      const auto size = [&](const Shape& shape) {
        return d + shape.rank < rank ? 1 : shape.sizes[d + shape.rank - rank];
      };
      if (d + 2 >= rank) {
        sizes[d] = size(own);
        continue;
      }
      const std::int64_t first = size(own), second = size(other);
      if (first != second && first != 1 && second != 1) return false;
      sizes[d] = first == 1 ? second : first;
    }
    return true;
  }
};

/// A new tensor of matrices, column-major as for LAPACK, or row-major.
inline const char* make(OperatorResult& result, DType dtype, const Shape& shape,
                        bool by_columns = true) noexcept {
  if (!by_columns) return result.make(dtype, shape.sizes, shape.rank);
  std::int64_t strides[Body::max_rank], step = 1;
  const auto stride = [&](std::uint32_t d) {
    strides[d] = step;
    step *= shape.sizes[d] > 1 ? shape.sizes[d] : 1;
  };
  stride(shape.rank - 2);
  stride(shape.rank - 1);
  for (std::uint32_t d = shape.rank - 2; d-- > 0;) stride(d);
  return result.make(dtype, shape.sizes, shape.rank, strides);
}
/// The same with a tensor's numbers, which are broadcast to the shape.
inline const char* copy(OperatorResult& result, const Body& from, const Shape& shape,
                        bool by_columns = true) noexcept {
  if (const char* wrong = make(result, from.dtype, shape, by_columns)) return wrong;
  return copy_elements(*result, from);
}
inline const char* copy(OperatorResult& result, const Body& from) noexcept {
  return copy(result, from, Shape{from});
}
inline const char* make_vectors(OperatorResult& result, DType dtype, const Shape& shape) noexcept {
  return result.make(dtype, shape.sizes, shape.rank);
}
/// A tensor with its last two dimensions swapped.
inline const char* transposed(OperatorResult& result, const Body& from) noexcept {
  std::int64_t sizes[Body::max_rank], strides[Body::max_rank];
  for (std::uint32_t d = 0; d < from.rank; ++d) {
    const std::uint32_t source = d + 2 < from.rank ? d : d + 1 == from.rank ? d - 1 : d + 1;
    sizes[d] = from.sizes()[source];
    strides[d] = from.strides()[source];
  }
  return result.view(from, from.rank, sizes, strides, from.offset, from.dtype);
}

/// Keeps one triangle of a column-major matrix, and sets the rest to 0.
template <class T>
void keep_triangle(T* matrix, std::int64_t rows, std::int64_t columns, std::int64_t step,
                   bool upper) noexcept {
  for (std::int64_t c = 0; c < columns; ++c) {
    for (std::int64_t r = 0; r < rows; ++r) {
      if (upper ? r > c : r < c) matrix[c * step + r] = T{0};
    }
  }
}

/// Memory that LAPACK asks for: `call(work, size)` is first called with a size of -1.
template <class T, class Call> const char* with_work(lapack_int& info, Call call) noexcept {
  T wanted{};
  info = call(&wanted, lapack_int{-1});
  if (info != 0) return nullptr;
  const auto size = static_cast<lapack_int>(std::real(wanted));
  plain::Scratch<T> work{size > 1 ? size : 1};
  if (!work) return Body::no_memory;
  info = call(work.get(), size > 1 ? size : 1);
  return nullptr;
}

/// LAPACK requires a distance of at least 1 between columns.
constexpr lapack_int at_least_one(std::int64_t size) noexcept {
  return static_cast<lapack_int>(size > 1 ? size : 1);
}

}  // namespace aoti::inline AOTI_ABI::detail::lapack
