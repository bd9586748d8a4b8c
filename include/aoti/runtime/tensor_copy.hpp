// Copying the elements of tensors, whatever their strides and types.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "aoti/runtime/float8.hpp"
#include "aoti/runtime/tensor_body.hpp"

namespace aoti::detail {

constexpr float half_to_float(std::uint16_t bits) noexcept {
  const std::uint32_t sign = std::uint32_t{bits} >> 15 << 31;
  const std::uint32_t exponent = bits >> 10 & 31u, mantissa = bits & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0xffu << 23 | mantissa << 13);
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

/// To the nearest, ties to even, as the processors do.
constexpr std::uint16_t float_to_half(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 31 << 15);
  const std::uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<std::uint16_t>(sign | 0x7e00);   // not a number
  if (magnitude >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);  // too large
  if (magnitude < 0x38800000) {  // below 2^-14: adding 0.5 leaves the digits that count last
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000));
  }
  const std::uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<std::uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
}

constexpr float bfloat_to_float(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}
constexpr std::uint16_t float_to_bfloat(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// A number on its way from one element type to another, without loss.
struct Number {
  enum class Kind : std::uint8_t { floating, natural, integer } kind;
  double floating;
  std::uint64_t integer;  ///< Also of the negative ones, as two's complement.
  double imaginary = 0;
};

/// A complex number, which the C interface passes like this one.
template <class T> struct alignas(2 * sizeof(T)) Complex {
  T real;
  T imaginary;
};

template <class T> [[gnu::always_inline]] inline T load(const void* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T> Number number_of(T value) noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    return {Number::Kind::floating, static_cast<double>(value), 0};
  } else if constexpr (std::is_signed_v<T>) {
    return {Number::Kind::integer, 0, static_cast<std::uint64_t>(static_cast<std::int64_t>(value))};
  } else {
    return {Number::Kind::natural, 0, static_cast<std::uint64_t>(value)};
  }
}

/// As static_cast does, of the real part where the type is not bool, except that floating-point
/// numbers which do not fit become some number.
template <class T> T to(const Number& number) noexcept {
  if (number.kind == Number::Kind::floating) {
    if constexpr (std::is_same_v<T, bool>) {
      return number.floating != 0 || number.imaginary != 0;
    } else if constexpr (std::is_floating_point_v<T>) {
      return static_cast<T>(number.floating);
    } else {
      constexpr double limit = 0x1p63;
      if (number.floating >= limit && number.floating < 2 * limit) {
        return static_cast<T>(static_cast<std::uint64_t>(number.floating));
      }
      const bool fits = number.floating >= -limit && number.floating < limit;
      return static_cast<T>(fits ? static_cast<std::int64_t>(number.floating)
                                 : std::numeric_limits<std::int64_t>::min());
    }
  }
  if (number.kind == Number::Kind::natural) return static_cast<T>(number.integer);
  return static_cast<T>(static_cast<std::int64_t>(number.integer));
}

/// Whether torch's checked conversion to a type lets a number pass.
template <class T>
bool fits(const Number& number, T most = std::numeric_limits<T>::max()) noexcept {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_floating_point_v<T>) {
    const double value = std::fabs(to<double>(number));
    return !std::isfinite(value) || value <= static_cast<double>(most);
  } else if (number.kind == Number::Kind::floating) {
    const double end = 2.0 * static_cast<double>(std::uint64_t{1} << (Limits::digits - 1));
    return number.floating >= static_cast<double>(Limits::lowest()) && number.floating < end;
  } else {
    T same = 0;
    if (number.kind == Number::Kind::natural) {
      return !__builtin_add_overflow(number.integer, T{0}, &same);
    }
    const auto value = static_cast<std::int64_t>(number.integer);
    if (value < 0 && !Limits::is_signed) {  // torch looks at the magnitude alone
      return !__builtin_add_overflow(std::uint64_t{0} - number.integer, T{0}, &same);
    }
    return !__builtin_add_overflow(value, T{0}, &same);
  }
}
inline bool fits(DType dtype, const Number& number) noexcept {
  if (dtype == DType::complex64) {
    return fits<float>(number) && fits<float>(number_of(number.imaginary));
  }
  if (number.imaginary != 0) return false;
  switch (dtype) {
    case DType::float32:
      return fits<float>(number);
    case DType::float16:
      return fits<float>(number, 65504);
    case DType::bfloat16:
      return fits<float>(number, 0x1.fep127f);
    case DType::int8:
      return fits<std::int8_t>(number);
    case DType::int16:
      return fits<std::int16_t>(number);
    case DType::int32:
      return fits<std::int32_t>(number);
    case DType::int64:
      return fits<std::int64_t>(number);
    case DType::uint8:
      return fits<std::uint8_t>(number);
    case DType::uint16:
      return fits<std::uint16_t>(number);
    case DType::uint32:
      return fits<std::uint32_t>(number);
    case DType::uint64:
      return fits<std::uint64_t>(number);
    default:
      return true;
  }
}

/// Whether numbers can be read from elements of a type and written to them.
constexpr bool is_convertible(DType dtype) noexcept {
  return element_size(dtype) != 0 && dtype != DType::float4_e2m1fn_x2;
}

/// Whether torch computes with elements of a type, as with real numbers.
constexpr bool is_real(DType dtype) noexcept {
  const std::string_view name = to_string(dtype);
  return is_convertible(dtype) && !name.starts_with("complex") && !name.starts_with("float8");
}

/// The element of a convertible type.
inline Number read_number(DType dtype, const void* from) noexcept {
  const auto complex = [](auto real, auto imaginary) {
    Number number = number_of(real);
    number.imaginary = imaginary;
    return number;
  };
  switch (dtype) {
    case DType::float32:
      return number_of(load<float>(from));
    case DType::float64:
      return number_of(load<double>(from));
    case DType::float16:
      return number_of(half_to_float(load<std::uint16_t>(from)));
    case DType::bfloat16:
      return number_of(bfloat_to_float(load<std::uint16_t>(from)));
    case DType::int8:
      return number_of(load<std::int8_t>(from));
    case DType::int16:
      return number_of(load<std::int16_t>(from));
    case DType::int32:
      return number_of(load<std::int32_t>(from));
    case DType::int64:
      return number_of(load<std::int64_t>(from));
    case DType::uint8:
      return number_of(load<std::uint8_t>(from));
    case DType::uint16:
      return number_of(load<std::uint16_t>(from));
    case DType::uint32:
      return number_of(load<std::uint32_t>(from));
    case DType::uint64:
      return number_of(load<std::uint64_t>(from));
    case DType::boolean:
      return number_of(load<std::uint8_t>(from) != 0);
    case DType::complex32: {
      const auto value = load<Complex<std::uint16_t>>(from);
      return complex(half_to_float(value.real), half_to_float(value.imaginary));
    }
    case DType::complex64: {
      const auto value = load<Complex<float>>(from);
      return complex(value.real, value.imaginary);
    }
    case DType::complex128: {
      const auto value = load<Complex<double>>(from);
      return complex(value.real, value.imaginary);
    }
    case DType::float8_e4m3fn:
      return number_of(float8_e4m3fn.to_float(load<std::uint8_t>(from)));
    case DType::float8_e5m2:
      return number_of(float8_e5m2.to_float(load<std::uint8_t>(from)));
    case DType::float8_e4m3fnuz:
      return number_of(float8_e4m3fnuz.to_float(load<std::uint8_t>(from)));
    case DType::float8_e5m2fnuz:
      return number_of(float8_e5m2fnuz.to_float(load<std::uint8_t>(from)));
    case DType::float8_e8m0fnu:
      return number_of(e8m0_to_float(load<std::uint8_t>(from)));
    default:
      return {};
  }
}

inline void write_number(DType dtype, void* at, const Number& number) noexcept {
  const auto store = [at](auto value) { std::memcpy(at, &value, sizeof value); };
  switch (dtype) {
    case DType::float32:
      return store(to<float>(number));
    case DType::float64:
      return store(to<double>(number));
    case DType::float16:
      return store(float_to_half(to<float>(number)));
    case DType::bfloat16:
      return store(float_to_bfloat(to<float>(number)));
    case DType::int8:
      return store(to<std::int8_t>(number));
    case DType::int16:
      return store(to<std::int16_t>(number));
    case DType::int32:
      return store(to<std::int32_t>(number));
    case DType::int64:
      return store(to<std::int64_t>(number));
    case DType::uint8:
      return store(to<std::uint8_t>(number));
    case DType::uint16:
      return store(to<std::uint16_t>(number));
    case DType::uint32:
      return store(to<std::uint32_t>(number));
    case DType::uint64:
      return store(to<std::uint64_t>(number));
    case DType::boolean:
      return store(static_cast<std::uint8_t>(to<bool>(number)));
    case DType::complex32:
      return store(Complex<std::uint16_t>{float_to_half(to<float>(number)),
                                          float_to_half(static_cast<float>(number.imaginary))});
    case DType::complex64:
      return store(Complex<float>{to<float>(number), static_cast<float>(number.imaginary)});
    case DType::complex128:
      return store(Complex<double>{to<double>(number), number.imaginary});
    case DType::float8_e4m3fn:
      return store(float8_e4m3fn.from_float(to<float>(number)));
    case DType::float8_e5m2:
      return store(float8_e5m2.from_float(to<float>(number)));
    case DType::float8_e4m3fnuz:
      return store(float8_e4m3fnuz.from_float(to<float>(number)));
    case DType::float8_e5m2fnuz:
      return store(float8_e5m2fnuz.from_float(to<float>(number)));
    case DType::float8_e8m0fnu:
      return store(float_to_e8m0(to<float>(number)));
    default:
      return;
  }
}

/// Walks two tensors of the sizes of the first, from the outermost dimension to the innermost, and
/// calls `row(to, from, count, to_step, from_step)` for each innermost row; steps are in bytes.
template <class Row> struct Walk {
  const std::int64_t* sizes;
  const std::int64_t* to_steps;
  const std::int64_t* from_steps;
  std::uint32_t rank;
  Row row;

  void operator()(std::byte* to, const std::byte* from, std::uint32_t dimension = 0) const {
    if (rank == 0) return row(to, from, 1, 0, 0);
    const std::int64_t to_step = to_steps[dimension], from_step = from_steps[dimension];
    if (dimension + 1 == rank) return row(to, from, sizes[dimension], to_step, from_step);
    for (std::int64_t i = 0; i < sizes[dimension]; ++i) {
      (*this)(to + i * to_step, from + i * from_step, dimension + 1);
    }
  }
};

/// Walks one tensor: calls `row(at, count, step)`.
template <class Row> void walk_rows(const TensorBody& tensor, Row row) noexcept {
  if (tensor.count == 0) return;
  std::int64_t steps[TensorBody::max_rank];
  for (std::uint32_t d = 0; d < tensor.rank; ++d) {
    steps[d] = tensor.strides()[d] * static_cast<std::int64_t>(element_size(tensor.dtype));
  }
  const auto both = [&](std::byte* at, const std::byte*, std::int64_t count, std::int64_t step,
                        std::int64_t) { row(at, count, step); };
  Walk<decltype(both)>{tensor.sizes(), steps, steps, tensor.rank, both}(tensor.data, tensor.data);
}

/// Calls `each(index)` with each index into sizes, the last dimension fastest.
template <class Each>
void for_each_index(const std::int64_t* sizes, std::uint32_t rank, Each each) noexcept {
  std::int64_t index[TensorBody::max_rank] = {};
  for (std::uint32_t d = 0; d < rank; ++d) {
    if (sizes[d] == 0) return;
  }
  for (;;) {
    each(static_cast<const std::int64_t*>(index));
    std::uint32_t d = rank;
    while (d-- > 0 && ++index[d] == sizes[d]) index[d] = 0;
    if (d == ~std::uint32_t{0}) return;
  }
}

inline std::int64_t offset_of(const std::int64_t* index, const std::int64_t* strides,
                              std::uint32_t rank) noexcept {
  std::int64_t offset = 0;
  for (std::uint32_t d = 0; d < rank; ++d) offset += index[d] * strides[d];
  return offset;
}

template <std::size_t size>
void copy_row(std::byte* to, const std::byte* from, std::int64_t count, std::int64_t to_step,
              std::int64_t from_step) noexcept {
  if (to_step == size && from_step == size) {
    std::memmove(to, from, static_cast<std::size_t>(count) * size);
    return;
  }
  for (; count > 0; --count, to += to_step, from += from_step) std::memcpy(to, from, size);
}

/// Copies elements, converting their type, from a tensor that can be broadcast to the other's
/// sizes.
/// @return why that cannot be; null where it is done
inline const char* copy_elements(TensorBody& to, const TensorBody& from) noexcept {
  if (from.storage == nullptr || to.storage == nullptr) return "the tensor is undefined";
  if (from.rank > to.rank) return "the sizes do not match";
  const auto to_size = static_cast<std::int64_t>(element_size(to.dtype));
  const auto from_size = static_cast<std::int64_t>(element_size(from.dtype));
  std::int64_t to_steps[TensorBody::max_rank], from_steps[TensorBody::max_rank];
  const std::uint32_t added = to.rank - from.rank;
  for (std::uint32_t d = 0; d < to.rank; ++d) {
    to_steps[d] = to.sizes()[d] > 1 ? to.strides()[d] * to_size : 0;
    const std::int64_t size = d < added ? 1 : from.sizes()[d - added];
    if (size != to.sizes()[d] && size != 1) return "the sizes do not match";
    from_steps[d] = size == 1 ? 0 : from.strides()[d - added] * from_size;
  }
  if (to.count == 0) return nullptr;
  const auto walk = [&](auto row) {
    const Walk<decltype(row)> all{to.sizes(), to_steps, from_steps, to.rank, row};
    all(to.data, from.data);
  };
  if (to.dtype != from.dtype) {
    if (!is_convertible(to.dtype) || !is_convertible(from.dtype)) {
      return "there is no conversion between these dtypes";
    }
    walk([&](std::byte* target, const std::byte* source, std::int64_t count, std::int64_t to_step,
             std::int64_t from_step) {
      for (; count > 0; --count, target += to_step, source += from_step) {
        write_number(to.dtype, target, read_number(from.dtype, source));
      }
    });
    return nullptr;
  }
  if (to.count == from.count && to.row_major && from.row_major) {
    std::memmove(to.data, from.data, static_cast<std::size_t>(to.count * to_size));
    return nullptr;
  }
  switch (to_size) {
    case 1:
      walk(copy_row<1>);
      break;
    case 2:
      walk(copy_row<2>);
      break;
    case 4:
      walk(copy_row<4>);
      break;
    case 8:
      walk(copy_row<8>);
      break;
    default:
      walk(copy_row<16>);
      break;
  }
  return nullptr;
}

/// The dimensions from the innermost to the outermost, as at::infer_dense_strides orders them: by
/// stride, then by size, and where a stride is 0 the later dimension is further in.
inline void order_by_stride(const TensorBody& tensor, std::uint32_t* inner_to_outer) noexcept {
  const auto compare = [&](std::uint32_t a, std::uint32_t b) {
    const std::int64_t first = tensor.strides()[a], second = tensor.strides()[b];
    if (first == 0 || second == 0) return 0;
    if (first != second) return first < second ? -1 : 1;
    return tensor.sizes()[a] > tensor.sizes()[b] ? 1 : 0;
  };
  for (std::uint32_t i = 0; i < tensor.rank; ++i) inner_to_outer[i] = tensor.rank - 1 - i;
  for (std::uint32_t i = 1; i < tensor.rank; ++i) {
    std::uint32_t at = i;
    for (std::uint32_t k = i; k-- > 0;) {
      const int order = compare(inner_to_outer[k], inner_to_outer[at]);
      if (order < 0) break;
      if (order == 0) continue;
      std::swap(inner_to_outer[k], inner_to_outer[at]);
      at = k;
    }
  }
}

/// The strides of a copy, as torch's clone has them: the tensor's where its elements lie densely in
/// some order, else those of that order without gaps.
inline void dense_strides(const TensorBody& tensor, std::int64_t* strides) noexcept {
  std::uint32_t inner_to_outer[TensorBody::max_rank];
  order_by_stride(tensor, inner_to_outer);
  std::int64_t step = 1;
  bool dense = true;
  for (std::uint32_t i = 0; i < tensor.rank; ++i) {
    const std::uint32_t d = inner_to_outer[i];
    strides[d] = step;
    if (tensor.sizes()[d] < 2) continue;
    dense &= tensor.strides()[d] == step;
    step *= tensor.sizes()[d];
  }
  if (!dense && !tensor.row_major) return;
  for (std::uint32_t d = 0; d < tensor.rank; ++d) strides[d] = tensor.strides()[d];
}

/// A copy whose memory is dense, with the dimensions in that order from the outermost to the
/// innermost; row-major for an empty order. Null where there is no memory.
inline TensorBody* reordered(const TensorBody& from, std::span<const int> order) noexcept {
  std::int64_t strides[TensorBody::max_rank], step = 1;
  for (std::uint32_t i = from.rank; i-- > 0;) {
    const std::uint32_t d = order.empty() ? i : static_cast<std::uint32_t>(order[i]);
    strides[d] = step;
    step *= from.sizes()[d];
  }
  const char* reason = nullptr;
  TensorBody* body = TensorBody::make_owning(from.rank, from.sizes(), strides, from.dtype, reason);
  if (body != nullptr) copy_elements(*body, from);
  return body;
}

/// Copies elements where the two may share memory: not those that lie where they shall, and by way
/// of a copy where others may.
/// @return as copy_elements
inline const char* copy_overlapping(TensorBody& to, const TensorBody& from) noexcept {
  if (from.storage == nullptr || to.storage == nullptr) return copy_elements(to, from);
  bool in_place = to.data == from.data && to.dtype == from.dtype && to.rank == from.rank;
  for (std::uint32_t i = 0; in_place && i < 2u * to.rank; ++i) {
    in_place = to.sizes()[i] == from.sizes()[i];
  }
  if (in_place) return nullptr;
  const auto end = [](const TensorBody& tensor) {
    return tensor.data + Extent{tensor.rank, tensor.sizes(), tensor.strides(), tensor.dtype}.bytes;
  };
  if (to.data >= end(from) || from.data >= end(to)) return copy_elements(to, from);
  TensorBody* aside = reordered(from, {});
  if (aside == nullptr) return TensorBody::no_memory;
  const char* wrong = copy_elements(to, *aside);
  aside->drop();
  return wrong;
}

/// A tensor that lives as long as this does; none at first.
class Temporary {
 public:
  Temporary() noexcept = default;
  ~Temporary() {
    if (body_ != nullptr) body_->drop();
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  /// A tensor that is not initialised; null where there is no memory.
  /// @param strides null for row-major
  TensorBody* make(DType dtype, const std::int64_t* sizes, std::size_t rank,
                   const std::int64_t* strides = nullptr) noexcept {
    const char* reason = nullptr;
    body_ = TensorBody::make_owning(rank, sizes, strides, dtype, reason);
    return body_;
  }
  /// A row-major one with the elements of a defined tensor, of which there are conversions.
  TensorBody* copy(const TensorBody& tensor, DType dtype) noexcept {
    if (make(dtype, tensor.sizes(), tensor.rank) == nullptr) return nullptr;
    return copy_elements(*body_, tensor) == nullptr ? body_ : nullptr;
  }
  TensorBody* copy(const TensorBody& tensor) noexcept { return copy(tensor, tensor.dtype); }

 private:
  TensorBody* body_ = nullptr;
};

}  // namespace aoti::detail
