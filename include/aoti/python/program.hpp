// SPDX-License-Identifier: BSD-3-Clause
// A model on any device, opened with the policy for it, as the Python classes use it.
#pragma once

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/aoti.hpp"
#include "aoti/changeable_runner.hpp"
#include "aoti/package/device_key.hpp"
#include "aoti/python/operators.hpp"

namespace aoti::inline AOTI_ABI::python {

using Tensors = std::vector<at::Tensor>;
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// How weights are replaced.
struct Update {
  WeightSet set = WeightSet::active;
  bool full = false;   ///< Whether all parameters must be given; buffers are optional.
  bool share = false;  ///< Whether the model uses the tensors themselves.
};

/// What a Python object holds. Zeroed, since Python can make objects without calling __init__.
struct Zeroed {
  static void* operator new(std::size_t size) { return std::memset(::operator new(size), 0, size); }
  static void* operator new(std::size_t, void* place) noexcept { return place; }
};

class Program;

/// A call of a program by this thread, during its lifetime; linked to the call that it is nested
/// in.
struct ActiveCall {
  explicit ActiveCall(const Program* called) noexcept : program{called}, outer{innermost} {
    innermost = this;
  }
  ActiveCall(const ActiveCall&) = delete;
  ~ActiveCall() { innermost = outer; }

  const Program* program;
  const ActiveCall* outer;
  inline static constinit thread_local const ActiveCall* innermost = nullptr;
};

/// A runner that any number of threads may call. With exclusive access, calls wait for one another
/// here, which costs less than in the model. None of the functions needs the GIL. A run is on the
/// stream with the given handle; null means the current one.
class Program : public std::enable_shared_from_this<Program> {
 public:
  using Runner = aoti::detail::ChangeableRunner<LibtorchWithPython>;

  Program(std::unique_ptr<Runner> runner, Access access)
      : runner_{std::move(runner)}, access_{access} {
    const ModelSpec* const spec = runner_->spec();
    for (std::size_t i = 0; spec != nullptr && i < spec->inputs.size(); ++i) {
      if (spec->inputs[i].mutated) mutated_.push_back(i);
    }
  }

  Result<void> run(std::span<const at::Tensor> inputs, std::span<at::Tensor> outputs,
                   void* stream) const {
    return in_turn([&]() -> Result<void> { return runner_->run_into(inputs, outputs, stream); });
  }
  /// Takes over the inputs.
  Result<Tensors> boxed_run(std::span<at::Tensor> inputs, void* stream) const {
    return in_turn([&]() -> Result<Tensors> { return runner_->boxed_run(inputs, stream); });
  }

  std::size_t input_count() const { return runner_->input_count(); }
  std::size_t output_count() const { return runner_->output_count(); }
  /// As Container::call_spec_texts.
  Result<std::array<std::string, 2>> call_spec() const {
    return runner_->container().call_spec_texts();
  }
  /// The inputs that the model writes to, as far as the package says.
  const std::vector<std::size_t>& mutated_inputs() const { return mutated_; }
  const Metadata& metadata() const { return runner_->metadata(); }
  const std::vector<Constant>& constants() const { return runner_->container().constants(); }
  const std::vector<std::pair<std::string, c10::IValue>>& custom_objects() const {
    return runner_->operators().objects();
  }
  std::string_view device_key() const { return runner_->device_key(); }

  WeightsState weights_state() const { return runner_->container().weight_sets().state(); }
  /// Copies of the weights.
  Result<NamedTensors> weights(WeightSet set) {
    return with_weights([&]() -> Result<NamedTensors> {
      return named_weights(set, [](const at::Tensor& tensor) { return tensor.clone(); });
    });
  }
  /// Tensors in the model's memory, which they keep alive, even if the model gets other weights.
  Result<NamedTensors> lend_weights(WeightSet set) {
    return with_weights([&]() -> Result<NamedTensors> {
      std::shared_ptr<Lease> lease = lease_.lock();
      if (lease == nullptr) {
        lease_ = lease = std::make_shared<Lease>(shared_from_this());
        lent_.clear();
      }
      return named_weights(set, [&](const at::Tensor& tensor) {
        if (tensor.storage().data_ptr().get_context() != nullptr) {  // it owns its memory
          return tensor.variable_data();
        }
        lent_.push_back(tensor.data_ptr());
        return at::from_blob(
            tensor.data_ptr(), tensor.sizes(), tensor.strides(), [lease](void*) {},
            tensor.options());
      });
    });
  }
  /// Sets all of the tensors, or none if an error is returned.
  Result<void> update(const NamedTensors& tensors, Update how) {
    return with_weights([&]() -> Result<void> {
      std::vector<aoti::detail::GivenWeight<at::Tensor>> given;
      for (const auto& [name, tensor] : tensors) {
        // Lent tensors keep the model alive, and would do so forever from inside it.
        given.push_back({name, tensor, how.share && !is_lent(tensor)});
      }
      return runner_->replace(given, how.set, how.full);
    });
  }
  Result<void> update_from_blob(const std::string& path) {
    return with_weights([&]() -> Result<void> { return runner_->replace_all(path); });
  }
  Result<void> swap_weights() {
    return with_weights([&]() -> Result<void> { return runner_->swap(); });
  }
  Result<void> free_inactive_weights() {
    return with_weights([&]() -> Result<void> { return runner_->free_inactive(); });
  }

 private:
  /// Calls `body`; with exclusive access, while no other thread does. A call from inside a run,
  /// which an operator in Python may make, would deadlock.
  template <class Body> auto in_turn(Body&& body) const -> decltype(body()) {
    for (const auto* call = ActiveCall::innermost; call != nullptr; call = call->outer) {
      if (call->program != this) continue;
      return Error{Errc::bad_state, runner_->origin(),
                   "the model was called from inside one of its runs"};
    }
    std::unique_lock lock{mutex_, std::defer_lock};
    if (access_ == Access::exclusive) lock.lock();
    const ActiveCall call{this};
    return body();
  }
  /// The same for operations that only one thread at a time may do, even with shared access.
  template <class Body> auto with_weights(Body&& body) -> decltype(body()) {
    return in_turn([&]() -> decltype(body()) {
      const std::lock_guard lock{weights_mutex_};
      const LibtorchWithPython::Preparing preparing;
      runner_->lend(!lease_.expired());
      return body();
    });
  }

  bool is_lent(const at::Tensor& tensor) const {
    return !lent_.empty() && tensor.has_storage() &&
           std::find(lent_.begin(), lent_.end(), tensor.data_ptr()) != lent_.end();
  }

  template <class Make> Result<NamedTensors> named_weights(WeightSet set, Make&& make) {
    AOTI_TRY(auto found, runner_->weights(set));
    NamedTensors tensors;
    for (const auto& [name, tensor] : found) tensors.emplace_back(name, make(tensor));
    return tensors;
  }

  std::unique_ptr<Runner> runner_;
  Access access_;
  std::vector<std::size_t> mutated_;
  mutable std::mutex mutex_;  // for runs with exclusive access
  std::mutex weights_mutex_;
  using Lease = std::shared_ptr<Program>;
  std::weak_ptr<Lease> lease_;     // on the memory of weights that others use
  std::vector<const void*> lent_;  // the addresses of that memory
};

/// Opens a package, a model of one, a bare shared object or a path for one kind of device.
/// @errors those of Runner::open
template <DevicePolicy Device, class Source>
Result<std::unique_ptr<Program>> open_program_on(const Source& source, const OpenOptions& choice) {
  const Access access =
      choice.instances == 1 && !choice.stream_affinity ? Access::exclusive : Access::shared;
  AOTI_TRY(auto runner, (aoti::detail::open_changeable<Device, LibtorchWithPython, false>(
                            source, choice, access)));
  return std::make_unique<Program>(std::move(runner), access);
}

/// Opens a package with the policy for the device that it was compiled for.
/// @errors as above; wrong_device (none of the policies has its key)
template <DevicePolicy... Devices>
Result<std::unique_ptr<Program>> open_program(const Package& package, const OpenOptions& choice) {
  AOTI_TRY(auto model, package.model(choice.model));
  return aoti::detail::with_policy_for<Devices...>(
      model, [&]<class Device>() { return open_program_on<Device>(model, choice); });
}

}  // namespace aoti::inline AOTI_ABI::python
