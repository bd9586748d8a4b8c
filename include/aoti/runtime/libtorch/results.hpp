// SPDX-License-Identifier: BSD-3-Clause
// What compiled code expects of the results of an operator's call, as recorded by aoti.export.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DefaultDtype.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/package/spec.hpp"
#include "aoti/runtime/libtorch.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// The tensors that a call returns. Without a record, this only checks that results are defined.
class ExpectedResults {
 public:
  static constexpr std::string_view metadata_key = "aoti.spec";

  /// @errors damaged_package, unsupported (a later version of the format)
  static Result<ExpectedResults> parse(std::string_view text, const std::string& operation) {
    ExpectedResults expected;
    AOTI_TRY(expected.spec_, ModelSpec::parse(text, operation));
    return expected;
  }

  /// Throws if a result is not what the compiled code expects. A result with another memory layout
  /// is copied.
  /// @param tensors the arguments' tensors come first
  void adopt(at::Tensor& result, std::size_t index, c10::ArrayRef<AtenTensorHandle> tensors,
             const std::string& target) const {
    TORCH_CHECK(result.defined(), target, ": result ", index, " is undefined");
    if (index >= spec_.outputs.size() || spec_.outputs[index].none) return;
    const TensorSpec& expected = spec_.outputs[index];
    const auto dtype = static_cast<c10::ScalarType>(expected.dtype);
    const auto device = static_cast<c10::DeviceType>(expected.device);
    const auto wrong = [&](const std::string& found, const std::string& wanted) {
      const auto set = c10::get_default_dtype_as_scalartype();
      const bool by_default = result.scalar_type() == set && set != dtype;
      TORCH_CHECK(false, target, ": result ", index, ": found ", found, ", expected ", wanted,
                  ", as its fake kernel said when the model was exported",
                  by_default ? "; the process's default dtype is " + found : "");
    };
    // Compiled code reads memory: it cannot resolve lazy operations.
    if (result.is_conj() || result.is_neg()) result = result.resolve_conj().resolve_neg();
    if (result.scalar_type() != dtype) {
      wrong(std::string{to_string(Libtorch::dtype(result))},
            std::string{to_string(expected.dtype)});
    }
    if (result.device().type() != device || !Libtorch::is_strided(result)) {
      wrong(concat({result.layout() == c10::kStrided ? "" : "no strided tensor, ", "a tensor on ",
                    to_string(Libtorch::device(result))}),
            concat({"a strided tensor on ", to_string(expected.device)}));
    }
    const auto sizes = Libtorch::sizes(result);
    bool same = sizes.size() == expected.shape.size();
    std::string wanted;
    for (std::size_t d = 0; d < expected.shape.size(); ++d) {
      const Dimension& dimension = expected.shape[d];
      const auto size = size_of(dimension, tensors);
      wanted += concat({d == 0 ? "" : ", ", size ? std::to_string(*size) : "any"});
      same = same &&
             (size ? sizes[d] == *size : sizes[d] >= dimension.min && sizes[d] <= dimension.max);
    }
    if (!same) wrong(concat({"sizes [", join(sizes), "]"}), concat({"[", wanted, "]"}));
    const std::vector<std::int64_t> strides = strides_of(expected, sizes);
    bool lies_so = true;
    for (std::size_t d = 0; d < sizes.size(); ++d) {
      lies_so &= sizes[d] == 1 || strides[d] < 0 || result.strides()[d] == strides[d];
    }
    if (lies_so || result.numel() == 0) return;
    for (const std::int64_t stride : strides) {
      if (stride >= 0) continue;
      wrong(concat({"strides [", join(Libtorch::strides(result)), "]"}),
            concat({"[", join(strides), "], -1 for any"}));
    }
    at::Tensor copy = result.new_empty_strided(result.sizes(), strides);
    result = copy.copy_(result);
  }

 private:
  /// The size that a dimension must have, if it is known.
  std::optional<std::int64_t> size_of(const Dimension& dimension,
                                      c10::ArrayRef<AtenTensorHandle> tensors) const {
    if (dimension.min == dimension.max) return dimension.min;
    if (dimension.symbol < 0) return std::nullopt;
    for (std::size_t i = 0; i < spec_.inputs.size() && i < tensors.size(); ++i) {
      const at::Tensor& given = Libtorch::peek(tensors[i]);
      for (std::size_t d = 0; d < spec_.inputs[i].shape.size(); ++d) {
        const Dimension& known = spec_.inputs[i].shape[d];
        if (known.symbol != dimension.symbol || given.dim() <= static_cast<std::int64_t>(d))
          continue;
        const std::int64_t symbol = (given.sizes()[d] - known.offset) / known.scale;
        return symbol * dimension.scale + dimension.offset;
      }
    }
    return std::nullopt;
  }

  /// The strides that the compiled code expects of a tensor with these sizes; -1 for any.
  static std::vector<std::int64_t> strides_of(const TensorSpec& spec,
                                              std::span<const std::int64_t> sizes) {
    if (!spec.strides.empty()) return spec.strides;
    std::vector<std::int64_t> strides(sizes.size());
    std::int64_t step = 1;
    for (std::size_t i = sizes.size(); i-- > 0;) {
      const std::size_t d = spec.order.empty() ? i : static_cast<std::size_t>(spec.order[i]);
      strides[d] = step;
      step *= sizes[d];
    }
    return strides;
  }

  ModelSpec spec_;
};

}  // namespace aoti::inline AOTI_ABI::detail
