// SPDX-License-Identifier: BSD-3-Clause
// A runner whose class is known only at run time, with its weights: what drop_in and the Python
// classes hold.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aoti/run/erased_runner.hpp"
#include "aoti/weights.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// A weight as the caller gives it, under one of its names.
template <class Tensor> struct GivenWeight {
  std::string name;
  Tensor tensor;
  bool share = false;  ///< Whether the model uses the tensor itself.
};

/// What all runners on a tensor runtime have in common, and the functions of aoti/weights.hpp.
template <class Runtime> struct ChangeableRunner : ErasedRunner<Runtime> {
  using typename ErasedRunner<Runtime>::Tensor;

  virtual Result<std::vector<Weight<Tensor>>> weights(WeightSet) = 0;
  /// Replaces all of them or none. Those of the active set are committed, others staged.
  /// @param full whether all parameters must be among them
  virtual Result<void> replace(std::span<const GivenWeight<Tensor>>, WeightSet, bool full) = 0;
  /// Replaces all weights by those in a file, as WeightsUpdate::set_blob does.
  virtual Result<void> replace_all(const std::string& blob) = 0;
  virtual Result<void> fold(WeightSet, void* stream) = 0;
  virtual Result<void> swap() = 0;
  virtual Result<void> free_inactive() = 0;
  /// Says whether others use tensors in the model's own memory.
  virtual void lend(bool) = 0;
};

template <class Runner>
struct Changing final : Erasing<Runner, ChangeableRunner<typename Runner::TensorRuntime>> {
  using Base = Erasing<Runner, ChangeableRunner<typename Runner::TensorRuntime>>;
  using Base::Base;
  using Base::runner;
  using typename Base::Tensor;

  Result<std::vector<Weight<Tensor>>> weights(WeightSet set) override {
    return aoti::weights(runner, set);
  }
  Result<void> replace(std::span<const GivenWeight<Tensor>> given, WeightSet set,
                       bool full) override {
    AOTI_TRY(auto update, update_weights(runner));
    if (set == WeightSet::active && runner.container().weight_sets().is_staged()) {
      return Error{Errc::bad_state, runner.origin(),
                   "found a staged second set of weights, which an update of the first would "
                   "include; swap it in, or free it, first"};
    }
    for (const GivenWeight<Tensor>& weight : given) {
      AOTI_TRYV(weight.share ? update.share(weight.name, weight.tensor)
                             : update.set(weight.name, weight.tensor));
    }
    if (full) {
      AOTI_TRYV(update.expect_all());
    }
    return set == WeightSet::active ? update.commit() : update.stage();
  }
  Result<void> replace_all(const std::string& blob) override {
    AOTI_TRY(auto update, update_weights(runner));
    AOTI_TRYV(update.set_blob(blob));
    return update.commit();
  }
  Result<void> fold(WeightSet set, void* stream) override {
    return fold_weights(runner, set, stream_of<typename Base::Device>(stream));
  }
  Result<void> swap() override { return swap_weights(runner); }
  Result<void> free_inactive() override { return free_inactive_weights(runner); }
  void lend(bool lent) override { WeightsAccess<Runner>{runner}.sets().lend(lent); }
};

/// Opens a model, as Runner::open does, for one thread at a time or for any number.
/// @param source a path, bytes, a package, or a model of one
/// @tparam detects whether a second thread in an exclusive runner is detected
template <DevicePolicy Device, class Runtime, bool detects, class Source>
Result<std::unique_ptr<ChangeableRunner<Runtime>>> open_changeable(const Source& source,
                                                                   const OpenOptions& choice,
                                                                   Access access) {
  const auto open_with = [&]<class Runner>() -> Result<std::unique_ptr<ChangeableRunner<Runtime>>> {
    AOTI_TRY(auto runner, Runner::open(source, choice));
    return std::make_unique<Changing<Runner>>(std::move(runner));
  };
  constexpr Options exclusive{.detect_concurrent_use = detects};
  constexpr Options shared{.access = Access::shared};
  return access == Access::exclusive
             ? open_with.template operator()<Runner<Device, Runtime, exclusive>>()
             : open_with.template operator()<Runner<Device, Runtime, shared>>();
}

}  // namespace aoti::inline AOTI_ABI::detail
