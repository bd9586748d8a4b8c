// SPDX-License-Identifier: BSD-3-Clause
// What a model takes and returns, as far as it and its package say.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/package/package.hpp"
#include "aoti/package/spec.hpp"
#include "aoti/run/check.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Default-constructed: the signature of a moved-from model. Its functions are templates, since
/// compiling the container's functions wherever this is included would take 0.2 s (g++ 12).
struct Signature {
  std::size_t input_count = 0;
  std::size_t output_count = 0;
  bool may_return_none = false;    // if no spec says which outputs are None
  bool writes = false;             // to inputs or weights, according to the spec
  std::vector<InputCheck> checks;  // of the inputs, in the spec; none without one
  std::optional<ModelSpec> spec;

  Signature() = default;
  Signature(Signature&&) = default;  // the checks point to what the spec holds on the heap
  Signature& operator=(Signature&&) = default;
  ~Signature() = default;

  /// @param most how many inputs, and how many outputs, a run can have
  /// @errors unsupported (more than that), damaged_package (a spec that cannot be read, or that is
  ///         not this model's), model_failed, model_threw
  template <class Container>
  static Result<Signature> of(const Container& container, const Metadata& metadata,
                              const std::string& origin, std::size_t most) {
    Signature signature;
    AOTI_TRY(const std::size_t inputs, container.input_count());
    AOTI_TRY(const std::size_t outputs, container.output_count());
    signature.input_count = inputs;
    signature.output_count = outputs;
    if (inputs > most || outputs > most) {
      return Error{Errc::unsupported, origin,
                   concat({"found ", inputs, " inputs and ", outputs, " outputs, expected at most ",
                           most, " of each"})};
    }
    const std::string_view text = metadata[ModelSpec::metadata_key];
    if (text.empty()) {
      const auto call = container.call_spec();  // None is a leaf like any other
      signature.may_return_none = call && call.value().result.leaf_count() == outputs;
      return signature;
    }
    AOTI_TRY(signature.spec, ModelSpec::parse(text, origin));
    const ModelSpec& spec = *signature.spec;
    if (spec.inputs.size() != inputs || spec.outputs.size() != outputs) {
      return Error{
          Errc::damaged_package, origin,
          concat({"the input spec lists ", spec.inputs.size(), " inputs and ", spec.outputs.size(),
                  " outputs, the model has ", inputs, " and ", outputs})};
    }
    for (std::size_t i = 0; i < inputs; ++i) {
      signature.checks.emplace_back(spec, i);
      signature.writes |= spec.inputs[i].mutated;
    }
    for (const Constant& constant : spec.constants) signature.writes |= constant.mutated;
    return signature;
  }

  bool may_be_none(std::size_t output) const {
    return spec ? spec->outputs[output].none : may_return_none;
  }

  template <class Container>
  Result<std::string> input_name(const Container& container, std::size_t i) const {
    return spec ? spec->inputs[i].name : container.input_name(i);
  }
  template <class Container>
  Result<std::string> output_name(const Container& container, std::size_t i) const {
    return spec ? spec->outputs[i].name : container.output_name(i);
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
