// How a model that is being opened gets its weights: from the mapped file, in place, where it can.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "aoti/abi/imports.hpp"
#include "aoti/run/container.hpp"
#include "aoti/run/spec.hpp"
#include "aoti/runtime/runtime.hpp"

namespace aoti::detail {

/// Handles that are owned until they are destroyed here; null ones are skipped.
template <class Runtime> struct OwnedHandles {
  std::vector<AtenTensorHandle> handles;

  explicit OwnedHandles(std::size_t count) : handles(count, nullptr) {}
  OwnedHandles(OwnedHandles&& other) noexcept : handles{std::move(other.handles)} {
    other.handles.clear();
  }
  OwnedHandles& operator=(OwnedHandles&&) = delete;
  ~OwnedHandles() { clear(); }

  void clear() noexcept {
    for (AtenTensorHandle handle : handles) {
      if (handle != nullptr) Runtime::destroy(handle);
    }
    handles.clear();
  }
};

/// Whether a constant's elements lie within a blob, as far as is known.
template <class = void> bool lies_within(const Constant& constant, Bytes blob) noexcept {
  const std::int64_t size = extent(constant.shape, constant.strides, constant.dtype);
  const std::size_t element = element_size(constant.dtype);
  return constant.described && element != 0 && constant.offset % element == 0 && size >= 0 &&
         within(constant.offset, static_cast<std::uint64_t>(size), blob.size());
}

/// Makes a tensor on the CPU of a constant where it lies in a blob; false where that fails.
template <class Runtime>
bool view_in_blob(const Constant& constant, const std::byte* blob, AtenTensorHandle& out) {
  static const auto from_blob = abi::resolve<Runtime, abi::imported::create_tensor_from_blob>();
  return from_blob != nullptr &&
         from_blob(const_cast<std::byte*>(blob) + constant.offset,
                   static_cast<std::int64_t>(constant.shape.size()), constant.shape.data(),
                   constant.strides.data(), 0, static_cast<std::int32_t>(constant.dtype),
                   static_cast<std::int32_t>(DeviceType::cpu), 0, &out) == 0;
}

/// Loads the weights of a package into a new container.
template <class Runtime> struct WeightsLoader {
  Container& container;
  const PackagedModel& model;

  /// @param type the device that the model runs on
  /// @errors unsupported (the package carries no weights, or in a form that is not read),
  ///         damaged_package, out_of_memory, model_failed, model_threw
  Result<void> load(const ModelSpec* spec, DeviceType type) {
    describe_constants(spec);
    WeightsLedger& ledger = container.ledger();
    ledger.in_block.assign(container.constants().size(), 1);
    ledger.block = true;
    if (model.weights.empty()) {
      auto complete = holds_all();
      if (!complete) return std::move(complete).error();
      ledger.state = complete.value() ? WeightsState::loaded : WeightsState::none;
      return success();
    }
    auto placed = use_in_place(type);
    if (!placed) return std::move(placed).error();
    if (placed.value()) {
      ledger.in_block.assign(container.constants().size(), 0);
      ledger.block = false;
    } else if (auto done = copy(); !done) {
      return done;
    }
    ledger.state = WeightsState::loaded;
    return success();
  }

 private:
  using Exports = abi::ModelExports;

  void describe_constants(const ModelSpec* spec) {
    std::vector<Constant>& constants = container.constants();
    if (spec != nullptr) describe_by_spec(constants, spec->constants);
    bool all = true;
    for (const Constant& constant : constants) all &= constant.folded || constant.described;
    for (const Entry& file : model.files) {
      if (!all && file.name.ends_with(".wrapper.cpp")) {
        SourceReader<>{as_text(file.data)}.read(constants);
      }
    }
  }

  /// Whether an image that came without a blob holds all constants. One whose weights were left out
  /// calls them loaded all the same, and reads through null when it runs; so what it holds is
  /// counted. Before torch 2.13 that is not told, and it is believed.
  Result<bool> holds_all() const {
    std::size_t held = 0, expected = 0;
    if (auto loaded = container.template get<&Exports::did_call_load_constants, bool>();
        !loaded || loaded.value()) {
      const AOTInductorConstantMapEntry* entries = nullptr;
      if (!container.template call<&Exports::extract_constants_map_entries>(&entries, &held,
                                                                            false)) {
        return true;
      }
    }
    for (const Constant& constant : container.constants()) expected += constant.folded ? 0 : 1;
    return held >= expected;
  }

  /// Makes the constants tensors on the mapped blob, where they follow one another, and gives those
  /// to the model. False where that cannot be: then they are copied.
  /// Wraps AOTInductorModelContainerUpdateUserManagedConstantBufferPairs.
  Result<bool> use_in_place(DeviceType type) {
    if (type != DeviceType::cpu || !model.weights_mapping.holds(model.weights) ||
        abi::resolve<Runtime, abi::imported::create_tensor_from_blob>() == nullptr ||
        container.exports().update_user_managed_constant_buffer_pairs == nullptr) {
      return false;
    }
    std::uint64_t total = 0;
    for (const Constant& constant : container.constants()) {
      if (constant.folded) continue;
      if (!lies_within(constant, model.weights)) return false;
      total += constant.bytes;
    }
    auto mapping = model.weights_mapping.writable();  // a model may write to its buffers
    const std::byte* base = nullptr;
    if (mapping) {
      base = mapping.value().bytes().data() +
             (model.weights.data() - model.weights_mapping.bytes().data());
    }
    constexpr std::uintptr_t alignment = 64;  // of what models allocate themselves
    if (total != model.weights.size() || base == nullptr ||
        reinterpret_cast<std::uintptr_t>(base) % alignment != 0) {
      return false;
    }
    OwnedHandles<Runtime> tensors{container.constants().size()};
    std::vector<abi::ConstantEntry> entries;
    for (std::size_t i = 0; i < container.constants().size(); ++i) {
      const Constant& constant = container.constants()[i];
      if (constant.folded) continue;
      if (!view_in_blob<Runtime>(constant, base, tensors.handles[i])) {
        return Error{Errc::out_of_memory, model.origin,
                     concat({"making a tensor of ", constant.fqn, ": ", Runtime::last_error()})};
      }
      entries.push_back({constant.name.c_str(), tensors.handles[i]});
    }
    container.keep(std::move(mapping).value());
    auto done = container.template call<&Exports::update_user_managed_constant_buffer_pairs>(
        reinterpret_cast<const AOTInductorConstantMapEntry*>(entries.data()), entries.size(), false,
        false);
    if (!done) return std::move(done).error();
    return true;
  }

  /// Wraps AOTInductorModelUpdateConstantsFromBlob, which takes no size: it is compared before.
  Result<void> copy() {
    auto expected = container.template get<&Exports::get_constants_blob_size, std::uint64_t>();
    if (!expected) return std::move(expected).error();
    if (expected.value() != model.weights.size()) {
      return Error{Errc::damaged_package, model.origin,
                   concat({"the weights beside the image have ", model.weights.size(),
                           " bytes, expected ", expected.value()})};
    }
    return container.template call<&Exports::model_update_constants_from_blob>(
        reinterpret_cast<const std::uint8_t*>(model.weights.data()));
  }
};

}  // namespace aoti::detail
