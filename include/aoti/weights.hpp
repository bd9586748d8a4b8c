// SPDX-License-Identifier: BSD-3-Clause
// Reads a running model's weights, replaces them in one step, swaps and frees them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/runner.hpp"
#include "aoti/weights/access.hpp"
#include "aoti/weights/fit.hpp"
#include "aoti/weights/names.hpp"

namespace aoti::inline AOTI_ABI {

/// A change of a runner's weights that happens as a whole or not at all. Tensors are checked when
/// they are set, and held here; the model sees them when commit() or stage() is called. If anything
/// fails, or this object is destroyed without a commit, the model runs on as before. Weights that
/// are not set stay as stage() left them, until that set is swapped in or freed; else as the model
/// runs on them.
///
/// Constants that were computed from weights when the model was compiled (Constant::derived) do not
/// follow the weights. If the package lists them, as those of aoti.export do, an update that sets
/// other weights must set all of these, too.
///
/// Each runner has at most one update at a time, used by one thread; meanwhile the runner must be
/// neither moved nor destroyed. With Access::shared, other threads may run the model during all of
/// it, and each run uses one set of weights throughout. With exclusive access, commit() and stage()
/// count as calls, like a run.
template <class Runner> class WeightsUpdate {
 public:
  using Tensor = typename Runner::Tensor;
  using Runtime = typename Runner::TensorRuntime;
  using Stream = typename Runner::Stream;

  /// @errors bad_state (another update is open, or the runner was moved from), out_of_memory
  static Result<WeightsUpdate> begin(Runner& runner) {
    return detail::guard(Errc::model_threw, "WeightsUpdate::begin", [&]() -> Result<WeightsUpdate> {
      if (runner.model_.container.handle() == nullptr) return runner.model_.gone();
      WeightsUpdate update{runner};
      if (runner.model_.updating.exchange(true)) {
        update.runner_ = nullptr;
        return detail::WeightsAccess<Runner>{runner}.updating();
      }
      AOTI_TRYV(update.fit().learn_shapes(update.expected_, update.current_));
      return update;
    });
  }

  WeightsUpdate(WeightsUpdate&& other) noexcept
      : runner_{std::exchange(other.runner_, nullptr)},
        tensors_{std::move(other.tensors_)},
        names_{std::move(other.names_)},
        current_{std::move(other.current_)},
        expected_{std::move(other.expected_)} {}
  WeightsUpdate& operator=(WeightsUpdate&&) = delete;
  ~WeightsUpdate() { end(); }

  /// Sets a weight to a copy of a tensor, which may lie on the CPU or on the model's device and
  /// have any strides. The copy is made on the current stream, and is complete on return.
  /// @param name the FQN, one of Constant::aliases, or the name inside the compiled code. A name
  ///        that the model does not depend on, according to the package, is accepted and has no
  ///        effect
  /// @errors bad_state (committed already), no_such_constant, undefined_tensor, constant_dtype,
  ///         constant_shape, constant_layout (not strided), constant_device, out_of_memory;
  ///         constant_conflict (it was set to other values under another of its names)
  /// @allocates the copy
  Result<void> set(std::string_view name, const Tensor& tensor) {
    return put("WeightsUpdate::set", name, tensor,
               [&](const Constant& constant) { return fit().copy_of(constant, tensor); });
  }

  /// Sets a weight to a tensor itself, without a copy. Its storage is kept alive through the
  /// tensor's reference count; memory that the tensor only borrows must live as long as the model
  /// uses it. Writing to it changes the model's weight, even during a run.
  /// @errors as set; constant_layout (its strides are not those of the compiled code),
  ///         constant_device (it is not where the model keeps that constant, see
  ///         Constant::device), unsupported (before torch 2.8)
  Result<void> share(std::string_view name, const Tensor& tensor) {
    return put("WeightsUpdate::share", name, tensor,
               [&](const Constant& constant) { return fit().shared_handle(constant, tensor); });
  }

  /// Sets all weights to copies from a blob in the format of packages: each weight at its
  /// Constant::offset.
  /// @errors invalid_argument (its size is not that of all constants together), unsupported (their
  ///         shapes or offsets are not known), out_of_memory
  Result<void> set_blob(Bytes blob) {
    return detail::guard(Errc::model_threw, "WeightsUpdate::set_blob",
                         [&] { return put_blob(blob); });
  }
  /// The same from a file, which is memory-mapped during the call.
  /// @errors as above, not_found
  Result<void> set_blob(const std::string& path) {
    return detail::guard(Errc::model_threw, "WeightsUpdate::set_blob", [&]() -> Result<void> {
      AOTI_TRY(const auto mapping, Mapping::open(path));
      return put_blob(mapping.bytes());
    });
  }

  /// Fails unless this update sets all weights. As in torch, buffers, plain tensors and parameters
  /// without elements may be left out.
  /// @errors bad_state (ended already), missing_constants (names all of them)
  Result<void> expect_all() const {
    if (runner_ == nullptr) return ended();
    return detail::guard(Errc::model_threw, "WeightsUpdate::expect_all", [&]() -> Result<void> {
      std::vector<std::string_view> missing;
      for (std::size_t i = 0; i < expected_.size(); ++i) {
        const Constant& constant = expected_[i];
        if (tensors_.handles[i] == nullptr && is_needed(constant)) missing.push_back(constant.fqn);
      }
      if (missing.empty()) return success();
      return Error{Errc::missing_constants, runner_->origin(),
                   detail::concat({"expected all parameters; there is no tensor for ",
                                   detail::join(missing)})};
    });
  }

  /// Gives the model the new weights, folds on the stream, lets the model run on them, and frees
  /// the old ones. Ends this update, whether it succeeds or not. If folding fails, a concurrent run
  /// at that moment may see weights of both sets: compiled models offer no way to prevent it.
  ///
  /// New weights are ready before a run can see them. Old ones are freed once the device has
  /// finished with them. If it cannot be waited for (XPU, MPS), they are freed when the next set
  /// comes: runs on other streams that use them must be done by then.
  /// @errors bad_state (ended already, or an exclusive runner is in use), missing_constants (the
  ///         model had no weights and some are still missing, or derived ones are),
  ///         constant_layout (one that the model writes to shares memory with another),
  ///         unsupported, out_of_memory, model_failed, model_threw
  Result<void> commit(Stream stream = {}) {
    const auto body = [&](AOTInductorStreamHandle native) -> Result<void> {
      AOTI_TRYV(write(native));
      if (auto done = swap(); !done) {
        access().sets().abandon();  // no later update may build on these
        return done;
      }
      // The update is complete; what cannot be freed now is freed when the next set takes its
      // place.
      static_cast<void>(access().observed(
          Event::free, [&] { return access().free_inactive(); }, 0, true));
      return success();
    };
    return finish("WeightsUpdate::commit", stream, false, body);
  }

  /// Gives the model the new weights and folds, but lets it run on the old ones: swap_weights()
  /// changes over, and back again. Ends this update, whether it succeeds or not. If writing fails,
  /// what was staged before is lost, too.
  /// @errors as commit
  Result<void> stage(Stream stream = {}) {
    return finish("WeightsUpdate::stage", stream, true,
                  [&](AOTInductorStreamHandle native) { return write(native); });
  }

 private:
  using Access = detail::WeightsAccess<Runner>;

  explicit WeightsUpdate(Runner& runner)
      : runner_{&runner},
        tensors_{runner.constants().size()},
        names_(runner.constants().size()),
        current_{},
        expected_{} {}

  Access access() const { return Access{*runner_}; }
  detail::WeightFit<Runner> fit() const { return {{access()}}; }
  auto& model() const { return runner_->model_; }

  void end() noexcept {
    tensors_.clear();
    if (runner_ != nullptr) model().updating.store(false);
    runner_ = nullptr;
  }

  [[gnu::cold]] static Error ended() {
    return {Errc::bad_state, "WeightsUpdate", "the update was ended or moved from"};
  }

  static bool is_needed(const Constant& constant) {
    return !constant.folded && constant.kind != ConstantKind::buffer &&
           constant.kind != ConstantKind::tensor &&
           !(constant.kind == ConstantKind::parameter && constant.described &&
             detail::extent(constant.shape, constant.strides, constant.dtype) == 0);
  }

  /// `make(constant)` makes the handle for each constant of that name, since tied weights share an
  /// FQN.
  template <class Make>
  Result<void> put(const char* operation, std::string_view name, const Tensor& tensor,
                   Make&& make) {
    return detail::guard(Errc::model_threw, operation, [&]() -> Result<void> {
      if (runner_ == nullptr) return ended();
      [[maybe_unused]] const detail::PreparingOf<Runtime> preparing;
      detail::OwnedHandles<Runtime> made{expected_.size()};
      bool known = false;
      for (const auto is_named : {&detail::has_fqn, &detail::has_own_name}) {
        for (std::size_t i = 0; i < expected_.size(); ++i) {
          const Constant& constant = expected_[i];
          if (constant.folded || !is_named(constant, name)) continue;
          known = true;
          AOTI_TRYV(fit().check(constant, tensor));
          AOTI_TRY(made.handles[i], make(constant));
          AOTI_TRYV(expect_one_value(i, name, made.handles[i]));
        }
        if (known) break;
      }
      if (!known) {
        return detail::not_a_constant(name, expected_, runner_->spec(), runner_->origin());
      }
      for (std::size_t i = 0; i < expected_.size(); ++i) {
        if (made.handles[i] == nullptr) continue;
        const bool again = tensors_.handles[i] != nullptr && names_[i] && *names_[i] != name;
        std::swap(tensors_.handles[i], made.handles[i]);
        names_[i] = std::string{again ? std::string_view{} : name};
      }
      return success();
    });
  }

  /// Tied weights are one constant, so values set under several of its names must be the same.
  Result<void> expect_one_value(std::size_t i, std::string_view name, AtenTensorHandle tensor) {
    const AtenTensorHandle before = tensors_.handles[i];
    if (before == nullptr || !names_[i] || *names_[i] == name || expected_[i].aliases.empty()) {
      return success();
    }
    return fit().expect_one_value(expected_[i], before, tensor);
  }

  Result<void> put_blob(Bytes blob) {
    if (runner_ == nullptr) return ended();
    [[maybe_unused]] const detail::PreparingOf<Runtime> preparing;
    detail::OwnedHandles<Runtime> made{expected_.size()};
    AOTI_TRYV(fit().copy_all(blob, expected_, made.handles));
    std::swap(tensors_.handles, made.handles);
    names_.assign(names_.size(), std::nullopt);
    return success();
  }

  template <class Body>
  Result<void> finish(const char* operation, Stream stream, bool inactive, Body&& body) {
    if (runner_ == nullptr) return ended();
    std::size_t count = 0;
    for (const AtenTensorHandle tensor : tensors_.handles) count += tensor != nullptr;
    const auto all = [&]() -> Result<void> {
      auto result = access().alone(operation, stream, body);
      if (!result) return model().explained(std::move(result).error());
      return success();
    };
    auto done = access().observed(
        Event::update, [&] { return detail::guard(Errc::model_threw, operation, all); }, count,
        inactive);
    end();
    return done;
  }

  Result<void> swap() {
    return access().observed(Event::swap, [&] { return access().swap(); });
  }

  /// Writes the inactive set: the tensors that were set; for the rest, those staged there, else
  /// those in use.
  Result<void> write(AOTInductorStreamHandle stream) {
    AOTI_TRYV(fit().expect_derived(expected_, tensors_.handles));
    detail::WeightSets& sets = access().sets();
    std::vector<AtenTensorHandle> waiting(expected_.size(), nullptr);
    if (sets.is_staged()) {
      auto done = access().extract(WeightSet::inactive, waiting);
      if (!done && done.error().code() != Errc::unsupported) return done;
    }
    std::vector<char> in_block(expected_.size(), 0);
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i] != nullptr && tensors_.handles[i] == nullptr) {
        in_block[i] = sets.is_in_block(WeightSet::inactive, i);
      }
    }
    AOTI_TRYV(access().own(waiting, tensors_.handles));
    std::vector<AtenTensorHandle> all = tensors_.handles;
    std::vector<std::string_view> missing;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (expected_[i].folded || all[i] != nullptr) continue;
      all[i] = current_[i];
      in_block[i] = sets.is_in_block(WeightSet::active, i);
      if (all[i] == nullptr) missing.push_back(expected_[i].fqn);
    }
    if (!missing.empty()) {
      return Error{Errc::missing_constants, runner_->origin(),
                   detail::concat({"the model has no tensor for ", detail::join(missing)})};
    }
    AOTI_TRYV(fit().expect_apart(expected_, all, tensors_.handles));
    repack();
    AOTI_TRYV(access().settle());
    sets.begin(std::move(in_block));
    auto filled = detail::guard(Errc::model_threw, "WeightsUpdate",
                                [&] { return fill_inactive(all, stream); });
    if (!filled) {
      access().abandon();
      return filled;
    }
    sets.stage();
    return success();
  }

  /// Packs the tensors that were set as those that they replace are packed, so that no run has to.
  void repack() const {
    for (std::size_t i = 0; i < current_.size(); ++i) {
      const AtenTensorHandle made = tensors_.handles[i];
      if (made != nullptr && current_[i] != nullptr) detail::repack<Runtime>(made, current_[i]);
    }
  }

  Result<void> fill_inactive(const std::vector<AtenTensorHandle>& all,
                             AOTInductorStreamHandle stream) {
    AOTI_TRYV(access().prepare_inactive(stream));
    AOTI_TRYV(access().give(all));
    return access().fold_inactive(all, stream);
  }

  Runner* runner_;
  detail::OwnedHandles<Runtime> tensors_;  // the tensors that were set, by constant
  // The names they were set under: empty for several names, none for a blob.
  std::vector<std::optional<std::string>> names_;
  std::vector<AtenTensorHandle> current_;  // the tensors that the model uses, and owns
  std::vector<Constant> expected_;
};

/// Begins a change of a runner's weights: `auto update = aoti::update_weights(runner)`.
/// @errors bad_state (another one is open), out_of_memory
template <class Runner> Result<WeightsUpdate<Runner>> update_weights(Runner& runner) {
  return WeightsUpdate<Runner>::begin(runner);
}

}  // namespace aoti::inline AOTI_ABI
