// SPDX-License-Identifier: BSD-3-Clause
// Copies the elements of tensors with any strides and types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "aoti/runtime/native/numbers.hpp"
#include "aoti/runtime/native/tensor_body.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Walks two tensors with the sizes of the first, from the outermost dimension to the innermost,
/// and calls `row(to, from, count, to_step, from_step)` for each innermost row; steps are in bytes.
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

/// Calls `each(index)` with every index into these sizes, the last dimension fastest.
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
/// @return why that is not possible, or null
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

/// The dimensions from the innermost to the outermost, in the order of torch's iterators: by stride
/// in the first operand whose strides differ, then by size; if a stride is 0, the later dimension
/// is further in.
/// @param strides those of each operand, one operand after the other
inline void order_by_strides(const std::int64_t* sizes, std::uint32_t rank,
                             const std::int64_t* strides, std::uint32_t operands,
                             std::uint32_t* inner_to_outer) noexcept {
  const auto compare = [&](std::uint32_t a, std::uint32_t b) {
    for (std::uint32_t i = 0; i < operands; ++i) {
      const std::int64_t first = strides[i * rank + a], second = strides[i * rank + b];
      if (first == 0 || second == 0) continue;
      if (first != second) return first < second ? -1 : 1;
      if (sizes[a] > sizes[b]) return 1;
    }
    return 0;
  };
  for (std::uint32_t i = 0; i < rank; ++i) inner_to_outer[i] = rank - 1 - i;
  for (std::uint32_t i = 1; i < rank; ++i) {
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
/// The same for one tensor, as at::infer_dense_strides.
inline void order_by_stride(const TensorBody& tensor, std::uint32_t* inner_to_outer) noexcept {
  order_by_strides(tensor.sizes(), tensor.rank, tensor.strides(), 1, inner_to_outer);
}

/// The strides that torch's iterators give a result with these sizes, from the operands' strides in
/// bytes.
inline void iterated_strides(const std::int64_t* sizes, std::uint32_t rank,
                             const std::int64_t* operand_strides, std::uint32_t operands,
                             std::int64_t* strides) noexcept {
  std::uint32_t inner_to_outer[TensorBody::max_rank];
  order_by_strides(sizes, rank, operand_strides, operands, inner_to_outer);
  std::int64_t step = 1;
  for (std::uint32_t i = 0; i < rank; ++i) {
    const std::uint32_t d = inner_to_outer[i];
    strides[d] = step;
    step *= sizes[d];
  }
}

/// The strides of a copy, as in torch's clone: the tensor's if its elements are dense in some
/// order, else dense ones in that order.
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

/// A dense copy, with the dimensions in that order from the outermost to the innermost; row-major
/// for an empty order. Null if memory runs out.
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

/// Copies elements between tensors that may share memory: nothing if they are in place already, and
/// through a temporary copy if they overlap otherwise.
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

/// A tensor that is destroyed with this object; none at first.
class Temporary {
 public:
  Temporary() noexcept = default;
  ~Temporary() {
    if (body_ != nullptr) body_->drop();
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  /// An uninitialised tensor; null if memory runs out.
  /// @param strides null for row-major
  TensorBody* make(DType dtype, const std::int64_t* sizes, std::size_t rank,
                   const std::int64_t* strides = nullptr) noexcept {
    const char* reason = nullptr;
    body_ = TensorBody::make_owning(rank, sizes, strides, dtype, reason);
    return body_;
  }
  /// A row-major copy of a defined tensor of a convertible type.
  TensorBody* copy(const TensorBody& tensor, DType dtype) noexcept {
    if (make(dtype, tensor.sizes(), tensor.rank) == nullptr) return nullptr;
    return copy_elements(*body_, tensor) == nullptr ? body_ : nullptr;
  }
  TensorBody* copy(const TensorBody& tensor) noexcept { return copy(tensor, tensor.dtype); }

 private:
  TensorBody* body_ = nullptr;
};

}  // namespace aoti::inline AOTI_ABI::detail
