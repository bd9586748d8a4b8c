// SPDX-License-Identifier: BSD-3-Clause
// A running model's weights: read, replaced in one step, swapped, freed. Included by those who do
// so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/runner.hpp"
#include "aoti/weights/copies.hpp"
#include "aoti/weights/names.hpp"

namespace aoti {

/// A change of a runner's weights that happens as a whole or not at all. Tensors are checked when
/// they are set and held here; the model sees them when commit() or stage() is called. Whatever
/// goes wrong, and when this object dies without a commit, the model runs on as it did. What is not
/// set stays as it is: as stage() left it, until that set is swapped in or freed, else as the model
/// runs on.
///
/// Constants that were computed from weights when the model was compiled (Constant::derived) do not
/// follow the weights. Where the package tells of such, as those of aoti.export do, an update that
/// sets other weights must set all of these, too.
///
/// One at a time for each runner, which must neither be moved nor destroyed meanwhile; used by one
/// thread. With Access::shared, other threads may run the model during all of it, and each run uses
/// one set of weights throughout. With exclusive access, commit() and stage() are calls like a run.
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
      if (auto done = update.learn_shapes(); !done) return std::move(done).error();
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
  /// have any strides. The copy is made on the stream that is current, and done on return.
  /// @param name the FQN, one of Constant::aliases, or the name inside the compiled code. One that
  ///        the model does not depend on, as the package tells, is taken and does nothing
  /// @errors bad_state (committed already), no_such_constant, undefined_tensor, constant_dtype,
  ///         constant_shape, constant_layout (not strided), constant_device, out_of_memory;
  ///         constant_conflict (it was set to other values under another of its names)
  /// @allocates the copy
  Result<void> set(std::string_view name, const Tensor& tensor) {
    return put("WeightsUpdate::set", name, tensor,
               [&](const Constant& constant) { return copy_of(constant, tensor); });
  }

  /// Sets a weight to a tensor itself, without a copy. Its storage is kept alive through the
  /// tensor's reference count; memory that the tensor only borrows must live as long as the model
  /// uses it. Writing to it changes the model's weight, also during a run.
  /// @errors as set; constant_layout (its strides are not those of the compiled code),
  ///         constant_device (it is not where the model keeps that constant, see
  ///         Constant::device), unsupported (before torch 2.8)
  Result<void> share(std::string_view name, const Tensor& tensor) {
    return put("WeightsUpdate::share", name, tensor,
               [&](const Constant& constant) { return shared_handle(constant, tensor); });
  }

  /// Sets all weights to copies from a blob as packages hold it, in which each lies where
  /// Constant::offset says.
  /// @errors invalid_argument (it has another size than the constants together), unsupported (their
  ///         shapes or places are not known), out_of_memory
  Result<void> set_blob(Bytes blob) {
    return detail::guard(Errc::model_threw, "WeightsUpdate::set_blob",
                         [&] { return put_blob(blob); });
  }
  /// The same from a file, which is mapped during the call.
  /// @errors as above, not_found
  Result<void> set_blob(const std::string& path) {
    return detail::guard(Errc::model_threw, "WeightsUpdate::set_blob", [&]() -> Result<void> {
      auto mapping = Mapping::open(path);
      if (!mapping) return std::move(mapping).error();
      return put_blob(mapping.value().bytes());
    });
  }

  /// Fails unless this update sets all weights. As torch has it, buffers and parameters without
  /// elements need not be among them.
  /// @errors bad_state (ended already), missing_constants (all of their names)
  Result<void> expect_all() const {
    if (runner_ == nullptr) return ended();
    std::vector<std::string_view> missing;
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      const Constant& constant = expected_[i];
      if (tensors_.handles[i] == nullptr && is_needed(constant)) missing.push_back(constant.fqn);
    }
    if (missing.empty()) return success();
    return Error{Errc::missing_constants, runner_->origin(),
                 detail::concat({"all parameters are to be updated; there is no tensor for ",
                                 detail::join(missing)})};
  }

  /// Gives the model the new weights, folds on the stream, lets it run on them, and frees the old
  /// ones. Ends this update, whether it succeeds or not. When folding fails, a run of another
  /// thread in that instant may find weights of both sets: compiled models leave no way to prevent
  /// it.
  ///
  /// New weights are ready before a run can find them. Old ones are freed once the device has done
  /// with them. Where it cannot be waited for (XPU, MPS) they go when the next set comes: runs on
  /// other streams that use them must be done by then.
  /// @errors bad_state (ended already, or an exclusive runner is in use), missing_constants (the
  ///         model had no weights and some are still missing, or derived ones are),
  ///         constant_layout (one that the model writes to shares memory with another),
  ///         unsupported, out_of_memory, model_failed, model_threw
  Result<void> commit(Stream stream = {}) {
    const auto body = [&](AOTInductorStreamHandle native) -> Result<void> {
      if (auto done = write(native); !done) return done;
      if (auto done = swap(); !done) return done;
      // From here on all is done; what cannot be freed now is when the next set takes its place.
      static_cast<void>(access().observed(
          Event::free, [&] { return access().free_inactive(); }, 0, true));
      return success();
    };
    return finish("WeightsUpdate::commit", stream, false, body);
  }

  /// Gives the model the new weights and folds, but lets it run on the old ones: swap_weights()
  /// changes over, and back again. Ends this update, whether it succeeds or not. Where writing
  /// fails, what was staged before is gone, too.
  /// @errors as commit
  Result<void> stage(Stream stream = {}) {
    return finish("WeightsUpdate::stage", stream, true,
                  [&](AOTInductorStreamHandle native) { return write(native); });
  }

 private:
  using Access = detail::WeightsAccess<Runner>;
  using Device = typename Runner::DevicePolicy;

  explicit WeightsUpdate(Runner& runner)
      : runner_{&runner},
        tensors_{runner.constants().size()},
        names_(runner.constants().size()),
        current_{},
        expected_{} {}

  Access access() const { return Access{*runner_}; }
  detail::WeightCopies<Runner> copies() const { return {access()}; }
  auto& model() const { return runner_->model_; }
  const std::vector<Constant>& constants() const { return runner_->constants(); }

  void end() noexcept {
    tensors_.clear();
    if (runner_ != nullptr) model().updating.store(false);
    runner_ = nullptr;
  }

  [[gnu::cold]] static Error ended() {
    return {Errc::bad_state, "WeightsUpdate", "the update was ended or moved from"};
  }
  [[gnu::cold]] static Error wrong(Errc code, const Constant& constant, std::string text) {
    return detail::wrong_weight(code, constant, std::move(text));
  }

  static bool is_needed(const Constant& constant) {
    return !constant.folded && constant.kind != ConstantKind::buffer &&
           constant.kind != ConstantKind::tensor &&
           !(constant.kind == ConstantKind::parameter && constant.described &&
             detail::extent(constant.shape, constant.strides, constant.dtype) == 0);
  }
  /// Completes what is known of shapes and devices by the tensors that the model holds.
  Result<void> learn_shapes() {
    expected_ = constants();
    if (runner_->weights_state() == WeightsState::none) {
      current_.assign(expected_.size(), nullptr);
      return success();
    }
    if (auto done = access().extract(Buffer::active, current_); !done) {
      if (done.error().code() != Errc::unsupported) return done;
      current_.assign(expected_.size(), nullptr);
    }
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      Constant& constant = expected_[i];
      if (current_[i] == nullptr) continue;
      const Tensor& tensor = Runtime::peek(current_[i]);
      if (!constant.device) constant.device = Runtime::device(tensor);
      if (constant.described || !Runtime::is_strided(tensor)) continue;
      const auto sizes = Runtime::sizes(tensor), strides = Runtime::strides(tensor);
      detail::describe(constant, {sizes.begin(), sizes.end()}, {strides.begin(), strides.end()});
    }
    return success();
  }

  /// `make(constant)` makes the handle for each constant of that name: tied weights share an FQN.
  template <class Make>
  Result<void> put(const char* operation, std::string_view name, const Tensor& tensor,
                   Make&& make) {
    return detail::guard(Errc::model_threw, operation, [&]() -> Result<void> {
      if (runner_ == nullptr) return ended();
      [[maybe_unused]] const typename detail::PreparingOf<Runtime>::type preparing;
      detail::OwnedHandles<Runtime> made{expected_.size()};
      bool known = false;
      for (const auto is_named : {&detail::has_fqn<>, &detail::has_own_name<>}) {
        for (std::size_t i = 0; i < expected_.size(); ++i) {
          const Constant& constant = expected_[i];
          if (constant.folded || !is_named(constant, name)) continue;
          known = true;
          if (auto done = check(constant, tensor); !done) return done;
          auto handle = make(constant);
          if (!handle) return std::move(handle).error();
          made.handles[i] = handle.value();
          if (auto done = expect_one_value(i, name, handle.value()); !done) return done;
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

  /// Weights that were tied have one place: what is set under several names must be the same.
  Result<void> expect_one_value(std::size_t i, std::string_view name, AtenTensorHandle tensor) {
    const AtenTensorHandle before = tensors_.handles[i];
    if (before == nullptr || !names_[i] || *names_[i] == name || expected_[i].aliases.empty()) {
      return success();
    }
    auto same = copies().are_same(expected_[i], before, tensor);
    if (!same) return std::move(same).error();
    if (same.value()) return success();
    return wrong(Errc::constant_conflict, expected_[i],
                 detail::concat({"it is one weight with ", detail::join(expected_[i].aliases),
                                 ", and was set to other values under another of these names; "
                                 "export the module with both untied"}));
  }

  Result<void> check(const Constant& constant, const Tensor& tensor) const {
    if (!Runtime::is_defined(tensor)) {
      return wrong(Errc::undefined_tensor, constant, "the tensor is undefined");
    }
    if (!Runtime::is_strided(tensor)) {
      return wrong(
          Errc::constant_layout, constant,
          detail::describe_layout<Runtime>(tensor, "found a tensor that is not a strided one"));
    }
    if (Runtime::dtype(tensor) != constant.dtype) {
      return wrong(Errc::constant_dtype, constant,
                   detail::concat({"found ", to_string(Runtime::dtype(tensor)), ", expected ",
                                   to_string(constant.dtype)}));
    }
    const DeviceType device = Runtime::device(tensor);
    if (device != Device::type && device != DeviceType::cpu) {
      constexpr bool on_cpu = Device::type == DeviceType::cpu;
      return wrong(Errc::constant_device, constant,
                   detail::concat({"found a tensor on ", to_string(device), ", expected one on ",
                                   to_string(Device::type), on_cpu ? "" : " or cpu"}));
    }
    if (!constant.described) {
      return wrong(Errc::unsupported, constant,
                   "neither the model nor its package tells the shape, so it cannot be checked");
    }
    const auto sizes = Runtime::sizes(tensor);
    bool same = sizes.size() == constant.shape.size();
    for (std::size_t d = 0; same && d < sizes.size(); ++d) same = sizes[d] == constant.shape[d];
    if (same) return success();
    return wrong(Errc::constant_shape, constant,
                 detail::concat({"found the shape [", detail::join(sizes), "], expected [",
                                 detail::join(constant.shape), "]"}));
  }

  /// A new tensor where the model keeps it, laid out as the compiled code assumes.
  Result<AtenTensorHandle> copy_of(const Constant& constant, const Tensor& tensor) const {
    detail::OwnedHandles<Runtime> source{1};
    if constexpr (requires { Runtime::detached(tensor); }) {
      source.handles[0] = Runtime::give(Runtime::detached(tensor));
    } else {
      source.handles[0] = Runtime::share(tensor);
    }
    return copies().copied(constant, source.handles[0]);
  }

  Result<AtenTensorHandle> shared_handle(const Constant& constant, const Tensor& tensor) const {
    if (!model().container.traits().keeps_tensors) {
      return wrong(Errc::unsupported, constant, "models before torch 2.8 copy what they are given");
    }
    if (Runtime::device(tensor) != copies().place(constant)) {
      return wrong(Errc::constant_device, constant,
                   detail::concat({"found a tensor on ", to_string(Runtime::device(tensor)),
                                   ", expected one on ", to_string(copies().place(constant))}));
    }
    if constexpr (detail::knows_index<Device, Runtime>) {
      if (detail::is_elsewhere<Device, Runtime>(tensor, model().device)) {
        return wrong(Errc::constant_device, constant,
                     detail::describe_elsewhere<Device, Runtime>(tensor, model().device));
      }
    }
    const auto strides = Runtime::strides(tensor);
    for (std::size_t d = 0; d < strides.size(); ++d) {
      if (constant.shape[d] <= 1 || strides[d] == constant.strides[d]) continue;
      return wrong(Errc::constant_layout, constant,
                   detail::concat({"found the strides [", detail::join(strides), "], expected [",
                                   detail::join(constant.strides), "]; set() copies"}));
    }
    AtenTensorHandle handle = nullptr;
    if constexpr (requires { Runtime::writable(tensor); }) {
      handle = Runtime::give(Runtime::writable(tensor));
    } else {
      handle = Runtime::share(tensor);
    }
    if (handle == nullptr) return Error{Errc::out_of_memory};
    return handle;
  }

  Result<void> put_blob(Bytes blob) {
    if (runner_ == nullptr) return ended();
    [[maybe_unused]] const typename detail::PreparingOf<Runtime>::type preparing;
    if (abi::resolve<Runtime, abi::imported::create_tensor_from_blob>() == nullptr) {
      return Error{Errc::unsupported, runner_->origin(), "the tensor runtime cannot read a blob"};
    }
    if (!model().container.traits().tells_sizes) {
      return abi::detail::unsupported(abi::export_row<&abi::ModelExports::get_constant_data_size>);
    }
    std::size_t size = 0;
    for (const Constant& constant : expected_) {
      if (constant.folded) continue;
      size += constant.bytes;
    }
    if (size != blob.size()) {
      return Error{Errc::invalid_argument, runner_->origin(),
                   detail::concat({"found a blob of ", blob.size(), " bytes, expected ", size})};
    }
    detail::OwnedHandles<Runtime> made{expected_.size()};
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      const Constant& constant = expected_[i];
      if (constant.folded) continue;
      if (!detail::lies_within(constant, blob)) {
        return wrong(Errc::unsupported, constant,
                     "neither the model nor its package tells where in a blob it lies");
      }
      detail::OwnedHandles<Runtime> view{1};
      static_cast<void>(detail::view_in_blob<Runtime>(constant, blob.data(), view.handles[0]));
      auto copy = copies().copied(constant, view.handles[0]);
      if (!copy) return std::move(copy).error();
      made.handles[i] = copy.value();
    }
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

  Result<void> expect_derived() const {
    bool others = false;
    std::vector<std::string_view> missing;
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      const bool set = tensors_.handles[i] != nullptr;
      others |= set && !expected_[i].derived;
      if (!set && expected_[i].derived) missing.push_back(expected_[i].fqn);
    }
    if (!others || missing.empty()) return success();
    std::string text =
        detail::concat({"the model was compiled with copies of weights, which must be set with the "
                        "others; there is no tensor for ",
                        detail::join(missing)});
    if (const ModelSpec* spec = runner_->spec(); spec != nullptr && !spec->fixed.empty()) {
      text += detail::concat({"; these do not follow: ", detail::join(spec->fixed)});
    }
    return Error{Errc::missing_constants, runner_->origin(), std::move(text)};
  }

  Result<void> swap() {
    return access().observed(Event::swap, [&] { return access().swap(); });
  }

  /// Writes the inactive set: what was set, and for the rest the tensors that wait there, else
  /// those in use.
  Result<void> write(AOTInductorStreamHandle stream) {
    if (auto done = expect_derived(); !done) return done;
    detail::WeightSets& sets = access().sets();
    std::vector<AtenTensorHandle> waiting(expected_.size(), nullptr);
    if (sets.is_staged()) {
      auto done = access().extract(Buffer::inactive, waiting);
      if (!done && done.error().code() != Errc::unsupported) return done;
    }
    std::vector<char> in_block(expected_.size(), 0);
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i] != nullptr && tensors_.handles[i] == nullptr) {
        in_block[i] = sets.is_in_block(Buffer::inactive, i);
      }
    }
    if (auto done = access().own(waiting, tensors_.handles); !done) return done;
    std::vector<AtenTensorHandle> all = tensors_.handles;
    std::vector<std::string_view> missing;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (expected_[i].folded || all[i] != nullptr) continue;
      all[i] = current_[i];
      in_block[i] = sets.is_in_block(Buffer::active, i);
      if (all[i] == nullptr) missing.push_back(expected_[i].fqn);
    }
    if (!missing.empty()) {
      return Error{Errc::missing_constants, runner_->origin(),
                   detail::concat({"the model has no tensor for ", detail::join(missing)})};
    }
    if (auto done = expect_apart(all); !done) return done;
    if (auto done = access().settle(); !done) return done;
    sets.begin(std::move(in_block));
    if (auto done = fill_inactive(all, stream); !done) {
      access().abandon();
      return done;
    }
    sets.stage();
    return success();
  }

  /// Refuses shared weights in the memory of others, where the model writes to one of them.
  Result<void> expect_apart(const std::vector<AtenTensorHandle>& all) const {
    if (!model().writes) return success();
    std::pair<std::size_t, std::size_t> found;
    const auto weights = detail::WeightsInUse::of<Runtime>(expected_, all);
    if (!detail::find_overlap<Runtime>(weights, tensors_.handles, found)) return success();
    return wrong(
        Errc::constant_layout, expected_[found.first],
        detail::concat({"found memory that is also that of weight '", expected_[found.second].fqn,
                        "', expected memory of its own, since the model writes to it; "
                        "set() copies"}));
  }

  Result<void> fill_inactive(const std::vector<AtenTensorHandle>& all,
                             AOTInductorStreamHandle stream) {
    if (auto done = access().prepare_inactive(stream); !done) return done;
    if (auto done = access().give(all); !done) return done;
    return access().fold_inactive(all, stream);
  }

  Runner* runner_;
  detail::OwnedHandles<Runtime> tensors_;  // what was set, by the constants' indices
  // And under which name: an empty one for several, none for a blob.
  std::vector<std::optional<std::string>> names_;
  std::vector<AtenTensorHandle> current_;  // what the model uses; its own
  std::vector<Constant> expected_;
};

/// Begins a change of a runner's weights: `auto update = aoti::update_weights(runner)`.
/// @errors bad_state (another one is open), out_of_memory
template <class Runner> Result<WeightsUpdate<Runner>> update_weights(Runner& runner) {
  return WeightsUpdate<Runner>::begin(runner);
}

}  // namespace aoti
