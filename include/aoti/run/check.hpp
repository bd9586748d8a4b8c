// Inputs against the spec, before a call: nanoseconds when they fit, a sentence when they do not.
#pragma once

#include <cstddef>
#include <string>

#include "aoti/run/spec.hpp"
#include "aoti/runtime/runtime.hpp"

namespace aoti::detail {

/// Whether memory has the layout that compiled code assumes. Dimensions of size 1 may have any
/// stride, and without elements there is nothing to lay out.
inline bool has_layout(const TensorView& view, const TensorSpec& spec) noexcept {
  const std::size_t rank = view.sizes.size();
  if (!spec.strides.empty()) {
    for (std::size_t i = 0; i < rank; ++i) {
      if (spec.strides[i] >= 0 && view.sizes[i] != 1 && spec.strides[i] != view.strides[i]) {
        return false;
      }
    }
    return true;
  }
  std::int64_t expected = 1;
  bool dense = true;
  for (std::size_t i = rank; i-- > 0;) {
    const std::size_t d = spec.order.empty() ? i : static_cast<std::size_t>(spec.order[i]);
    dense &= view.sizes[d] == 1 || view.strides[d] == expected;
    expected *= view.sizes[d];
  }
  return dense || expected == 0;
}

/// A dimension that is tied to an earlier one must stand for the same value of the symbol.
inline bool agrees(const Dimension& dimension, std::int64_t size, const Dimension& first,
                   std::int64_t first_size) noexcept {
  const std::int64_t scaled = size - dimension.offset;
  return scaled % dimension.scale == 0 &&
         scaled / dimension.scale == (first_size - first.offset) / first.scale;
}

/// What is wrong with input `i`; called when something is.
template <class Runtime, class At>
[[gnu::cold]] Error describe_mismatch(const ModelSpec& spec, At&& at, std::size_t i) {
  const TensorSpec& expected = spec.inputs[i];
  const typename Runtime::Tensor& tensor = at(i);
  std::string where = concat("input ", i, " '", expected.name, "'");
  if (!Runtime::is_defined(tensor)) {
    return {Errc::undefined_tensor, std::move(where), "the tensor is undefined"};
  }
  if (!Runtime::is_strided(tensor)) {
    return {Errc::input_layout, std::move(where),
            "found a tensor that is not strided, such as a sparse one"};
  }
  const TensorView found = Runtime::view(tensor);
  if (found.dtype != expected.dtype) {
    return {Errc::input_dtype, std::move(where),
            concat("found ", to_string(found.dtype), ", expected ", to_string(expected.dtype))};
  }
  if (found.device != expected.device) {
    return {Errc::input_device, std::move(where),
            concat("found a tensor on ", to_string(found.device), ", expected one on ",
                   to_string(expected.device))};
  }
  if (found.sizes.size() != expected.shape.size()) {
    return {Errc::input_rank, std::move(where),
            concat("found ", found.sizes.size(), " dimensions, expected ", expected.shape.size())};
  }
  for (std::size_t d = 0; d < expected.shape.size(); ++d) {
    const Dimension& dimension = expected.shape[d];
    const std::int64_t size = found.sizes[d];
    const std::string name =
        dimension.symbol < 0
            ? std::string{}
            : concat(" (", spec.symbols[static_cast<std::size_t>(dimension.symbol)], ")");
    std::string text = concat("dimension ", d, name, ": found ", size, ", expected ");
    if (size < dimension.min || size > dimension.max) {
      if (dimension.min == dimension.max) {
        append(text, dimension.min);
      } else if (dimension.max == Dimension::unbounded) {
        text += concat(dimension.min, " or more");
      } else {
        text += concat(dimension.min, " to ", dimension.max);
      }
      return {Errc::input_shape, std::move(where), std::move(text)};
    }
    if (dimension.first_input < 0) continue;
    const auto first_input = static_cast<std::size_t>(dimension.first_input);
    const auto first_dimension = static_cast<std::size_t>(dimension.first_dimension);
    const Dimension& first = spec.inputs[first_input].shape[first_dimension];
    const std::int64_t first_size = Runtime::view(at(first_input)).sizes[first_dimension];
    if (agrees(dimension, size, first, first_size)) continue;
    append(text, (first_size - first.offset) / first.scale * dimension.scale + dimension.offset);
    text += concat(", since dimension ", first_dimension, " of input ", first_input, " '",
                   spec.inputs[first_input].name, "' is ", first_size);
    return {Errc::input_shape, std::move(where), std::move(text)};
  }
  return {Errc::input_layout, std::move(where),
          concat("found strides ", join(found.strides), ", expected ", join(expected.strides),
                 " (-1 for any)")};
}

/// Whether input `i` fits the spec; a layout that a copy can mend does. `at(i)` gives input i.
template <class Runtime, class At> bool fits(const ModelSpec& spec, At&& at, std::size_t i) {
  const TensorSpec& expected = spec.inputs[i];
  const typename Runtime::Tensor& tensor = at(i);
  if (!Runtime::is_defined(tensor) || !Runtime::is_strided(tensor)) return false;
  const TensorView found = Runtime::view(tensor);
  if (found.dtype != expected.dtype || found.device != expected.device ||
      found.sizes.size() != expected.shape.size()) {
    return false;
  }
  for (std::size_t d = 0; d < found.sizes.size(); ++d) {
    const Dimension& dimension = expected.shape[d];
    const std::int64_t size = found.sizes[d];
    if (size < dimension.min || size > dimension.max) return false;
    if (dimension.first_input < 0) continue;
    const auto first_input = static_cast<std::size_t>(dimension.first_input);
    const auto first_dimension = static_cast<std::size_t>(dimension.first_dimension);
    const Dimension& first = spec.inputs[first_input].shape[first_dimension];
    if (!agrees(dimension, size, first, Runtime::view(at(first_input)).sizes[first_dimension])) {
      return false;
    }
  }
  return expected.strides.empty() || has_layout(found, expected);
}

}  // namespace aoti::detail
