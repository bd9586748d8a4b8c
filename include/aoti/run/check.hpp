// SPDX-License-Identifier: BSD-3-Clause
// Checks inputs against the spec before a call: takes nanoseconds if they fit, and returns a
// sentence if not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aoti/device/device.hpp"
#include "aoti/package/spec.hpp"
#include "aoti/runtime/refinements.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Whether memory has the layout that the spec states. Dimensions of size 1 may have any stride,
/// and tensors without elements fit any layout.
template <class Runtime>
[[gnu::noinline]] bool has_layout(const typename Runtime::Tensor& tensor, const TensorSpec& spec) {
  if (spec.order.empty() && spec.strides.empty()) return Runtime::is_row_major(tensor);
  const auto sizes = Runtime::sizes(tensor), strides = Runtime::strides(tensor);
  const std::size_t rank = sizes.size();
  if (!spec.strides.empty()) {
    for (const std::int64_t size : sizes) {
      if (size == 0) return true;
    }
    for (std::size_t i = 0; i < rank; ++i) {
      if (spec.strides[i] >= 0 && sizes[i] != 1 && spec.strides[i] != strides[i]) {
        return false;
      }
    }
    return true;
  }
  std::int64_t expected = 1;
  bool dense = true;
  for (std::size_t i = rank; i-- > 0;) {
    const std::size_t d = static_cast<std::size_t>(spec.order[i]);
    dense &= sizes[d] == 1 || strides[d] == expected;
    expected *= sizes[d];
  }
  return dense || expected == 0;
}

/// Whether a dimension gives its symbol the same value as the earlier dimension that it is tied to.
inline bool agrees(const Dimension& dimension, std::int64_t size, const Dimension& first,
                   std::int64_t first_size) noexcept {
  const std::int64_t scaled = size - dimension.offset;
  return scaled % dimension.scale == 0 &&
         scaled / dimension.scale == (first_size - first.offset) / first.scale;
}

/// Whether a tensor has memory that a model can read, as far as that is known without a spec.
/// Models for other devices may take some of their inputs on the CPU.
template <class Device, class Runtime>
[[gnu::always_inline]] inline bool is_readable(const typename Runtime::Tensor& tensor) {
  return Runtime::is_strided_on(tensor, Device::type) ||
         (Device::type != DeviceType::cpu && Runtime::is_strided_on(tensor, DeviceType::cpu));
}

/// The kind of a defined tensor that is not strided; `otherwise` if the runtime cannot say.
template <class Runtime>
[[gnu::cold, gnu::noinline]] std::string describe_layout(const typename Runtime::Tensor& tensor,
                                                         const char* otherwise) {
  if constexpr (DescribesLayouts<Runtime>) {
    return Runtime::describe_layout(tensor);
  } else {
    return otherwise;
  }
}

/// Why a model cannot read a tensor that should be on some device.
template <class Runtime>
[[gnu::cold, gnu::noinline]] Error describe_unreadable(const typename Runtime::Tensor& tensor,
                                                       std::string where, DeviceType expected) {
  if (!Runtime::is_defined(tensor)) {
    return {Errc::undefined_tensor, std::move(where), "the tensor is undefined"};
  }
  if (!Runtime::is_strided(tensor)) {
    return {Errc::input_layout, std::move(where),
            describe_layout<Runtime>(tensor,
                                     "found a sparse, quantized, nested, or lazily conjugated or "
                                     "negated tensor, expected a plain strided one")};
  }
  return {Errc::input_device, std::move(where),
          concat({"found a tensor on ", to_string(Runtime::device(tensor)), ", expected one on ",
                  to_string(expected)})};
}

/// Whether the runtime can tell on which of the policy's devices a tensor lies.
template <class Device, class Runtime>
inline constexpr bool knows_index = Device::type != DeviceType::cpu&& TellsDeviceIndex<Runtime>;

/// Says that a strided tensor is on another device of the right kind.
template <class Device, class Runtime>
[[gnu::cold, gnu::noinline]] std::string describe_elsewhere(const typename Runtime::Tensor& tensor,
                                                            DeviceIndex device) {
  return concat({"found a tensor on ", to_string(Device::type), ":", Runtime::device_index(tensor),
                 ", expected one on ", to_string(Device::type), ":", device.value});
}
template <class Device, class Runtime>
[[gnu::always_inline]] inline bool is_elsewhere(const typename Runtime::Tensor& tensor,
                                                DeviceIndex device) {
  return !device.is_current() && Runtime::is_strided_on(tensor, Device::type) &&
         Runtime::device_index(tensor) != device.value;
}

/// Replaces each handle whose memory is not laid out as the compiled code assumes by a copy; false
/// if memory runs out.
template <class Runtime>
[[gnu::cold, gnu::noinline]] bool reorder(const ModelSpec& spec, std::span<AtenTensorHandle> in) {
  for (std::size_t i = 0; i < in.size(); ++i) {
    const TensorSpec& expected = spec.inputs[i];
    const typename Runtime::Tensor& tensor = Runtime::peek(in[i]);
    if (has_layout<Runtime>(tensor, expected)) continue;
    auto reordered = Runtime::reordered(tensor, expected.order);
    if (!Runtime::is_defined(reordered)) return false;
    AtenTensorHandle copy = Runtime::give(std::move(reordered));
    Runtime::destroy(std::exchange(in[i], copy));
    if (copy == nullptr) return false;
  }
  return true;
}

/// How an input fits: not at all, after its memory is laid out anew, or as it is.
enum class Fit : std::uint8_t { no, reordered, yes };

/// What a broken rule is reported to: nothing, since only the verdict counts.
struct VerdictOnly {
  template <class Describe> [[gnu::always_inline]] constexpr Fit operator()(Describe&&) const {
    return Fit::no;
  }
};
/// The same if the error is wanted, too.
struct InWords {
  Error& error;
  template <class Describe> [[gnu::cold, gnu::noinline]] Fit operator()(Describe&& describe) const {
    error = describe();
    return Fit::no;
  }
};

/// The rules on one input, with what every call compares close at hand: the fewer instructions, the
/// better.
class InputCheck {
 public:
  /// What the spec holds must stay in its place.
  InputCheck(const ModelSpec& spec, std::size_t index)
      : spec_{&spec.inputs[index]}, dtype_{spec_->dtype}, device_{spec_->device} {
    for (const Dimension& dimension : spec_->shape) {
      sizes_.push_back({dimension.min, static_cast<std::uint64_t>(dimension.max - dimension.min)});
      tied_ |= dimension.first_input >= 0;
    }
    tied_ |= !spec_->guards.empty();
    rank_ = sizes_.size();
    row_major_ = spec_->order.empty() && spec_->strides.empty();
    fixed_ = !spec_->strides.empty() || spec_->mutated;
  }

  /// Checks input `i` of a call against the spec that this was made from.
  /// @tparam least Fit::yes if the memory of inputs cannot be laid out anew
  /// @param report called if a rule is broken, with a function that describes it as an Error
  template <class Runtime, Fit least = Fit::reordered, class Inputs, class Report = VerdictOnly>
  [[gnu::always_inline]] Fit fit(const ModelSpec& spec, Inputs inputs, std::size_t i,
                                 const Report& report = {}) const {
    const typename Runtime::Tensor& tensor = inputs[i];
    if (!Runtime::is_strided_on(tensor, device_)) [[unlikely]]
      return report([&] { return describe_unreadable<Runtime>(tensor, name(i), device_); });
    if (Runtime::dtype(tensor) != dtype_) [[unlikely]] {
      return report([&] {
        return Error{Errc::input_dtype, name(i),
                     concat({"found ", to_string(Runtime::dtype(tensor)), ", expected ",
                             to_string(dtype_)})};
      });
    }
    const std::span<const std::int64_t> sizes = Runtime::sizes(tensor);
    if (sizes.size() != rank_) [[unlikely]] {
      return report([&] {
        return Error{Errc::input_rank, name(i),
                     concat({"found ", sizes.size(), " dimensions, expected ", rank_})};
      });
    }
    for (std::size_t d = 0; d < sizes.size(); ++d) {
      const Range& range = sizes_[d];
      if (static_cast<std::uint64_t>(sizes[d] - range.min) > range.span) [[unlikely]]
        return report([&] { return out_of_range(spec, i, d, sizes[d]); });
    }
    if (tied_ && !ties_hold<Runtime>(spec, inputs, i, report)) [[unlikely]]
      return Fit::no;
    if (row_major_ ? Runtime::is_row_major(tensor) : has_layout<Runtime>(tensor, *spec_))
        [[likely]] {
      return Fit::yes;
    }
    if (fixed_ || least == Fit::yes) [[unlikely]]
      return report([&] { return wrong_layout(i, Runtime::strides(tensor)); });
    return Fit::reordered;
  }

 private:
  struct Range {
    std::int64_t min;
    std::uint64_t span;  // max - min: one unsigned comparison tests both bounds
  };

  /// Whether the dimensions that are tied to others agree with them, and whether the relations hold
  /// of which this is the last input.
  template <class Runtime, class Inputs, class Report>
  [[gnu::noinline]] bool ties_hold(const ModelSpec& spec, Inputs inputs, std::size_t i,
                                   const Report& report) const {
    const auto size = [&](std::size_t k, std::size_t d) { return Runtime::sizes(inputs[k])[d]; };
    for (std::size_t d = 0; d < rank_; ++d) {
      const Dimension& dimension = spec_->shape[d];
      if (dimension.first_input < 0) continue;
      const auto first_input = static_cast<std::size_t>(dimension.first_input);
      const auto first_dimension = static_cast<std::size_t>(dimension.first_dimension);
      const Dimension& first = spec.inputs[first_input].shape[first_dimension];
      const std::int64_t first_size = size(first_input, first_dimension);
      if (agrees(dimension, size(i, d), first, first_size)) continue;
      report([&] { return untied(spec, i, d, size(i, d), first_size); });
      return false;
    }
    for (const Guard& guard : spec_->guards) {
      if (holds(guard, size)) continue;
      report([&] {
        std::string text = "found ";
        for (const Guard::Size& item : guard.sizes) {
          if (text.size() > 6) text += ", ";
          text += concat({spec.inputs[item.input].name, ".size(", item.dimension,
                          ") = ", size(item.input, item.dimension)});
        }
        return Error{Errc::input_shape, name(i), concat({text, "; expected ", guard.text})};
      });
      return false;
    }
    return true;
  }

  std::string name(std::size_t i) const { return concat({"input ", i, " '", spec_->name, "'"}); }

  Error wrong_size(const ModelSpec& spec, std::size_t i, std::size_t d, std::int64_t size,
                   const std::string& expected) const {
    const int symbol = spec_->shape[d].symbol;
    const std::string known_as =
        symbol < 0 ? std::string{}
                   : concat({" (", spec.symbols[static_cast<std::size_t>(symbol)], ")"});
    return {Errc::input_shape, name(i),
            concat({"dimension ", d, known_as, ": found ", size, ", expected ", expected})};
  }

  [[gnu::cold, gnu::noinline]] Error out_of_range(const ModelSpec& spec, std::size_t i,
                                                  std::size_t d, std::int64_t size) const {
    const Dimension& dimension = spec_->shape[d];
    if (dimension.min == dimension.max) {
      return wrong_size(spec, i, d, size, std::to_string(dimension.min));
    }
    if (dimension.max == Dimension::unbounded) {
      return wrong_size(spec, i, d, size, concat({dimension.min, " or more"}));
    }
    return wrong_size(spec, i, d, size, concat({dimension.min, " to ", dimension.max}));
  }

  [[gnu::cold, gnu::noinline]] Error untied(const ModelSpec& spec, std::size_t i, std::size_t d,
                                            std::int64_t size, std::int64_t first_size) const {
    const Dimension& dimension = spec_->shape[d];
    const auto first_input = static_cast<std::size_t>(dimension.first_input);
    const TensorSpec& other = spec.inputs[first_input];
    const Dimension& first = other.shape[static_cast<std::size_t>(dimension.first_dimension)];
    if (&first == &dimension) {
      std::string multiple = concat({dimension.scale, " times an integer"});
      if (dimension.offset != 0) multiple += concat({" plus ", dimension.offset});
      return wrong_size(spec, i, d, size, multiple);
    }
    const auto expected = static_cast<std::int64_t>(
        static_cast<std::uint64_t>((first_size - first.offset) / first.scale) *
            static_cast<std::uint64_t>(dimension.scale) +
        static_cast<std::uint64_t>(dimension.offset));
    return wrong_size(spec, i, d, size,
                      concat({expected, ", since dimension ", dimension.first_dimension,
                              " of input ", first_input, " '", other.name, "' is ", first_size}));
  }

  [[gnu::cold, gnu::noinline]] Error wrong_layout(std::size_t i,
                                                  std::span<const std::int64_t> strides) const {
    if (!spec_->strides.empty()) {
      return {Errc::input_layout, name(i),
              concat({"found strides ", join(strides), ", expected ", join(spec_->strides),
                      " (-1 for any)"})};
    }
    return {Errc::input_layout, name(i),
            concat({"found strides ", join(strides),
                    spec_->mutated ? "; the model writes to it, so it" : "; it",
                    " must be laid out as the example that it was exported with: without gaps, ",
                    spec_->order.empty() ? std::string{"row-major"}
                                         : concat({"in the order ", join(spec_->order)})})};
  }

  const TensorSpec* spec_;
  std::size_t rank_;
  DType dtype_;
  DeviceType device_;
  bool tied_ = false;
  bool row_major_ = true;
  bool fixed_ = false;  // not to be laid out anew: the model writes to it, or there are gaps
  std::vector<Range> sizes_;
};

}  // namespace aoti::inline AOTI_ABI::detail
