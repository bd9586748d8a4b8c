// SPDX-License-Identifier: BSD-3-Clause
// Building blocks of operators as plain loops: how they are called, their results, and their
// operands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "aoti/abi/imports.hpp"
#include "aoti/runtime/native/functions.hpp"
#include "aoti/runtime/native/tensor_body.hpp"
#include "aoti/runtime/native/tensor_copy.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

using Body = TensorBody;
using Handle = AtenTensorHandle;

inline constexpr const char* not_for_dtype = "not for this dtype";
inline constexpr const char* no_dimension = "there is no such dimension";
inline constexpr const char* sizes_differ = "the sizes do not match";
inline constexpr const char* index_out_of_range = "an index is out of range";

/// The C function of a row, made from a function that takes tensors instead of handles and returns
/// the reason for a failure as a string literal, or null.
template <class Import, auto function, class Type = typename Import::type> struct Adapter;
template <class Import, auto function, class... Parameters>
struct Adapter<Import, function, AOTITorchError(Parameters...)> {
  static AOTITorchError call(Parameters... parameters) noexcept {
    const char* wrong =
        (defined(parameters) && ...) ? function(tensor(parameters)...) : "the tensor is undefined";
    return wrong == nullptr ? 0 : NativeFunctions::fail(Import::symbol, wrong);
  }

 private:
  template <class T> static bool defined(T parameter) noexcept {
    if constexpr (std::is_same_v<T, Handle>) {
      return Body::of(parameter)->storage != nullptr;
    } else {
      return true;
    }
  }
  template <class T> static decltype(auto) tensor(T parameter) noexcept {
    if constexpr (std::is_same_v<T, Handle>) {
      return static_cast<Body&>(*Body::of(parameter));
    } else {
      return T{parameter};
    }
  }
};

/// An optional tensor; null if it is not given.
inline const Body* optional(const Handle* given) noexcept {
  const Body* body = given != nullptr && *given != nullptr ? Body::of(*given) : nullptr;
  return body != nullptr && body->storage != nullptr ? body : nullptr;
}

/// A new tensor for the caller, destroyed unless it is handed over.
class Output {
 public:
  Output() noexcept = default;
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() {
    if (body_ != nullptr) body_->drop();
  }

  /// @param strides null for row-major
  /// @return why it cannot be made, or null
  const char* make(DType dtype, const std::int64_t* sizes, std::size_t rank,
                   const std::int64_t* strides = nullptr) noexcept {
    const char* reason = nullptr;
    if (rank > Body::max_rank) return "there are too many dimensions";
    body_ = Body::make_result(rank, sizes, strides, dtype, reason);
    return body_ != nullptr ? nullptr : reason;
  }
  const char* make_like(const Body& tensor) noexcept {
    return make(tensor.dtype, tensor.sizes(), tensor.rank);
  }
  /// A copy of the tensor's elements.
  const char* copy(const Body& tensor, const std::int64_t* strides = nullptr) noexcept {
    const char* wrong = make(tensor.dtype, tensor.sizes(), tensor.rank, strides);
    return wrong != nullptr ? wrong : copy_elements(*body_, tensor);
  }
  /// A view of other elements in a tensor's memory.
  const char* view(const Body& tensor, std::size_t rank, const std::int64_t* sizes,
                   const std::int64_t* strides, std::int64_t offset, DType dtype) noexcept {
    const char* reason = nullptr;
    body_ =
        tensor.make_view(static_cast<std::int64_t>(rank), sizes, strides, offset, dtype, reason);
    return body_ != nullptr ? nullptr : reason;
  }
  void give(Handle* out) noexcept { *out = Body::handle(std::exchange(body_, nullptr)); }

  Body& operator*() const noexcept { return *body_; }
  Body* operator->() const noexcept { return body_; }
  template <class T> T* data() const noexcept { return reinterpret_cast<T*>(body_->data); }

 private:
  Body* body_ = nullptr;
};

/// The sizes that two tensors are broadcast to.
inline const char* broadcast(const Body& a, const Body& b, std::int64_t* sizes,
                             std::uint32_t& rank) noexcept {
  rank = a.rank > b.rank ? a.rank : b.rank;
  const auto size = [&](const Body& tensor, std::uint32_t d) {
    return d + tensor.rank < rank ? 1 : tensor.sizes()[d + tensor.rank - rank];
  };
  for (std::uint32_t d = 0; d < rank; ++d) {
    const std::int64_t first = size(a, d), second = size(b, d);
    if (first != second && first != 1 && second != 1) return sizes_differ;
    sizes[d] = first == 1 ? second : first;
  }
  return nullptr;
}

/// Counts a dimension from the front; false if it does not exist. A tensor without dimensions
/// counts as having one.
inline bool wrap(std::int64_t& dimension, std::uint32_t rank) noexcept {
  const std::int64_t count = rank != 0 ? rank : 1;
  if (dimension < 0) dimension += count;
  return dimension >= 0 && dimension < count;
}

/// The dimensions of a channels-last tensor, from the innermost to the outermost.
constexpr std::uint32_t channels_last(std::uint32_t rank, std::uint32_t i) noexcept {
  return i == 0 ? 1 : i + 1 == rank ? 0 : rank - i;
}
/// Whether torch treats a tensor as channels-last: each of these dimensions has a stride at least
/// as large as the extent of those before it.
inline bool lies_channels_last(const Body& tensor) noexcept {
  if (tensor.rank < 4 || tensor.rank > 5 || tensor.strides()[1] == 0) return false;
  std::int64_t reach = 0;
  for (std::uint32_t i = 0; i < tensor.rank; ++i) {
    const std::uint32_t d = channels_last(tensor.rank, i);
    const std::int64_t size = tensor.sizes()[d], stride = tensor.strides()[d];
    if (size == 0 || stride < reach || (d == 0 && reach == tensor.strides()[1])) return false;
    reach = stride * size;
  }
  return true;
}

/// A row-major tensor split at one of its dimensions: `outer` times `count` times `inner` elements.
struct Split {
  std::int64_t outer = 1, count = 1, inner = 1;

  Split(const Body& tensor, std::int64_t dimension) noexcept {
    for (std::int64_t d = 0; d < tensor.rank; ++d) {
      (d < dimension ? outer : d == dimension ? count : inner) *= tensor.sizes()[d];
    }
  }
  /// Calls `each(at)` with the first element of each line along the dimension.
  template <class Each> void for_lines(Each each) const {
    for (std::int64_t o = 0; o < outer; ++o) {
      for (std::int64_t i = 0; i < inner; ++i) each(o * count * inner + i);
    }
  }
};

/// A tensor's elements in row-major order and in a given type: in place if they are, else a copy.
class Elements {
 public:
  /// @return why they cannot be read, or null
  const char* read(const Body& tensor, DType dtype) noexcept {
    body_ = &tensor;
    if (tensor.row_major && tensor.dtype == dtype) return nullptr;
    if (!is_convertible(dtype) || !is_convertible(tensor.dtype)) return not_for_dtype;
    body_ = room_.copy(tensor, dtype);
    return body_ != nullptr ? nullptr : Body::no_memory;
  }
  const char* read(const Body& tensor) noexcept { return read(tensor, tensor.dtype); }

  const Body& operator*() const noexcept { return *body_; }
  template <class T> const T* data() const noexcept {
    return reinterpret_cast<const T*>(body_->data);
  }

 private:
  const Body* body_ = nullptr;
  Temporary room_;
};

/// Elements that an operator computes, in a given type and row-major, for a tensor: in the tensor's
/// memory if it has that type and layout, else in a buffer that is copied to it.
class Target {
 public:
  /// @param keeps whether they start with the tensor's values
  const char* begin(Body& tensor, DType dtype, bool keeps = false) noexcept {
    tensor_ = body_ = &tensor;
    if (tensor.row_major && tensor.dtype == dtype) return nullptr;
    if (!is_convertible(dtype) || !is_convertible(tensor.dtype)) return not_for_dtype;
    body_ = keeps ? room_.copy(tensor, dtype) : room_.make(dtype, tensor.sizes(), tensor.rank);
    return body_ != nullptr ? nullptr : Body::no_memory;
  }
  const char* finish() noexcept {
    return body_ != tensor_ ? copy_elements(*tensor_, *body_) : nullptr;
  }
  template <class T> T* data() const noexcept { return reinterpret_cast<T*>(body_->data); }

 private:
  Body* tensor_ = nullptr;
  Body* body_ = nullptr;
  Temporary room_;
};

/// Memory that is freed with this object.
template <class T> class Scratch {
 public:
  explicit Scratch(std::int64_t count) noexcept {
    const std::int64_t words[] = {(count * static_cast<std::int64_t>(sizeof(T)) + 7) / 8};
    const Body* body = room_.make(DType::int64, words, 1);
    data_ = body != nullptr ? reinterpret_cast<T*>(body->data) : nullptr;
  }
  explicit operator bool() const noexcept { return data_ != nullptr; }
  T* get() const noexcept { return data_; }
  T& operator[](std::int64_t i) const noexcept { return data_[i]; }

 private:
  Temporary room_;
  T* data_;
};

constexpr bool is_floating(DType dtype) noexcept {
  return dtype == DType::float32 || dtype == DType::float64 || dtype == DType::float16 ||
         dtype == DType::bfloat16;
}
constexpr bool is_complex(DType dtype) noexcept {
  return dtype == DType::complex32 || dtype == DType::complex64 || dtype == DType::complex128;
}
constexpr bool is_integer(DType dtype) noexcept {
  return is_real(dtype) && !is_floating(dtype) && dtype != DType::boolean;
}
/// The type to compute in for elements of a type: wide enough, and one of five.
constexpr DType computing(DType dtype) noexcept {
  return dtype == DType::float16 || dtype == DType::bfloat16 ? DType::float32
         : dtype == DType::complex32                         ? DType::complex64
         : is_floating(dtype) || is_complex(dtype)           ? dtype
                                                             : DType::int64;
}

/// Calls `each(T{})` with the C++ type of one of float32, float64 and int64.
template <class Each> auto with_real(DType dtype, Each each) {
  if (dtype == DType::float32) return each(float{});
  if (dtype == DType::float64) return each(double{});
  return each(std::int64_t{});
}
/// The same for float32 and float64.
template <class Each> auto with_floating(DType dtype, Each each) {
  return dtype == DType::float64 ? each(double{}) : each(float{});
}

/// Copies one element of 1, 2, 4, 8 or 16 bytes.
inline void copy_element(std::byte* to, const std::byte* from, std::size_t size) noexcept {
  switch (size) {
    case 1:
      *to = *from;
      break;
    case 2:
      std::memcpy(to, from, 2);
      break;
    case 4:
      std::memcpy(to, from, 4);
      break;
    case 8:
      std::memcpy(to, from, 8);
      break;
    default:
      std::memcpy(to, from, size);
      break;
  }
}

}  // namespace aoti::inline AOTI_ABI::detail::plain
