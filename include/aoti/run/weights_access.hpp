// A running model's weights: read, swapped, freed. Users include run/weights.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "aoti/run/runner.hpp"

namespace aoti {

/// A model has room for two sets of weights: the one it runs on, and one that can take its place.
enum class Buffer : bool { active, inactive };

/// A weight and its name, the FQN in the module that was compiled.
template <class Tensor> struct Weight {
  std::string name;
  Tensor tensor;
};

namespace detail {

/// What the functions on weights have in common.
template <class Runner> struct WeightsAccess {
  using Runtime = typename Runner::TensorRuntime;
  using Exports = abi::ModelExports;
  using Entries = std::vector<abi::ConstantEntry>;

  Runner& runner;

  auto& container() const { return runner.container_; }
  const std::vector<Constant>& constants() const { return runner.constants(); }
  WeightsLedger& ledger() const { return runner.container_.ledger(); }
  const std::string& origin() const { return runner.origin(); }

  /// Calls `body` between the begin and the end of an event.
  template <class Body> Result<void> observed(Event event, Body&& body) const {
    Watch watch{runner.observer_, event};
    Result<void> done = body();
    watch.ended(done);
    return done;
  }

  /// As alone(), while nobody else changes the weights.
  template <class Body> Result<void> changing(const char* operation, Body&& body) const {
    if (runner.updating_.exchange(true)) return updating();
    auto done = alone(operation, body);
    runner.updating_.store(false);
    return done;
  }
  Error updating() const {
    return {Errc::bad_state, origin(), "an update of the weights is open, or a change goes on"};
  }

  /// Calls `body(stream)` as the runner's only user, on its device.
  template <class Body> Result<void> alone(const char* operation, Body&& body) const {
    return guard(Errc::model_threw, operation, [&]() -> Result<void> {
      if (container().handle() == nullptr) return runner.gone();
      const Occupancy occupancy{Runner::detects_concurrent_use ? &runner.busy_ : nullptr};
      if (!occupancy.entered()) return runner.busy();
      return runner.on_device(body);
    });
  }

  /// The tensors of a set by the constants' indices, null for those that the model does not tell;
  /// they belong to the model.
  /// Wraps …ExtractConstantsMapEntries, or …ExtractConstantsMap before torch 2.13.
  Result<void> extract(Buffer buffer, std::vector<AtenTensorHandle>& out) const {
    const bool inactive = buffer == Buffer::inactive;
    // A model lists them in one place for all threads, and a lock is held for a microsecond.
    const struct Lock {
      Atomic<bool>& taken;
      explicit Lock(Atomic<bool>& flag) : taken{flag} {
        while (taken.exchange(true)) {
        }
      }
      ~Lock() { taken.store(false); }
    } lock{runner.extracting_};
    if (container().exports().extract_constants_map_entries != nullptr) {
      return extract_entries(container(), inactive, out);
    }
    out.assign(constants().size(), nullptr);
    std::unordered_map<std::string, AtenTensorHandle> map;
    auto done = container().template call<&Exports::extract_constants_map>(
        reinterpret_cast<AOTInductorConstantMapHandle>(&map), inactive);
    if (!done) return done;
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (constants()[i].folded) continue;
      const auto found = map.find(constants()[i].fqn);
      if (found != map.end()) out[i] = found->second;
    }
    return success();
  }

  /// Gives the model tensors for its inactive set, without a copy where it can, and destroys what
  /// it forgets of those that it had there.
  Result<void> give(const std::vector<AtenTensorHandle>& tensors) const {
    if (!forgets_tensors()) return hand_over(tensors);
    std::vector<AtenTensorHandle>& forgotten = ledger().forgotten_inactive;
    std::vector<AtenTensorHandle> made;
    made.reserve(tensors.size());  // nothing may fail once the model has them
    ledger().destroy = [](AtenTensorHandle handle) { Runtime::destroy(handle); };
    if (auto done = hand_over(tensors); !done) return done;
    if (auto done = extract(Buffer::inactive, made); !done) return done;
    for (AtenTensorHandle old : forgotten) {
      if (old != nullptr) Runtime::destroy(old);
    }
    forgotten = std::move(made);
    keep_given(forgotten, tensors);
    return success();
  }

  /// Wraps …UpdateUserManagedConstantBufferPairs, or …UpdateUserManagedConstantBuffer before torch
  /// 2.11, or …UpdateConstantBuffer, which copies, before torch 2.8.
  Result<void> hand_over(const std::vector<AtenTensorHandle>& tensors) const {
    const abi::ModelExports& exports = container().exports();
    if (exports.update_user_managed_constant_buffer_pairs != nullptr) {
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
    if (exports.update_user_managed_constant_buffer != nullptr) {
      return container().template call<&Exports::update_user_managed_constant_buffer>(handle, true,
                                                                                      false);
    }
    return container().template call<&Exports::update_constant_buffer>(handle, true, false);
  }

  /// Whether the model keeps the tensors that it is given, rather than copies of them.
  bool keeps_tensors() const {
    const abi::ModelExports& exports = container().exports();
    return exports.update_user_managed_constant_buffer_pairs != nullptr ||
           exports.update_user_managed_constant_buffer != nullptr;
  }

  bool forgets_tensors() const {
    return keeps_tensors() && detail::forgets_tensors(container().exports());
  }

  Result<void> fold(AOTInductorStreamHandle stream) const { return runner.fold(false, stream); }

  Result<void> swap() const {
    WeightsLedger& ledger = this->ledger();
    if (!ledger.staged) {
      return Error{Errc::bad_state, origin(), "there is no second set of weights to swap to"};
    }
    if (auto done = swap_sets(); !done) return done;
    std::swap(ledger.in_block, ledger.staged_in_block);
    std::swap(ledger.forgotten, ledger.forgotten_inactive);
    // Those before torch 2.12 run on their second set only through the function for many threads.
    if constexpr (Runner::exclusive) {
      const abi::ModelExports& exports = container().exports();
      if (exports.get_last_error == nullptr) runner.run_ = exports.run;
    }
    ledger.block_active = !ledger.block_active;
    ledger.waits = false;
    ledger.staged = ledger.state != WeightsState::none;  // the old set stays, if there was one
    ledger.occupied = ledger.staged;
    if (ledger.state == WeightsState::none) {
      ledger.state = WeightsState::folded;
      std::swap(runner.inputs_, runner.hidden_inputs_);
    }
    return success();
  }

  Result<void> swap_sets() const {
    const auto call = [&] { return container().template call<&Exports::swap_constant_buffer>(); };
    return runner.gate_.get() != nullptr ? runner.gate_.get()->change(call) : call();
  }

  /// Frees what only the inactive set uses.
  Result<void> free_inactive() const {
    WeightsLedger& ledger = this->ledger();
    if (!ledger.occupied) return success();
    if (auto done = Runner::DevicePolicy::synchronize(runner.device_); !done) return done;
    if (keeps_tensors()) {
      // Nothing else makes a model give its old tensors up.
      std::vector<AtenTensorHandle> active;
      if (auto done = extract(Buffer::active, active); !done) return done;
      if (auto done = give(active); !done) return done;
    }
    ledger.staged = ledger.waits = ledger.occupied = false;
    bool block_used = false;
    for (const char in_block : ledger.in_block) block_used |= in_block != 0;
    if (ledger.block && !ledger.block_active && block_used) return success();
    if (container().exports().free_inactive_constant_buffer == nullptr) return success();
    if (auto done = container().template call<&Exports::free_inactive_constant_buffer>(); !done) {
      return done;
    }
    if (!ledger.block_active) ledger.block = false;
    ledger.folded_freed = true;
    return success();
  }

  /// A model whose folding of the inactive set failed goes on with that set. Two swaps turn it
  /// back; what may run between them finds the active tensors, and folds them for itself.
  void recover() const {
    std::vector<AtenTensorHandle> active;
    if (extract(Buffer::active, active)) static_cast<void>(give(active));
    for (int i = 0; i < 2; ++i) {
      static_cast<void>(swap_sets());
    }
  }

  /// Waits for copies and folds that were queued, where the device can be waited for.
  Result<void> settle() const {
    auto done = Runner::DevicePolicy::synchronize(runner.device_);
    if (!done && done.error().code() != Errc::unsupported) return done;
    return success();
  }

  /// Models read the folded constants of the inactive set when they are given others, through null
  /// where those were freed; so they are computed again first.
  Result<void> prepare_inactive(AOTInductorStreamHandle stream) const {
    if (!ledger().folded_freed) return success();
    if (auto done = runner.fold(true, stream); !done) return done;
    ledger().folded_freed = false;
    return success();
  }
};

}  // namespace detail

/// The weights of a set, as tensors that share the model's storage: valid until that set is
/// replaced, freed or destroyed. Without folded ones. Safe while the model runs, not while its
/// weights are changed.
/// @errors bad_state (there is no such set), unsupported (models of torch 2.7 and before),
///         out_of_memory
/// @allocates the vector and the names
template <class Runner>
Result<std::vector<Weight<typename Runner::Tensor>>> weights(Runner& runner,
                                                             Buffer buffer = Buffer::active) {
  using Weights = std::vector<Weight<typename Runner::Tensor>>;
  return detail::guard(Errc::model_threw, "weights", [&]() -> Result<Weights> {
    const detail::WeightsAccess<Runner> access{runner};
    const bool there = buffer == Buffer::active ? runner.weights_state() != WeightsState::none
                                                : access.ledger().staged;
    if (!there) {
      return Error{Errc::bad_state, runner.origin(),
                   buffer == Buffer::active ? "the model has no weights yet"
                                            : "there is no second set of weights"};
    }
    std::vector<AtenTensorHandle> handles;
    if (auto done = access.extract(buffer, handles); !done) return std::move(done).error();
    Weights weights;
    for (std::size_t i = 0; i < handles.size(); ++i) {
      if (handles[i] == nullptr) continue;
      weights.push_back({runner.constants()[i].fqn, Runner::TensorRuntime::peek(handles[i])});
    }
    return weights;
  });
}

/// Lets the runner run on the other set of weights: the one that WeightsUpdate::stage() left, or
/// the one that was swapped out last. Waits for runs that have begun. Wraps
/// AOTInductorModelContainerSwapConstantBuffer.
/// @errors bad_state (there is no other set, or an exclusive runner is in use), model_failed
template <class Runner> Result<void> swap_weights(Runner& runner) {
  const detail::WeightsAccess<Runner> access{runner};
  return access.observed(Event::swap, [&] {
    return access.changing("swap_weights", [&](AOTInductorStreamHandle) { return access.swap(); });
  });
}

/// Computes the folded constants anew, after weights that the model shares were written to.
/// Wraps AOTInductorModelContainerRunConstantFolding.
/// @errors bad_state (an exclusive runner is in use, or there are no weights), model_failed
template <class Runner> Result<void> fold_weights(Runner& runner) {
  const detail::WeightsAccess<Runner> access{runner};
  return access.changing("fold_weights", [&](AOTInductorStreamHandle stream) -> Result<void> {
    if (runner.weights_state() != WeightsState::none) return access.fold(stream);
    return Error{Errc::bad_state, runner.origin(), "the model has no weights yet"};
  });
}

/// Frees the memory of the set that the runner does not run on.
/// Wraps AOTInductorModelContainerFreeInactiveConstantBuffer.
/// @errors bad_state (an exclusive runner is in use), model_failed
template <class Runner> Result<void> free_inactive_weights(Runner& runner) {
  const detail::WeightsAccess<Runner> access{runner};
  return access.observed(Event::free, [&] {
    return access.changing("free_inactive_weights",
                           [&](AOTInductorStreamHandle) { return access.free_inactive(); });
  });
}

}  // namespace aoti
