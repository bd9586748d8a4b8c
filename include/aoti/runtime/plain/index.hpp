// SPDX-License-Identifier: BSD-3-Clause
// Operators that read and write elements at several indices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

/// The places that indices refer to.
///
/// Each index is null, for all of its dimension; or of int64 or int32, counted from the end if
/// negative; or a mask of bool or uint8 with the sizes of one or more dimensions, which stands for
/// the places where it is not 0. Indices that are not null broadcast to one another. Their sizes
/// replace the dimensions that they index, or come first if those are not adjacent.
class Places {
 public:
  /// @return why the indices cannot be used, or null
  const char* find(const Body& tensor, const Handle* indices, std::int64_t given) noexcept {
    std::uint32_t dimension = 0;
    for (std::int64_t i = 0; i < given; ++i) {
      const Body* index = optional(&indices[i]);
      const bool mask =
          index != nullptr && (index->dtype == DType::boolean || index->dtype == DType::uint8);
      const std::uint32_t dimensions = mask ? index->rank : 1;
      if (dimensions == 0) return "a mask has no dimensions";
      if (dimension + dimensions > tensor.rank) return "there are more indices than dimensions";
      if (mask) {
        if (const char* wrong = add_mask(tensor, *index, dimension, rooms_[i])) return wrong;
      } else if (index != nullptr) {
        if (index->dtype != DType::int64 && index->dtype != DType::int32) {
          return "the indices are of none of int64, int32, bool, uint8";
        }
        axes_[count_++] = {dimension,   index->rank,    index->dtype,
                           index->data, index->sizes(), index->strides()};
        if (!in_range(axes_[count_ - 1], tensor.sizes()[dimension])) return index_out_of_range;
      }
      dimension += dimensions;
    }
    return arrange(tensor);
  }

  /// The sizes of the result at these places.
  const std::int64_t* sizes() const noexcept { return sizes_; }
  std::uint32_t rank() const noexcept { return rank_; }

  /// Calls `each(offset)` with the tensor's elements, in the order of these sizes.
  template <class Each> void for_each(const Body& tensor, Each each) const noexcept {
    for_each_index(sizes_, rank_, [&](const std::int64_t* index) {
      std::int64_t offset = offset_of(index, steps_, rank_);
      for (std::uint32_t i = 0; i < count_; ++i) {
        const Axis& axis = axes_[i];
        const std::int64_t* mine = index + first_ + indexed_ - axis.rank;
        std::int64_t at = 0;
        for (std::uint32_t d = 0; d < axis.rank; ++d) {
          if (axis.sizes[d] != 1) at += mine[d] * axis.strides[d];
        }
        const std::int64_t place = axis.at(at);
        offset += (place < 0 ? place + tensor.sizes()[axis.dimension] : place) *
                  tensor.strides()[axis.dimension];
      }
      each(offset);
    });
  }

  /// The strides of a result that torch reads from there.
  void strides(const Body& tensor, std::int64_t* strides) const noexcept {
    std::int64_t operands[(Body::max_rank + 1) * Body::max_rank] = {};
    const auto size = static_cast<std::int64_t>(element_size(tensor.dtype));
    for (std::uint32_t d = 0; d < rank_; ++d) operands[d] = steps_[d] * size;
    for (std::uint32_t i = 0; i < count_; ++i) {
      const Axis& axis = axes_[i];
      const auto bytes = static_cast<std::int64_t>(element_size(axis.dtype));
      std::int64_t* mine = operands + (i + 1) * rank_ + first_ + indexed_ - axis.rank;
      for (std::uint32_t d = 0; d < axis.rank; ++d) {
        if (axis.sizes[d] != 1) mine[d] = axis.strides[d] * bytes;
      }
    }
    iterated_strides(sizes_, rank_, operands, count_ + 1, strides);
  }

 private:
  /// Indices into one dimension, broadcast with those into other dimensions.
  struct Axis {
    std::uint32_t dimension, rank;
    DType dtype;
    const std::byte* data;
    const std::int64_t *sizes, *strides;

    std::int64_t at(std::int64_t offset) const noexcept {
      return dtype == DType::int64 ? reinterpret_cast<const std::int64_t*>(data)[offset]
                                   : reinterpret_cast<const std::int32_t*>(data)[offset];
    }
  };

  const char* add_mask(const Body& tensor, const Body& mask, std::uint32_t dimension,
                       Temporary& room) noexcept {
    for (std::uint32_t d = 0; d < mask.rank; ++d) {
      if (mask.sizes()[d] != tensor.sizes()[dimension + d]) return "a mask's sizes do not match";
    }
    const auto for_places = [&](auto each) {
      for_each_index(mask.sizes(), mask.rank, [&](const std::int64_t* index) {
        if (mask.data[offset_of(index, mask.strides(), mask.rank)] != std::byte{0}) each(index);
      });
    };
    std::int64_t found[] = {mask.rank, 0};
    for_places([&](const std::int64_t*) { ++found[1]; });
    const Body* list = room.make(DType::int64, found, 2);
    if (list == nullptr) return Body::no_memory;
    auto* numbers = reinterpret_cast<std::int64_t*>(list->data);
    for_places([&, next = numbers](const std::int64_t* index) mutable {
      for (std::uint32_t d = 0; d < mask.rank; ++d) next[d * found[1]] = index[d];
      ++next;
    });
    for (std::uint32_t d = 0; d < mask.rank; ++d, numbers += found[1]) {
      axes_[count_++] = {dimension + d,     1,
                         DType::int64,      reinterpret_cast<std::byte*>(numbers),
                         list->sizes() + 1, list->strides() + 1};
    }
    return nullptr;
  }

  static bool in_range(const Axis& axis, std::int64_t size) noexcept {
    bool all = true;
    for_each_index(axis.sizes, axis.rank, [&](const std::int64_t* index) {
      const std::int64_t place = axis.at(offset_of(index, axis.strides, axis.rank));
      all &= place >= -size && place < size;
    });
    return all;
  }

  const char* arrange(const Body& tensor) noexcept {
    if (count_ == 0) return "there are no indices";
    for (std::uint32_t i = 0; i < count_; ++i) {
      indexed_ = axes_[i].rank > indexed_ ? axes_[i].rank : indexed_;
    }
    if (indexed_ + tensor.rank - count_ > Body::max_rank) return "there are too many dimensions";
    const auto add_indexed = [&] {
      first_ = rank_;
      for (std::uint32_t i = 0; i < indexed_; ++i, ++rank_) sizes_[rank_] = 1, steps_[rank_] = 0;
    };
    const bool together = axes_[count_ - 1].dimension - axes_[0].dimension == count_ - 1;
    if (!together) add_indexed();
    for (std::uint32_t d = 0, next = 0; d < tensor.rank; ++d) {
      if (next < count_ && axes_[next].dimension == d) {
        if (next++ == 0 && together) add_indexed();
      } else {
        sizes_[rank_] = tensor.sizes()[d];
        steps_[rank_++] = tensor.strides()[d];
      }
    }
    for (std::uint32_t i = 0; i < count_; ++i) {
      std::int64_t* const wanted = sizes_ + first_ + indexed_ - axes_[i].rank;
      for (std::uint32_t d = 0; d < axes_[i].rank; ++d) {
        const std::int64_t size = axes_[i].sizes[d];
        if (size != 1 && wanted[d] != 1 && size != wanted[d]) {
          return "the indices' sizes do not match";
        }
        if (size != 1) wanted[d] = size;
      }
    }
    return nullptr;
  }

  Axis axes_[Body::max_rank];
  std::uint32_t count_ = 0;
  Temporary rooms_[Body::max_rank];
  // The broadcast sizes of the indices are `indexed_` ones from `first_` on; the other sizes are
  // dimensions of the tensor, which have these steps.
  std::int64_t sizes_[Body::max_rank], steps_[Body::max_rank];
  std::uint32_t rank_ = 0, first_ = 0, indexed_ = 0;
};

struct Index {
  /// Copies self to out, then writes values to the places of the indices, or adds them; values is
  /// broadcast to their sizes. Writes nothing if it fails.
  static const char* put_out(Body& out, Body& self, const Handle* indices, std::uint32_t count,
                             Body& values, bool accumulate) noexcept {
    if (values.dtype != out.dtype || (accumulate && !is_convertible(out.dtype))) {
      return "not for these dtypes";
    }
    Places places;
    if (const char* wrong = places.find(out, indices, count)) return wrong;
    // A copy, since values may have any strides, and overlap out.
    Temporary room;
    Body* source = room.make(out.dtype, places.sizes(), places.rank());
    if (source == nullptr) return Body::no_memory;
    const char* wrong = copy_elements(*source, values);
    if (wrong == nullptr) wrong = copy_overlapping(out, self);
    if (wrong != nullptr) return wrong;
    const auto size = static_cast<std::int64_t>(element_size(out.dtype));
    places.for_each(out, [&, from = source->data](std::int64_t offset) mutable {
      std::byte* to = out.data + offset * size;
      if (accumulate) {
        add(out.dtype, to, from);
      } else {
        std::memcpy(to, from, static_cast<std::size_t>(size));
      }
      from += size;
    });
    return nullptr;
  }
  /// The same into a new tensor.
  static const char* put(Body& self, const Handle** indices, std::int64_t count, Body& values,
                         std::int32_t accumulate, Handle* out) noexcept {
    std::int64_t strides[Body::max_rank];
    dense_strides(self, strides);
    Output result;
    Given given{indices, count};
    if (given.wrong != nullptr) return given.wrong;
    if (const char* wrong = result.copy(self, strides)) return wrong;
    const char* wrong = put_out(*result, *result, given.handles, static_cast<std::uint32_t>(count),
                                values, accumulate != 0);
    if (wrong == nullptr) result.give(out);
    return wrong;
  }

  /// The elements at the places of the indices.
  static const char* take(Body& self, const Handle** indices, std::int64_t count,
                          Handle* out) noexcept {
    Given given{indices, count};
    Places places;
    Output result;
    if (given.wrong != nullptr) return given.wrong;
    if (const char* wrong = places.find(self, given.handles, count)) return wrong;
    std::int64_t strides[Body::max_rank] = {};
    places.strides(self, strides);
    if (const char* wrong = result.make(self.dtype, places.sizes(), places.rank(), strides)) {
      return wrong;
    }
    Target to;
    const auto size = static_cast<std::int64_t>(element_size(self.dtype));
    if (const char* wrong = to.begin(*result, self.dtype)) return wrong;
    places.for_each(self, [&, next = to.data<std::byte>()](std::int64_t offset) mutable {
      copy_element(next, self.data + offset * size, static_cast<std::size_t>(size));
      next += size;
    });
    if (const char* wrong = to.finish()) return wrong;
    result.give(out);
    return nullptr;
  }

 private:
  /// Handles from pointers to them, which may be null.
  struct Given {
    Given(const Handle** indices, std::int64_t count) noexcept {
      if (count < 0 || count > static_cast<std::int64_t>(Body::max_rank)) {
        wrong = "there are more indices than dimensions";
        return;
      }
      for (std::int64_t i = 0; i < count; ++i) {
        handles[i] = indices[i] != nullptr ? *indices[i] : nullptr;
      }
    }
    Handle handles[Body::max_rank] = {};
    const char* wrong = nullptr;
  };

  static void add(DType dtype, std::byte* to, const std::byte* from) noexcept {
    Number sum = read_number(dtype, to);
    const Number added = read_number(dtype, from);
    sum.floating += added.floating;
    sum.imaginary += added.imaginary;
    sum.integer += added.integer;
    write_number(dtype, to, sum);
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
