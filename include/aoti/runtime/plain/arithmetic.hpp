// SPDX-License-Identifier: BSD-3-Clause
// Operators on single elements that Inductor leaves to the runtime because they are complex or have
// no vector code, and operators that join whole tensors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

/// The type of a result of two operands, promoted as in torch: an operand without dimensions
/// changes it only if it is of a higher kind.
inline DType promoted(const Body& a, const Body& b) noexcept {
  enum Kind { boolean, integer, floating, complex };
  const auto kind = [](DType type) {
    return is_complex(type)    ? complex
           : is_floating(type) ? floating
           : is_integer(type)  ? integer
                               : boolean;
  };
  const DType first = a.dtype, second = b.dtype;
  if (first == second) return first;
  const auto with_complex = [](DType real, DType complex_one) {
    return real == DType::float64 ? DType::complex128 : complex_one;
  };
  if ((a.rank == 0) != (b.rank == 0)) {
    const DType tensor = a.rank != 0 ? first : second, number = a.rank != 0 ? second : first;
    if (kind(tensor) >= kind(number)) return tensor;
    if (kind(tensor) != floating) return number;
    return tensor == DType::float16    ? DType::complex32
           : tensor == DType::bfloat16 ? static_cast<DType>(-1)  // torch's type is unknown here
                                       : with_complex(tensor, DType::complex64);
  }
  if (kind(first) != kind(second)) {
    const bool wider = kind(first) > kind(second);
    const DType high = wider ? first : second, low = wider ? second : first;
    return kind(high) == complex ? with_complex(low, high) : high;
  }
  if (kind(first) == integer) {
    // A signed and an unsigned type give the next wider signed type.
    const auto is_signed = [](DType type) {
      return type == DType::int8 || type == DType::int16 || type == DType::int32 ||
             type == DType::int64;
    };
    const std::size_t size = element_size(first), other = element_size(second);
    if (is_signed(first) == is_signed(second)) return size > other ? first : second;
    const std::size_t plain = is_signed(first) ? other : size, wide = std::max(size, other);
    const std::size_t bytes = wide > plain ? wide : 2 * plain;
    return bytes == 2 ? DType::int16 : bytes == 4 ? DType::int32 : DType::int64;
  }
  if (element_size(first) != element_size(second)) {
    return element_size(first) > element_size(second) ? first : second;
  }
  return DType::float32;  // for float16 and bfloat16
}

struct Arithmetic {
  static const char* gcd(Body& a, Body& b, Handle* out) noexcept {
    const DType dtype = promoted(a, b);
    if (!is_integer(dtype) || !is_integer(a.dtype) || !is_integer(b.dtype)) return not_for_dtype;
    return each<std::int64_t, std::int64_t>(a, b, dtype, out, [](std::int64_t x, std::int64_t y) {
      auto first = magnitude(x), second = magnitude(y);
      while (second != 0) first = std::exchange(second, first % second);
      return static_cast<std::int64_t>(first);
    });
  }

  /// Complex numbers from their magnitudes and angles.
  static const char* polar(Body& magnitudes, Body& angles, Handle* out) noexcept {
    if (magnitudes.dtype != angles.dtype) return not_for_dtype;
    const auto run = [&]<class T>(T, DType dtype) {
      return each<T, Complex<T>>(magnitudes, angles, dtype, out, [](T length, T angle) {
        return Complex<T>{length * std::cos(angle), length * std::sin(angle)};
      });
    };
    if (angles.dtype == DType::float32) return run(float{}, DType::complex64);
    if (angles.dtype == DType::float64) return run(double{}, DType::complex128);
    return not_for_dtype;
  }

  static const char* add(Body& a, Body& b, double alpha, Handle* out) noexcept {
    const DType dtype = promoted(a, b);
    if (!is_floating(dtype) && !is_complex(dtype))
      return not_for_dtype;  // torch's result for such an alpha
    return compute(a, b, dtype, out, [alpha]<class T>(T x, T y) {
      if constexpr (is_complex_number<T>) {
        using Part = decltype(T::real);
        const auto scale = static_cast<Part>(alpha);
        return T{x.real + scale * y.real, x.imaginary + scale * y.imaginary};
      } else {
        return x + static_cast<T>(alpha) * y;
      }
    });
  }
  static const char* multiply(Body& a, Body& b, Handle* out) noexcept {
    return compute(a, b, promoted(a, b), out, []<class T>(T x, T y) {
      if constexpr (is_complex_number<T>) {
        return T{x.real * y.real - x.imaginary * y.imaginary,
                 x.real * y.imaginary + x.imaginary * y.real};
      } else if constexpr (std::is_integral_v<T>) {
        return static_cast<T>(static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(y));
      } else {
        return x * y;
      }
    });
  }
  static const char* add_scalar(Body& self, double other, double alpha, Handle* out) noexcept {
    return with_number(self, other, [&](Body& number) { return add(self, number, alpha, out); });
  }
  static const char* multiply_scalar(Body& self, double other, Handle* out) noexcept {
    return with_number(self, other, [&](Body& number) { return multiply(self, number, out); });
  }

  static const char* power(Body& base, Body& exponent, Handle* out) noexcept {
    const DType dtype = promoted(base, exponent);
    if (!is_floating(dtype) && !is_integer(dtype)) return not_for_dtype;
    return compute(base, exponent, dtype, out, []<class T>(T x, T y) {
      if constexpr (is_complex_number<T>) {
        return x;  // refused
      } else if constexpr (std::is_integral_v<T>) {
        return whole_power(x, y);
      } else {
        return std::pow(x, y);
      }
    });
  }
  static const char* power_of_tensor(Body& base, double exponent, Handle* out) noexcept {
    return with_number(base, exponent, [&](Body& number) { return power(base, number, out); });
  }
  static const char* power_of_number(double base, Body& exponent, Handle* out) noexcept {
    Temporary dense;  // torch's results are row-major
    Body* copy = dense.copy(exponent);
    if (copy == nullptr) return Body::no_memory;
    return with_number(exponent, base, [&](Body& number) { return power(number, *copy, out); });
  }

  static const char* absolute(Body& self, Handle* out) noexcept {
    return compute(self, self, real_of(self.dtype), out, []<class T>(T x, T) {
      if constexpr (is_complex_number<T>) {
        return std::hypot(x.real, x.imaginary);
      } else if constexpr (std::is_integral_v<T>) {
        return static_cast<T>(magnitude(x));
      } else {
        return std::fabs(x);
      }
    });
  }
  /// The angles of complex numbers, or of real ones: pi for negative numbers, else 0.
  static const char* angle(Body& self, Handle* out) noexcept {
    Elements dense;  // torch's angles of complex numbers are row-major
    const Body* from = &self;
    if (is_complex(self.dtype)) {
      if (const char* wrong = dense.read(self)) return wrong;
      from = &*dense;
    }
    const DType dtype = real_of(self.dtype);
    return compute(*from, *from, is_floating(dtype) ? dtype : DType::float32, out,
                   []<class T>(T x, T) {
                     constexpr double pi = 3.14159265358979323846;
                     if constexpr (is_complex_number<T>) {
                       return std::atan2(x.imaginary, x.real);
                     } else if constexpr (std::is_integral_v<T>) {
                       return x < 0 ? static_cast<float>(pi) : 0.0f;
                     } else {
                       return std::isnan(x) ? x : x < 0 ? static_cast<T>(pi) : T{0};
                     }
                   });
  }

  static const char* fill(Body& self, double value) noexcept {
    if (!is_convertible(self.dtype)) return not_for_dtype;
    Temporary room;
    Body* number = room.make(self.dtype, nullptr, 0);
    if (number == nullptr) return Body::no_memory;
    write_number(self.dtype, number->data, number_of(value));
    return copy_elements(self, *number);
  }

  /// Concatenates tensors along a dimension; one-dimensional tensors without elements are skipped.
  static const char* concatenate(const Handle* tensors, std::int64_t count, std::int64_t dimension,
                                 Handle* out) noexcept {
    const Body* first = nullptr;
    std::int64_t all = 0;
    bool last = true, row_major = true;
    const auto counts = [](const Body& tensor) { return tensor.rank != 1 || tensor.count != 0; };
    if (count <= 0) return "there are no tensors";
    for (std::int64_t i = 0; i < count; ++i) {
      const Body* next = optional(&tensors[i]);
      if (next == nullptr) return "the tensor is undefined";
      if (next->dtype != Body::of(tensors[0])->dtype) return not_for_dtype;
      if (!counts(*next)) continue;
      if (first == nullptr) {
        first = next;
        if (first->rank == 0 || !wrap(dimension, first->rank)) return no_dimension;
      }
      if (next->rank != first->rank) return sizes_differ;
      for (std::int64_t d = 0; d < first->rank; ++d) {
        if (d != dimension && next->sizes()[d] != first->sizes()[d]) return sizes_differ;
      }
      all += next->sizes()[dimension];
      last &= lies_channels_last(*next);
      row_major &= next->row_major;
    }
    Output result;
    if (first == nullptr) {
      if (const char* wrong = result.make_like(*Body::of(tensors[0]))) return wrong;
      result.give(out);
      return nullptr;
    }
    std::int64_t sizes[Body::max_rank] = {}, strides[Body::max_rank] = {}, step = 1;
    for (std::uint32_t d = 0; d < first->rank; ++d)
      sizes[d] = d == dimension ? all : first->sizes()[d];
    for (std::uint32_t i = 0; i < first->rank; ++i) {
      const std::uint32_t d =
          last && !row_major ? channels_last(first->rank, i) : first->rank - 1 - i;
      strides[d] = step;
      step *= sizes[d] != 0 ? sizes[d] : 1;
    }
    if (const char* wrong = result.make(first->dtype, sizes, first->rank, strides)) return wrong;
    std::int64_t offset = result->offset;
    for (std::int64_t i = 0; i < count; ++i) {
      const Body& next = *Body::of(tensors[i]);
      if (!counts(next)) continue;
      Output part;
      const char* wrong =
          part.view(*result, next.rank, next.sizes(), result->strides(), offset, next.dtype);
      if (wrong == nullptr) wrong = copy_elements(*part, next);
      if (wrong != nullptr) return wrong;
      offset += next.sizes()[dimension] * result->strides()[dimension];
    }
    result.give(out);
    return nullptr;
  }

 private:
  template <class T>
  static constexpr bool is_complex_number =
      std::is_same_v<T, Complex<float>> || std::is_same_v<T, Complex<double>>;

  static std::uint64_t magnitude(std::int64_t value) noexcept {
    const auto bits = static_cast<std::uint64_t>(value);
    return value < 0 ? 0 - bits : bits;
  }
  /// Wraps; for a negative exponent, the integer part.
  static std::int64_t whole_power(std::int64_t base, std::int64_t exponent) noexcept {
    if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 != 0 ? -1 : 1) : 0;
    std::uint64_t result = 1, factor = static_cast<std::uint64_t>(base);
    for (; exponent != 0; exponent /= 2, factor *= factor) {
      if (exponent % 2 != 0) result *= factor;
    }
    return static_cast<std::int64_t>(result);
  }
  static DType real_of(DType dtype) noexcept {
    return dtype == DType::complex32    ? DType::float16
           : dtype == DType::complex64  ? DType::float32
           : dtype == DType::complex128 ? DType::float64
                                        : dtype;
  }

  /// Calls `run` with a number in the type that it has when combined with a tensor.
  template <class Run>
  static const char* with_number(const Body& self, double value, Run run) noexcept {
    const bool same = is_floating(self.dtype) || is_complex(self.dtype);
    Temporary room;
    Body* number = room.make(same ? self.dtype : DType::float32, nullptr, 0);
    if (number == nullptr) return Body::no_memory;
    write_number(number->dtype, number->data, number_of(value));
    return run(*number);
  }

  /// Calls `step` with pairs of elements in the type that they are computed in.
  template <class Step>
  static const char* compute(const Body& a, const Body& b, DType dtype, Handle* out,
                             Step step) noexcept {
    const auto known = [](DType type) { return is_real(type) || is_complex(type); };
    if (!known(a.dtype) || !known(b.dtype)) return not_for_dtype;
    const auto run = [&]<class T>(T) {
      return each<T, decltype(step(T{}, T{}))>(a, b, dtype, out, step);
    };
    switch (computing(promoted(a, b))) {
      case DType::float32:
        return run(float{});
      case DType::float64:
        return run(double{});
      case DType::complex64:
        return run(Complex<float>{});
      case DType::complex128:
        return run(Complex<double>{});
      default:
        return run(std::int64_t{});
    }
  }

  template <class T> static constexpr DType type_of() noexcept {
    if constexpr (std::is_same_v<T, Complex<float>>) {
      return DType::complex64;
    } else if constexpr (std::is_same_v<T, Complex<double>>) {
      return DType::complex128;
    } else {
      return dtype_of<T>;
    }
  }

  /// A new tensor of a given type and of the broadcast sizes, laid out as by torch's iterators;
  /// `step` makes a Made from two Ts.
  template <class T, class Made, class Step>
  static const char* each(const Body& a, const Body& b, DType dtype, Handle* out,
                          Step step) noexcept {
    std::int64_t sizes[Body::max_rank] = {}, strides[Body::max_rank] = {};
    std::int64_t operands[2 * Body::max_rank] = {};
    std::uint32_t rank = 0;
    if (const char* wrong = broadcast(a, b, sizes, rank)) return wrong;
    const Body* const given[] = {&a, &b};
    Temporary rooms[2];
    const T* from[2] = {};
    for (int i = 0; i < 2; ++i) {
      const Body& tensor = *given[i];
      const auto size = static_cast<std::int64_t>(element_size(tensor.dtype));
      for (std::uint32_t d = 0; d < tensor.rank; ++d) {
        const std::uint32_t at = d + rank - tensor.rank;
        const bool repeated = tensor.sizes()[d] != sizes[at];
        operands[static_cast<std::uint32_t>(i) * rank + at] =
            repeated ? 0 : tensor.strides()[d] * size;
      }
      Body* all = rooms[i].make(type_of<T>(), sizes, rank);
      if (all == nullptr) return Body::no_memory;
      if (const char* wrong = copy_elements(*all, tensor)) return wrong;
      from[i] = reinterpret_cast<const T*>(all->data);
    }
    iterated_strides(sizes, rank, operands, 2, strides);
    Output result;
    Target to;
    if (const char* wrong = result.make(dtype, sizes, rank, strides)) return wrong;
    if (const char* wrong = to.begin(*result, type_of<Made>())) return wrong;
    for (std::int64_t i = 0; i < result->count; ++i) {
      to.data<Made>()[i] = step(from[0][i], from[1][i]);
    }
    if (const char* wrong = to.finish()) return wrong;
    result.give(out);
    return nullptr;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
