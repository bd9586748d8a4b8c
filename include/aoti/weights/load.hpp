// SPDX-License-Identifier: BSD-3-Clause
// How a model that is being opened gets its weights: from the mapped file, in place if possible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "aoti/abi/imports.hpp"
#include "aoti/load/container.hpp"
#include "aoti/package/constant_source.hpp"
#include "aoti/package/spec.hpp"
#include "aoti/run/handles.hpp"
#include "aoti/runtime/refinements.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Whether a constant's elements lie within a blob, as far as is known.
inline bool lies_within(const Constant& constant, Bytes blob) noexcept {
  const std::int64_t size = extent(constant.shape, constant.strides, constant.dtype);
  const std::size_t element = element_size(constant.dtype);
  return constant.described && element != 0 && constant.offset % element == 0 && size >= 0 &&
         within(constant.offset, static_cast<std::uint64_t>(size), blob.size());
}

/// Makes a tensor on the CPU for a constant, in place in a blob; false if that fails.
/// @param mapping kept mapped by the tensor, if the runtime can; or null
template <class Runtime>
bool view_in_blob(const Constant& constant, const std::byte* blob, AtenTensorHandle& out,
                  const Mapping* mapping = nullptr) {
  if constexpr (AdoptsMemory<Runtime>) {
    if (mapping != nullptr) {
      out = Runtime::adopt(constant.dtype, const_cast<std::byte*>(blob) + constant.offset,
                           constant.shape, constant.strides, &Mapping::release, mapping->retain());
      return out != nullptr;
    }
  }
  const auto& from_blob = abi::ImportTable<Runtime>::get().create_tensor_from_blob;
  return from_blob != nullptr &&
         from_blob(const_cast<std::byte*>(blob) + constant.offset,
                   static_cast<std::int64_t>(constant.shape.size()), constant.shape.data(),
                   constant.strides.data(), 0, static_cast<std::int32_t>(constant.dtype),
                   static_cast<std::int32_t>(DeviceType::cpu), 0, &out) == 0;
}

/// The tensors of one of a model's sets by constant, null for those that it does not list; they
/// belong to the model. Wraps …ExtractConstantsMapEntries.
/// @errors unsupported (models before torch 2.13), model_failed, model_threw
inline Result<void> extract_entries(const Container& container, bool inactive,
                                    std::vector<AtenTensorHandle>& out) {
  using Exports = abi::ModelExports;
  const std::vector<Constant>& constants = container.constants();
  out.assign(constants.size(), nullptr);
  const AOTInductorConstantMapEntry* entries = nullptr;
  std::size_t count = 0;
  AOTI_TRYV(container.call<&Exports::extract_constants_map_entries>(&entries, &count, inactive));
  const auto* entry = reinterpret_cast<const abi::ConstantEntry*>(entries);
  // In the model's order, without constants that it does not hold.
  for (std::size_t i = 0; i < out.size() && count != 0; ++i) {
    if (constants[i].folded || constants[i].fqn != entry->name) continue;
    out[i] = entry->tensor;
    ++entry;
    --count;
  }
  return success();
}

/// Of the handles that a model made, leaves those to tensors that it was given, each once.
inline void keep_given(std::vector<AtenTensorHandle>& made,
                       const std::vector<AtenTensorHandle>& given) {
  for (std::size_t i = 0; i < made.size(); ++i) {
    if (given[i] == nullptr) made[i] = nullptr;
    for (std::size_t k = 0; k < i && made[i] != nullptr; ++k) {
      if (made[k] == made[i]) made[i] = nullptr;  // tied weights
    }
  }
}

/// Loads the weights of a package into a new container.
template <class Runtime> struct WeightsLoader {
  Container& container;
  const PackagedModel& model;
  const Image& image;
  bool pack_weights;

  /// @param type the device that the model runs on
  /// @param leave_out whether to skip weights that lie beside the image
  /// @errors unsupported (the package carries no weights, or in a form that this does not read),
  ///         damaged_package, out_of_memory, model_failed, model_threw
  Result<void> load(const ModelSpec* spec, DeviceType type, bool leave_out) {
    describe_constants(spec);
    WeightSets& sets = container.weight_sets();
    sets.create(container.constants().size(), true);
    if (model.weights.empty()) {
      AOTI_TRY(const bool complete, holds_all());
      if (complete) sets.load();
      return success();
    }
    bool needed = false;
    for (const Constant& constant : container.constants()) needed |= !constant.folded;
    if (leave_out && needed) return success();
    AOTI_TRY(const bool in_place, use_in_place(type, spec != nullptr));
    if (in_place) {
      sets.create(container.constants().size(), false);
    } else {
      AOTI_TRYV(copy());
    }
    sets.load();
    return success();
  }

 private:
  using Exports = abi::ModelExports;

  void describe_constants(const ModelSpec* spec) {
    std::vector<Constant>& constants = container.constants();
    if (spec != nullptr) describe_by_spec(constants, spec->constants);
    bool all = true;
    for (Constant& constant : constants) {
      constant.may_be_packed &= pack_weights;
      all &= constant.folded || constant.described;
    }
    for (const Entry& file : model.files) {
      if (!all && file.name.ends_with(".wrapper.cpp")) {
        SourceReader<>{as_text(file.data)}.read(constants);
      }
    }
  }

  /// Whether an image without a blob holds its constants: it holds all or none. An image whose
  /// weights were left out reports them as loaded all the same, and reads through null when it
  /// runs; so this asks for the tensors or, before torch 2.13, looks into the image.
  Result<bool> holds_all() const {
    bool needed = false, held = false;
    std::uint64_t bytes = 0;
    for (const Constant& constant : container.constants()) {
      needed |= !constant.folded;
      if (!constant.folded) bytes += constant.bytes;
    }
    auto loaded = container.template get<&Exports::did_call_load_constants, bool>();
    if (!needed || (loaded && !loaded.value())) return !needed;
    std::vector<AtenTensorHandle> tensors;
    if (!extract_entries(container, false, tensors)) {
      const std::uint64_t found = image.weights_size();
      return (found != 1 && found != 8) || found == bytes;
    }
    for (AtenTensorHandle tensor : tensors) held |= tensor != nullptr;
    return held;
  }

  /// Makes tensors in place in the mapped blob, if the constants fill it without gaps, and gives
  /// them to the model. False if that is not possible: then they are copied.
  /// Wraps AOTInductorModelContainerUpdateUserManagedConstantBufferPairs.
  /// @param described whether a spec says which constants the model writes to
  Result<bool> use_in_place(DeviceType type, bool described) {
    const bool linked = model.linked != nullptr;  // in memory that the model may write to
    if (type != DeviceType::cpu || !(linked || model.weights_mapping.holds(model.weights)) ||
        abi::ImportTable<Runtime>::get().create_tensor_from_blob == nullptr ||
        !container.traits().takes_entries) {
      return false;
    }
    std::uint64_t total = 0;
    for (const Constant& constant : container.constants()) {
      if (constant.folded) continue;
      if (!lies_within(constant, model.weights)) return false;
      if (linked && (constant.mutated || !described)) return false;  // each runner has its own
      total += constant.bytes;
    }
    Mapping mapping;
    const std::byte* base = linked ? model.weights.data() : nullptr;
    if (!linked) {
      auto writable = model.weights_mapping.writable();  // a model may write to its buffers
      if (!writable) return false;
      mapping = std::move(writable).value();
      base = mapping.bytes().data() + (model.weights.data() - model.weights_mapping.bytes().data());
    }
    constexpr std::uintptr_t alignment = 64;  // to which models align constants that they allocate
    if (total != model.weights.size() || base == nullptr ||
        reinterpret_cast<std::uintptr_t>(base) % alignment != 0) {
      return false;
    }
    OwnedHandles<Runtime> tensors{container.constants().size()};
    std::vector<abi::ConstantEntry> entries;
    for (std::size_t i = 0; i < container.constants().size(); ++i) {
      const Constant& constant = container.constants()[i];
      if (constant.folded) continue;
      if (!view_in_blob<Runtime>(constant, base, tensors.handles[i], linked ? nullptr : &mapping)) {
        return Error{Errc::out_of_memory, model.origin,
                     concat({"making a tensor of ", constant.fqn, ": ", Runtime::last_error()})};
      }
      freeze<Runtime>(constant.may_be_packed, tensors.handles[i]);
      entries.push_back({constant.name.c_str(), tensors.handles[i]});
    }
    container.keep(std::move(mapping));
    AOTI_TRYV(container.template call<&Exports::update_user_managed_constant_buffer_pairs>(
        reinterpret_cast<const AOTInductorConstantMapEntry*>(entries.data()), entries.size(), false,
        false));
    if (container.traits().forgets_tensors) {
      std::vector<AtenTensorHandle> made;
      // Models of torch 2.11 and 2.12 do not list them here, and keep the handles, but not the
      // data.
      if (extract_entries(container, false, made)) {
        keep_given(made, tensors.handles);
        container.weight_sets().keep(WeightSet::active, std::move(made), &Runtime::destroy);
      }
    }
    return true;
  }

  /// Wraps AOTInductorModelUpdateConstantsFromBlob, which takes no size; so it is checked first.
  Result<void> copy() {
    AOTI_TRY(auto expected,
             container.template get<&Exports::get_constants_blob_size, std::uint64_t>());
    if (expected != model.weights.size()) {
      return Error{Errc::damaged_package, model.origin,
                   concat({"the weights beside the image have ", model.weights.size(),
                           " bytes, expected ", expected})};
    }
    return container.template call<&Exports::model_update_constants_from_blob>(
        reinterpret_cast<const std::uint8_t*>(model.weights.data()));
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
