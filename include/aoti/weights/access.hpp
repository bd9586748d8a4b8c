// SPDX-License-Identifier: BSD-3-Clause
// Reads, swaps and frees a running model's weights. Users include aoti/weights.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "aoti/run/loaded_model.hpp"
#include "aoti/weights/load.hpp"

namespace aoti::inline AOTI_ABI {

/// Who ensures that the device no longer uses some memory.
enum class Waited : bool {
  here,       ///< This waits, where torch's C interface can.
  by_caller,  ///< The caller has waited, on all streams that runs used.
};

/// A weight and its name, the FQN in the module that was compiled.
template <class Tensor> struct Weight {
  std::string name;
  Tensor tensor;
};

namespace detail {

/// What the functions on weights have in common.
template <class Runner> struct WeightsAccess {
  using Runtime = typename Runner::TensorRuntime;
  using Device = typename Runner::DevicePolicy;
  using Stream = typename Device::Stream;
  using Exports = abi::ModelExports;
  using Entries = std::vector<abi::ConstantEntry>;

  Runner& runner;

  auto& model() const { return runner.model_; }
  auto& container() const { return model().container; }
  const std::vector<Constant>& constants() const { return runner.constants(); }
  WeightSets& sets() const { return model().container.weight_sets(); }
  const std::string& origin() const { return runner.origin(); }

  /// Calls `body` between the begin and the end of an event.
  template <class Body>
  Result<void> observed(Event event, Body&& body, std::size_t constants = 0,
                        bool inactive = false) const {
    Watch watch{model().observer, event};
    watch.about(constants, inactive);
    Result<void> done = body();
    watch.ended(done);
    return done;
  }

  /// As alone(), while nobody else changes the weights.
  template <class Body>
  Result<void> changing(const char* operation, Stream stream, Body&& body) const {
    if (model().updating.exchange(true)) return updating();
    auto done = alone(operation, stream, body);
    model().updating.store(false);
    return done;
  }
  Error updating() const {
    return {Errc::bad_state, origin(),
            "an update of the weights is open, or another thread is changing them"};
  }

  /// Calls `body(native stream)` as the runner's only user, on its device.
  template <class Body>
  Result<void> alone(const char* operation, Stream stream, Body&& body) const {
    return guard(Errc::model_threw, operation, [&]() -> Result<void> {
      if (container().handle() == nullptr) return model().gone();
      const Occupancy occupancy{Runner::Model::detects_concurrent_use ? &model().busy : nullptr};
      if (!occupancy.entered()) return model().in_use();
      [[maybe_unused]] const PreparingOf<Runtime> preparing;
      return model().on_device(stream, body);
    });
  }

  /// The tensors of a set by constant, null for those that the model does not list; they belong to
  /// the model.
  /// Wraps …ExtractConstantsMapEntries, or …ExtractConstantsMap before torch 2.13.
  Result<void> extract(WeightSet set, std::vector<AtenTensorHandle>& out) const {
    const bool inactive = set == WeightSet::inactive;
    const Mutex::Hold hold{model().looking};
    if (container().traits().lists_entries) {
      return extract_entries(container(), inactive, out);
    }
    out.assign(constants().size(), nullptr);
    std::unordered_map<std::string, AtenTensorHandle> map;
    AOTI_TRYV(container().template call<&Exports::extract_constants_map>(
        reinterpret_cast<AOTInductorConstantMapHandle>(&map), inactive));
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (constants()[i].folded) continue;
      const auto found = map.find(constants()[i].fqn);
      if (found != map.end()) out[i] = found->second;
    }
    return success();
  }

  /// Gives the model tensors for its inactive set, without a copy if it can, and takes over the
  /// handles there that it would never destroy.
  Result<void> give(const std::vector<AtenTensorHandle>& tensors) const {
    if (!container().traits().forgets_tensors) return hand_over(tensors);
    std::vector<AtenTensorHandle> made;
    made.reserve(tensors.size());  // nothing may fail once the model has them
    AOTI_TRYV(hand_over(tensors));
    AOTI_TRYV(extract(WeightSet::inactive, made));
    keep_given(made, tensors);
    sets().keep(WeightSet::inactive, std::move(made), &Runtime::destroy);
    return success();
  }

  /// Wraps …UpdateUserManagedConstantBufferPairs, or …UpdateUserManagedConstantBuffer before torch
  /// 2.11, or …UpdateConstantBuffer, which copies, before torch 2.8.
  Result<void> hand_over(const std::vector<AtenTensorHandle>& tensors) const {
    if (container().traits().takes_entries) {
      Entries entries;
      for (std::size_t i = 0; i < tensors.size(); ++i) {
        if (tensors[i] != nullptr) entries.push_back({constants()[i].name.c_str(), tensors[i]});
      }
      return container().template call<&Exports::update_user_managed_constant_buffer_pairs>(
          reinterpret_cast<const AOTInductorConstantMapEntry*>(entries.data()), entries.size(),
          true, false);
    }
    std::unordered_map<std::string, AtenTensorHandle> map;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i] != nullptr) map.emplace(constants()[i].name, tensors[i]);
    }
    const auto handle = reinterpret_cast<AOTInductorConstantMapHandle>(&map);
    if (container().traits().keeps_tensors) {
      return container().template call<&Exports::update_user_managed_constant_buffer>(handle, true,
                                                                                      false);
    }
    return container().template call<&Exports::update_constant_buffer>(handle, true, false);
  }

  Result<void> fold(AOTInductorStreamHandle stream) const { return model().fold(false, stream); }

  Result<void> swap() const {
    if (!sets().has_second()) return no_second_set();
    AOTI_TRYV(swap_sets());
    if (Runner::Model::exclusive && container().traits().single_threaded_run_ignores_swaps) {
      model().run = container().exports().run;
    }
    if (sets().swap()) model().admit();
    note_weights();
    return success();
  }

  /// Records which weights the model runs on now; none if memory runs out.
  void note_weights() const {
    auto done = guard(Errc::model_threw, "swap", [&]() -> Result<void> {
      std::vector<AtenTensorHandle> active;
      if (!extract(WeightSet::active, active)) active.clear();
      model().use(active);
      return success();
    });
    if (!done) model().use({});
  }

  Error no_second_set() const {
    return {Errc::bad_state, origin(), "there is no second set of weights"};
  }

  Result<void> swap_sets() const {
    const auto call = [&] { return container().template call<&Exports::swap_constant_buffer>(); };
    return model().gate.get() != nullptr ? model().gate.get()->change(call) : call();
  }

  /// Folds the inactive set, which holds these tensors.
  Result<void> fold_inactive(const std::vector<AtenTensorHandle>& all,
                             AOTInductorStreamHandle stream) const {
    const bool spoils = folding_spoils();
    if (!spoils || runner.weights_state() != WeightsState::none) {
      AOTI_TRYV(model().fold(true, stream));
      if (spoils) {
        AOTI_TRYV(give(all));
      }
    }
    return settle();
  }

  /// Whether folding the inactive set replaces its plain tensors by copies of the active ones,
  /// which must exist. They are then given again, after which the set counts as not folded: its
  /// first run folds again, but its folded constants are right all the time.
  bool folding_spoils() const {
    bool folded = false, tensors = false;
    for (const Constant& constant : constants()) {
      folded |= constant.folded;
      tensors |= constant.kind == ConstantKind::tensor;
    }
    return folded && tensors;
  }

  /// Abandons an inactive set that could not be written or folded.
  void abandon() const {
    sets().abandon();
    recover();
    static_cast<void>(free_inactive());
  }

  /// Folds the inactive set again, whether it is staged or was swapped out.
  Result<void> fold_staged(AOTInductorStreamHandle stream) const {
    if (!sets().has_second()) return no_second_set();
    std::vector<AtenTensorHandle> handles;
    OwnedHandles<Runtime> all{constants().size()};
    if (folding_spoils()) {
      AOTI_TRYV(extract(WeightSet::inactive, handles));
      AOTI_TRYV(own(handles, all.handles));
    }
    auto done = fold_inactive(all.handles, stream);
    if (!done) abandon();
    return done;
  }

  /// Makes our own handles for those tensors that have none yet: the model destroys its handles
  /// when it is given other tensors.
  Result<void> own(const std::vector<AtenTensorHandle>& tensors,
                   std::vector<AtenTensorHandle>& owned) const {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i] == nullptr || owned[i] != nullptr) continue;
      owned[i] = Runtime::share(Runtime::peek(tensors[i]));
      if (owned[i] == nullptr) return Error{Errc::out_of_memory};
    }
    return success();
  }

  /// Frees what only the inactive set uses.
  Result<void> free_inactive(Waited waited = Waited::here) const {
    if (!sets().has_remains()) return success();
    if (waited == Waited::here) {
      AOTI_TRYV(Device::synchronize(model().device));
    }
    if (container().traits().keeps_tensors) {
      // Models release their old tensors only when they are given others.
      std::vector<AtenTensorHandle> active;
      AOTI_TRYV(extract(WeightSet::active, active));
      AOTI_TRYV(give(active));
    }
    if (!sets().release() || !container().traits().frees_inactive) return success();
    const auto free = [&] {
      return container().template call<&Exports::free_inactive_constant_buffer>();
    };
    Gate* const lender = model().lender();
    AOTI_TRYV(lender != nullptr ? lender->alone(free) : free());
    sets().freed();
    return success();
  }

  /// A model that failed to fold the inactive set goes on with that set. Two swaps turn it back; a
  /// run between them finds the active tensors, and folds them itself.
  void recover() const {
    std::vector<AtenTensorHandle> active;
    if (extract(WeightSet::active, active)) static_cast<void>(give(active));
    for (int i = 0; i < 2; ++i) {
      static_cast<void>(swap_sets());
    }
  }

  /// Waits for the copies and folds of an update: for the device, or if that is not possible, for
  /// the current stream.
  Result<void> settle() const {
    auto done = Device::synchronize(model().device);
    if (done || done.error().code() != Errc::unsupported) return done;
    return wait_for_stream();
  }

  /// A copy to the CPU ends when its stream has done everything queued before it.
  Result<void> wait_for_stream() const {
    const auto& imports = abi::ImportTable<Runtime>::get();
    AOTI_TRYV(abi::expect(origin(), imports.empty_strided, imports.copy_));
    const std::int64_t one = 1;
    const auto dtype = static_cast<std::int32_t>(DType::float32);
    OwnedHandles<Runtime> ends{2};
    AtenTensorHandle* const to = &ends.handles[0];
    AtenTensorHandle* const from = &ends.handles[1];
    if (imports.empty_strided(1, &one, &one, dtype, static_cast<std::int32_t>(DeviceType::cpu), 0,
                              to) == 0 &&
        imports.empty_strided(1, &one, &one, dtype, static_cast<std::int32_t>(Device::type),
                              model().device.value, from) == 0 &&
        imports.copy_(*to, *from, 0) == 0) {
      return success();
    }
    return Error{Errc::unsupported, origin(),
                 concat({"waiting for the device: ", Runtime::last_error()})};
  }

  /// Models that are given other weights read the inactive set's folded constants, through null if
  /// those were freed; so this computes them again first.
  Result<void> prepare_inactive(AOTInductorStreamHandle stream) const {
    if (!sets().lacks_folded()) return success();
    AOTI_TRYV(model().fold(true, stream));
    sets().refold();
    return success();
  }
};

}  // namespace detail

/// The weights of a set, without folded ones, as tensors that share the model's storage: valid
/// until that set is replaced, freed or destroyed. Safe while the model runs, but not while its
/// weights are changed. Since they may be written to, operators no longer keep them packed.
/// @errors bad_state (there is no such set), unsupported (models of torch 2.7 and before),
///         out_of_memory
/// @allocates the vector and the names
template <class Runner>
Result<std::vector<Weight<typename Runner::Tensor>>> weights(Runner& runner,
                                                             WeightSet set = WeightSet::active) {
  using Weights = std::vector<Weight<typename Runner::Tensor>>;
  return detail::guard(Errc::model_threw, "weights", [&]() -> Result<Weights> {
    const detail::WeightsAccess<Runner> access{runner};
    const bool there = set == WeightSet::active ? runner.weights_state() != WeightsState::none
                                                : access.sets().has_second();
    if (!there) {
      return Error{Errc::bad_state, runner.origin(),
                   set == WeightSet::active ? "the model has no weights yet"
                                            : "there is no second set of weights"};
    }
    std::vector<AtenTensorHandle> handles;
    AOTI_TRYV(access.extract(set, handles));
    Weights weights;
    for (std::size_t i = 0; i < handles.size(); ++i) {
      if (handles[i] == nullptr) continue;
      detail::thaw<typename Runner::TensorRuntime>(handles[i]);
      weights.push_back({runner.constants()[i].fqn, Runner::TensorRuntime::peek(handles[i])});
    }
    return weights;
  });
}

/// Lets the runner run on the other set of weights: the one that WeightsUpdate::stage() left, or
/// the one that was last swapped out. Waits for runs that have begun. Wraps
/// AOTInductorModelContainerSwapConstantBuffer.
/// @errors bad_state (there is no other set, or an exclusive runner is in use), model_failed
template <class Runner> Result<void> swap_weights(Runner& runner) {
  const detail::WeightsAccess<Runner> access{runner};
  return access.observed(Event::swap, [&] {
    return access.changing("swap_weights", {},
                           [&](AOTInductorStreamHandle) { return access.swap(); });
  });
}

/// Computes the folded constants of a set again, after weights that the model shares were written
/// to. Those of the active set are queued on the stream; those of the inactive set are ready on
/// return. If folding the inactive set fails, that set is abandoned.
/// Wraps AOTInductorModelContainerRunConstantFolding.
/// @errors bad_state (an exclusive runner is in use, or there is no such set), model_failed; those
///         of the device policy's `enter`
template <class Runner>
Result<void> fold_weights(Runner& runner, WeightSet set = WeightSet::active,
                          typename Runner::Stream stream = {}) {
  const detail::WeightsAccess<Runner> access{runner};
  const auto fold = [&](AOTInductorStreamHandle native) -> Result<void> {
    if (set == WeightSet::inactive) return access.fold_staged(native);
    if (runner.weights_state() != WeightsState::none) return access.fold(native);
    return Error{Errc::bad_state, runner.origin(), "the model has no weights yet"};
  };
  return access.changing("fold_weights", stream, fold);
}

/// Frees the memory of the set that the runner does not run on.
/// Wraps AOTInductorModelContainerFreeInactiveConstantBuffer.
/// @param waited for XPU and MPS devices, where torch's C interface cannot wait, the caller must
///        wait, for example with torch::xpu::synchronize(), and pass by_caller
/// @errors bad_state (an exclusive runner is in use), model_failed; those of the device policy's
///         `synchronize`
template <class Runner>
Result<void> free_inactive_weights(Runner& runner, Waited waited = Waited::here) {
  const detail::WeightsAccess<Runner> access{runner};
  const auto body = [&](AOTInductorStreamHandle) { return access.free_inactive(waited); };
  return access.observed(
      Event::free, [&] { return access.changing("free_inactive_weights", {}, body); }, 0, true);
}

}  // namespace aoti::inline AOTI_ABI
