// Operators that need no library, for models that run without libtorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "aoti/runtime/native.hpp"
#include "aoti/runtime/native_operators.hpp"
#include "aoti/runtime/operators/elementwise.hpp"
#include "aoti/runtime/operators/proxied.hpp"

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
        detail::entry<cpu_randint_low_out>(&RandomOperators::randint_low_out),
        detail::entry<abi::imported::index_put_out>(&PlainOperators::index_put_out),
    };
    return detail::find(entries, symbol);
  }

  static std::span<const NativeOperator> operators() noexcept {
    using detail::plain::Elementwise;
    using detail::plain::Proxied;
    static constexpr NativeOperator rows[] = {
        native_operator<&Proxied::clone>("aten::clone", "self memory_format"),
        native_operator<&Proxied::convert>("prims::convert_element_type", "a dtype"),
        native_operator<&Proxied::constant_pad>("aten::constant_pad_nd", "self pad value"),
        native_operator<&Proxied::unique>("aten::_unique2",
                                          "self sorted return_inverse return_counts"),
        native_operator<&Proxied::unique_consecutive>("aten::unique_consecutive",
                                                      "self return_inverse return_counts dim"),
        native_operator<&Proxied::unsqueeze>("aten::unsqueeze", "self dim"),
        native_operator<&Proxied::select>("aten::select.int", "self dim index"),
        native_operator<&Proxied::expand>("aten::expand", "self size implicit"),
        native_operator<&Proxied::full>("aten::full",
                                        "size fill_value dtype layout device pin_memory"),
        native_operator<&Proxied::bincount>("aten::bincount", "self weights minlength"),
        native_operator<&Elementwise::conjugate>("aten::_conj", "self"),
        native_operator<&Elementwise::conjugate>("aten::_conj_physical", "self"),
        native_operator<&Elementwise::complex>("aten::complex", "real imag"),
        native_operator<&Elementwise::add>("aten::add.Tensor", "self other alpha"),
        native_operator<&Elementwise::subtract>("aten::sub.Tensor", "self other alpha"),
        native_operator<&Elementwise::multiply>("aten::mul.Tensor", "self other"),
        native_operator<&Elementwise::divide>("aten::div.Tensor", "self other"),
        native_operator<&Elementwise::negate>("aten::neg", "self"),
        native_operator<&Elementwise::reciprocal>("aten::reciprocal", "self"),
        native_operator<&Elementwise::exponential>("aten::exp", "self"),
        native_operator<&Elementwise::square_root>("aten::sqrt", "self"),
    };
    return rows;
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
    const auto computes = [](DType type) {
      return detail::is_real(type) || type == DType::complex64 || type == DType::complex128;
    };
    if (!computes(wanted) || !computes(from.dtype)) {
      return NativeFunctions::fail(name, "not for this dtype");
    }
    const char* reason = nullptr;
    Body* to = Body::make_owning(from.rank, from.sizes(), nullptr, wanted, reason);
    if (to == nullptr) return NativeFunctions::fail(name, reason);
    if (const char* wrong = detail::copy_elements(*to, from)) {
      to->drop();
      return NativeFunctions::fail(name, wrong);
    }
    if (to->count != 0 && rank != 0) {
      if (wanted == DType::float32) {
        add_up<float, double>(*to, dimension);
      } else if (wanted == DType::float64) {
        add_up<double, double>(*to, dimension);
      } else if (wanted == DType::complex64) {
        add_up<float, double>(*to, dimension);
        add_up<float, double>(*to, dimension, sizeof(float));
      } else if (wanted == DType::complex128) {
        add_up<double, double>(*to, dimension);
        add_up<double, double>(*to, dimension, sizeof(double));
      } else if (wanted == DType::int64) {
        add_up<std::int64_t, std::uint64_t>(*to, dimension);
      } else if (wanted == DType::int32) {
        add_up<std::int32_t, std::uint32_t>(*to, dimension);
      } else if (is_whole(wanted)) {
        add_up_numbers<std::uint64_t>(*to, dimension);
      } else {
        add_up_numbers<float>(*to, dimension);
      }
    }
    *out = Body::handle(to);
    return 0;
  }

  /// Copies self to out, and then values to where the indices point, or adds them. Each index is
  /// null, for all of its dimension; or of int64 or int32, from the end where it is negative; or of
  /// bool or uint8, of the sizes of one or more dimensions, which it stands for: the places where
  /// it is not 0. Those that are not null broadcast to one another, and their sizes take the place
  /// of the dimensions that they stand for, or come first where those are not next to each other;
  /// values is broadcast to all of that. Nothing is written where it fails.
  static Code index_put_out(Handle out, Handle self, const Handle* indices, std::uint32_t count,
                            Handle values, bool accumulate) noexcept {
    constexpr const char* name = abi::imported::index_put_out::symbol;
    Body& to = *Body::of(out);
    const Body &from = *Body::of(self), &given = *Body::of(values);
    if (given.dtype != to.dtype || (accumulate && !detail::is_convertible(to.dtype))) {
      return NativeFunctions::fail(name, "not for these dtypes");
    }
    Places places;
    if (const char* wrong = places.find(to, indices, count)) {
      return NativeFunctions::fail(name, wrong);
    }
    // Copied, since they may be of any strides, and in the memory of out.
    detail::Temporary room;
    Body* source = room.make(to.dtype, places.sizes, places.rank);
    if (source == nullptr) return NativeFunctions::fail(name, Body::no_memory);
    const char* wrong = detail::copy_elements(*source, given);
    if (wrong == nullptr) wrong = detail::copy_overlapping(to, from);
    if (wrong != nullptr) return NativeFunctions::fail(name, wrong);
    put(to, places, *source, accumulate);
    return 0;
  }

 private:
  using Body = detail::TensorBody;

  static bool is_whole(DType dtype) noexcept {
    switch (dtype) {
      case DType::float32:
      case DType::float64:
      case DType::float16:
      case DType::bfloat16:
      case DType::complex64:
      case DType::complex128:
        return false;
      default:
        return true;
    }
  }

  /// Calls `each(element, sum)` with the elements along a dimension, whose sum begins with 0.
  template <class Sum, class Each>
  static void for_sums(Body& tensor, std::int64_t dimension, Each each) noexcept {
    const auto size = static_cast<std::int64_t>(element_size(tensor.dtype));
    std::int64_t sizes[Tensor::max_rank] = {};
    for (std::uint32_t d = 0; d < tensor.rank; ++d) sizes[d] = tensor.sizes()[d];
    const std::int64_t count = sizes[dimension], step = tensor.strides()[dimension] * size;
    sizes[dimension] = 1;
    detail::for_each_index(sizes, tensor.rank, [&](const std::int64_t* index) {
      std::byte* element =
          tensor.data + detail::offset_of(index, tensor.strides(), tensor.rank) * size;
      Sum sum = 0;
      for (std::int64_t i = 0; i < count; ++i, element += step) each(element, sum);
    });
  }
  /// @param part where the number lies in an element
  template <class T, class Sum>
  static void add_up(Body& tensor, std::int64_t dimension, std::size_t part = 0) noexcept {
    for_sums<Sum>(tensor, dimension, [part](std::byte* at, Sum& sum) {
      T& element = *reinterpret_cast<T*>(at + part);
      sum += static_cast<Sum>(element);
      element = static_cast<T>(sum);
    });
  }
  /// The same for any convertible type.
  template <class Sum> static void add_up_numbers(Body& tensor, std::int64_t dimension) noexcept {
    for_sums<Sum>(tensor, dimension, [&](std::byte* at, Sum& sum) {
      sum += detail::to<Sum>(detail::read_number(tensor.dtype, at));
      detail::write_number(tensor.dtype, at, detail::number_of(sum));
    });
  }

  /// Where indices point.
  struct Places {
    /// Indices into one dimension, which broadcast to those into others.
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

    Axis axes[Tensor::max_rank];
    std::uint32_t count = 0;
    detail::Temporary rooms[Tensor::max_rank];
    // What values is broadcast to: the sizes of the indices, from `first` on as many as `indexed`,
    // among the other dimensions, which go through the tensor by these steps.
    std::int64_t sizes[Tensor::max_rank], steps[Tensor::max_rank];
    std::uint32_t rank = 0, first = 0, indexed = 0;

    /// @return why they cannot be used; null where they can
    const char* find(const Body& to, const Handle* indices, std::uint32_t given) noexcept {
      std::uint32_t dimension = 0;
      for (std::uint32_t i = 0; i < given; ++i) {
        const Body* index = indices[i] != nullptr ? Body::of(indices[i]) : nullptr;
        const bool all = index == nullptr || index->storage == nullptr;
        const bool mask = !all && (index->dtype == DType::boolean || index->dtype == DType::uint8);
        const std::uint32_t dimensions = mask ? index->rank : 1;
        if (dimensions == 0) return "a mask has no dimensions";
        if (dimension + dimensions > to.rank) return "there are more indices than dimensions";
        if (mask) {
          if (const char* wrong = add_mask(to, *index, dimension, rooms[i])) return wrong;
        } else if (!all) {
          if (index->dtype != DType::int64 && index->dtype != DType::int32) {
            return "the indices are of none of int64, int32, bool, uint8";
          }
          axes[count++] = {dimension,   index->rank,    index->dtype,
                           index->data, index->sizes(), index->strides()};
          if (!in_range(axes[count - 1], to.sizes()[dimension])) return "an index is out of range";
        }
        dimension += dimensions;
      }
      return arrange(to);
    }

   private:
    const char* add_mask(const Body& to, const Body& mask, std::uint32_t dimension,
                         detail::Temporary& room) noexcept {
      for (std::uint32_t d = 0; d < mask.rank; ++d) {
        if (mask.sizes()[d] != to.sizes()[dimension + d]) return "a mask's sizes do not match";
      }
      const auto for_places = [&](auto each) {
        detail::for_each_index(mask.sizes(), mask.rank, [&](const std::int64_t* index) {
          if (mask.data[detail::offset_of(index, mask.strides(), mask.rank)] != std::byte{0})
            each(index);
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
        axes[count++] = {dimension + d,     1,
                         DType::int64,      reinterpret_cast<std::byte*>(numbers),
                         list->sizes() + 1, list->strides() + 1};
      }
      return nullptr;
    }

    static bool in_range(const Axis& axis, std::int64_t size) noexcept {
      bool all = true;
      detail::for_each_index(axis.sizes, axis.rank, [&](const std::int64_t* index) {
        const std::int64_t place = axis.at(detail::offset_of(index, axis.strides, axis.rank));
        all &= place >= -size && place < size;
      });
      return all;
    }

    const char* arrange(const Body& to) noexcept {
      if (count == 0) return "there are no indices";
      for (std::uint32_t i = 0; i < count; ++i) {
        indexed = axes[i].rank > indexed ? axes[i].rank : indexed;
      }
      if (indexed + to.rank - count > Tensor::max_rank) return "there are too many dimensions";
      const auto add_indexed = [&] {
        first = rank;
        for (std::uint32_t i = 0; i < indexed; ++i, ++rank) sizes[rank] = 1, steps[rank] = 0;
      };
      const bool together = axes[count - 1].dimension - axes[0].dimension == count - 1;
      if (!together) add_indexed();
      for (std::uint32_t d = 0, next = 0; d < to.rank; ++d) {
        if (next < count && axes[next].dimension == d) {
          if (next++ == 0 && together) add_indexed();
        } else {
          sizes[rank] = to.sizes()[d];
          steps[rank++] = to.strides()[d];
        }
      }
      for (std::uint32_t i = 0; i < count; ++i) {
        std::int64_t* const wanted = sizes + first + indexed - axes[i].rank;
        for (std::uint32_t d = 0; d < axes[i].rank; ++d) {
          const std::int64_t size = axes[i].sizes[d];
          if (size != 1 && wanted[d] != 1 && size != wanted[d]) {
            return "the indices' sizes do not match";
          }
          if (size != 1) wanted[d] = size;
        }
      }
      return nullptr;
    }
  };

  static void put(Body& to, const Places& places, const Body& source, bool accumulate) noexcept {
    const std::size_t size = element_size(to.dtype);
    const std::byte* from = source.data;
    detail::for_each_index(places.sizes, places.rank, [&](const std::int64_t* index) {
      std::int64_t offset = detail::offset_of(index, places.steps, places.rank);
      for (std::uint32_t i = 0; i < places.count; ++i) {
        const Places::Axis& axis = places.axes[i];
        const std::int64_t* mine = index + places.first + places.indexed - axis.rank;
        std::int64_t at = 0;
        for (std::uint32_t d = 0; d < axis.rank; ++d) {
          if (axis.sizes[d] != 1) at += mine[d] * axis.strides[d];
        }
        const std::int64_t place = axis.at(at);
        offset +=
            (place < 0 ? place + to.sizes()[axis.dimension] : place) * to.strides()[axis.dimension];
      }
      std::byte* target = to.data + offset * static_cast<std::int64_t>(size);
      if (accumulate) {
        add(to.dtype, target, from);
      } else {
        std::memcpy(target, from, size);
      }
      from += size;
    });
  }
  static void add(DType dtype, std::byte* to, const std::byte* from) noexcept {
    detail::Number sum = detail::read_number(dtype, to);
    const detail::Number added = detail::read_number(dtype, from);
    sum.floating += added.floating;
    sum.imaginary += added.imaginary;
    sum.integer += added.integer;
    detail::write_number(dtype, to, sum);
  }
};

}  // namespace aoti
