// Operators that need no library, for models that run without libtorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "aoti/runtime/native.hpp"

namespace aoti {

/// For NativeWith, after providers that have faster ones: each operator is a plain loop on one
/// thread.
struct PlainOperators {
  using Handle = AtenTensorHandle;
  using Code = AOTITorchError;

  static void* import(std::string_view symbol) noexcept {
    using namespace abi::imported;
    static const detail::NativeEntry entries[] = {
        detail::entry<cpu_cumsum>(&PlainOperators::cumsum),
        detail::entry<abi::imported::index_put_out>(&PlainOperators::index_put_out),
    };
    return detail::find(entries, symbol);
  }

  /// Sums along a dimension, each element with those before it.
  /// @param dtype null for the tensor's, or int64 where that is an integer's or bool
  /// @param out a new tensor of its sizes, row-major as torch's
  static Code cumsum(Handle self, std::int64_t dimension, std::int32_t* dtype,
                     Handle* out) noexcept {
    constexpr const char* name = abi::imported::cpu_cumsum::symbol;
    const Body& from = *Body::of(self);
    const std::int64_t rank = from.rank, least = rank != 0 ? rank : 1;
    if (dimension < -least || dimension >= least) {
      return NativeFunctions::fail(name, "there is no such dimension");
    }
    if (dimension < 0) dimension += least;
    const DType wanted = dtype != nullptr       ? static_cast<DType>(*dtype)
                         : is_whole(from.dtype) ? DType::int64
                                                : from.dtype;
    if (!detail::is_real(wanted) || !detail::is_real(from.dtype)) {
      return NativeFunctions::fail(name, "not for this dtype");
    }
    const char* reason = nullptr;
    Body* to = Body::make_owning(from.rank, from.sizes(), nullptr, wanted, reason);
    if (to == nullptr) return NativeFunctions::fail(name, reason);
    detail::copy_elements(*to, from);
    if (to->count != 0 && rank != 0) {
      if (wanted == DType::float32) {
        add_up<float, double>(*to, dimension);
      } else if (wanted == DType::float64) {
        add_up<double, double>(*to, dimension);
      } else if (wanted == DType::int64) {
        add_up<std::int64_t, std::uint64_t>(*to, dimension);
      } else if (wanted == DType::int32) {
        add_up<std::int32_t, std::uint32_t>(*to, dimension);
      } else {
        to->drop();
        return NativeFunctions::fail(name,
                                     "the sums are of none of float32, float64, int64, int32");
      }
    }
    *out = Body::handle(to);
    return 0;
  }

  /// Copies self to out, and then values to where the indices point, or adds them. Index tensors
  /// are of int64 and broadcast to one another; they are those of the first dimensions, and values
  /// is broadcast to [their sizes…, the other dimensions…].
  static Code index_put_out(Handle out, Handle self, const Handle* indices, std::uint32_t count,
                            Handle values, bool accumulate) noexcept {
    constexpr const char* name = abi::imported::index_put_out::symbol;
    Body& to = *Body::of(out);
    const Body &from = *Body::of(self), &given = *Body::of(values);
    if (to.data != from.data) {
      if (const char* wrong = detail::copy_elements(to, from)) {
        return NativeFunctions::fail(name, wrong);
      }
    }
    if (count == 0 || count > to.rank || given.dtype != to.dtype) {
      return NativeFunctions::fail(name, "the number of indices or the dtypes do not match");
    }
    // The sizes of what values is broadcast to.
    std::int64_t sizes[Tensor::max_rank] = {};
    std::uint32_t rank = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const Body* index = indices[i] != nullptr ? Body::of(indices[i]) : nullptr;
      if (index == nullptr || index->storage == nullptr || index->dtype != DType::int64) {
        return NativeFunctions::fail(name, "only for int64 indices of the first dimensions");
      }
      rank = index->rank > rank ? index->rank : rank;
    }
    for (std::uint32_t d = 0; d < rank; ++d) {
      sizes[d] = 1;
      for (std::uint32_t i = 0; i < count; ++i) {
        const Body& index = *Body::of(indices[i]);
        if (d + index.rank < rank) continue;
        const std::int64_t size = index.sizes()[d + index.rank - rank];
        if (size != 1 && sizes[d] != 1 && size != sizes[d]) {
          return NativeFunctions::fail(name, "the indices' sizes do not match");
        }
        if (size != 1) sizes[d] = size;
      }
    }
    const std::uint32_t indexed = rank;
    for (std::uint32_t d = count; d < to.rank; ++d) {
      if (rank == Tensor::max_rank) return NativeFunctions::fail(name, "too many dimensions");
      sizes[rank++] = to.sizes()[d];
    }
    // values, broadcast: copied, since it may be of any strides.
    const char* reason = nullptr;
    Body* source = Body::make_owning(rank, sizes, nullptr, to.dtype, reason);
    if (source == nullptr) return NativeFunctions::fail(name, reason);
    reason = detail::copy_elements(*source, given);
    if (reason == nullptr) reason = put(to, indices, count, *source, indexed, accumulate);
    source->drop();
    return reason == nullptr ? 0 : NativeFunctions::fail(name, reason);
  }

 private:
  using Body = detail::TensorBody;

  static bool is_whole(DType dtype) noexcept {
    switch (dtype) {
      case DType::float32:
      case DType::float64:
      case DType::float16:
      case DType::bfloat16:
        return false;
      default:
        return true;
    }
  }

  /// Calls `each(index)` with each index into sizes, the last dimension fastest.
  template <class Each>
  static void for_each(const std::int64_t* sizes, std::uint32_t rank, Each each) noexcept {
    std::int64_t index[Tensor::max_rank] = {};
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

  template <class T, class Sum> static void add_up(Body& tensor, std::int64_t dimension) noexcept {
    std::int64_t sizes[Tensor::max_rank] = {};
    for (std::uint32_t d = 0; d < tensor.rank; ++d) sizes[d] = tensor.sizes()[d];
    const std::int64_t count = sizes[dimension], step = tensor.strides()[dimension];
    sizes[dimension] = 1;
    for_each(sizes, tensor.rank, [&](const std::int64_t* index) {
      std::int64_t offset = 0;
      for (std::uint32_t d = 0; d < tensor.rank; ++d) offset += index[d] * tensor.strides()[d];
      T* element = reinterpret_cast<T*>(tensor.data) + offset;
      Sum sum = 0;
      for (std::int64_t i = 0; i < count; ++i, element += step) {
        sum += static_cast<Sum>(*element);
        *element = static_cast<T>(sum);
      }
    });
  }

  static const char* put(Body& to, const Handle* indices, std::uint32_t count, const Body& source,
                         std::uint32_t indexed, bool accumulate) noexcept {
    const auto size = static_cast<std::int64_t>(element_size(to.dtype));
    if (accumulate && to.dtype != DType::float32 && to.dtype != DType::float64 &&
        to.dtype != DType::int64) {
      return "sums are only of float32, float64 and int64";
    }
    const char* wrong = nullptr;
    const std::byte* from = source.data;
    for_each(source.sizes(), source.rank, [&](const std::int64_t* index) {
      std::int64_t offset = 0;
      for (std::uint32_t i = 0; i < count; ++i) {
        const Body& of = *Body::of(indices[i]);
        std::int64_t at = 0;
        for (std::uint32_t d = 0; d < of.rank; ++d) {
          if (of.sizes()[d] != 1) at += index[d + indexed - of.rank] * of.strides()[d];
        }
        std::int64_t place = reinterpret_cast<const std::int64_t*>(of.data)[at];
        if (place < 0) place += to.sizes()[i];
        if (place < 0 || place >= to.sizes()[i]) {
          wrong = "an index is out of range";
          place = 0;
        }
        offset += place * to.strides()[i];
      }
      for (std::uint32_t d = count; d < to.rank; ++d) {
        offset += index[indexed + d - count] * to.strides()[d];
      }
      if (wrong != nullptr) return;
      std::byte* target = to.data + offset * size;
      if (!accumulate) {
        std::memcpy(target, from, static_cast<std::size_t>(size));
      } else if (to.dtype == DType::float32) {
        add<float>(target, from);
      } else if (to.dtype == DType::float64) {
        add<double>(target, from);
      } else {
        add<std::uint64_t>(target, from);
      }
      from += size;
    });
    return wrong;
  }
  template <class T> static void add(std::byte* to, const std::byte* from) noexcept {
    const T sum = detail::load<T>(to) + detail::load<T>(from);
    std::memcpy(to, &sum, sizeof sum);
  }
};

}  // namespace aoti
