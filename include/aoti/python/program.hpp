// SPDX-License-Identifier: BSD-3-Clause
// An open model of whichever device, as the Python classes use it.
#pragma once

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/aoti.hpp"
#include "aoti/package/device_key.hpp"
#include "aoti/python/operators.hpp"
#include "aoti/weights.hpp"

namespace aoti::inline AOTI_ABI::python {

using Tensors = std::vector<at::Tensor>;
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

using Update = aoti::detail::Replacement;

/// What an object in Python holds. Zeroed, since Python can make objects without their __init__.
struct Zeroed {
  static void* operator new(std::size_t size) { return std::memset(::operator new(size), 0, size); }
  static void* operator new(std::size_t, void* place) noexcept { return place; }
};

/// A Runner behind one interface. Any number of threads may call it. None of the functions needs
/// the GIL. A run is on the stream whose handle is given, or on the current one for null.
class Program : public std::enable_shared_from_this<Program> {
 public:
  Program() = default;
  Program(const Program&) = delete;
  virtual ~Program() = default;

  virtual Result<void> run(std::span<const at::Tensor> inputs, std::span<at::Tensor> outputs,
                           void* stream) const = 0;
  /// Takes the inputs over.
  virtual Result<Tensors> boxed_run(std::span<at::Tensor> inputs, void* stream) const = 0;

  virtual std::size_t input_count() const = 0;
  virtual std::size_t output_count() const = 0;
  /// The two texts of the model's call spec; empty where it has none.
  virtual Result<std::array<std::string, 2>> call_spec() const = 0;
  /// The inputs that the model writes to, as far as the package tells.
  virtual const std::vector<std::size_t>& mutated_inputs() const = 0;
  virtual const Metadata& metadata() const = 0;
  virtual const std::vector<Constant>& constants() const = 0;
  virtual const std::vector<std::pair<std::string, c10::IValue>>& custom_objects() const = 0;
  virtual std::string_view device_key() const = 0;

  virtual WeightsState weights_state() const = 0;
  /// Copies.
  virtual Result<NamedTensors> weights(WeightSet set) = 0;
  /// Tensors in the model's memory, which they keep alive, also where the model gets others.
  virtual Result<NamedTensors> lend_weights(WeightSet set) = 0;
  /// All of the tensors, or none where an error is returned.
  virtual Result<void> update(const NamedTensors& tensors, Update how) = 0;
  virtual Result<void> update_from_blob(const std::string& path) = 0;
  virtual Result<void> swap_weights() = 0;
  virtual Result<void> free_inactive_weights() = 0;
};

/// A call of a program by this thread, while it lives; the innermost of those that it is inside.
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

/// With exclusive access calls wait for one another here, which costs less than in the model.
template <DevicePolicy Device, Access access> class ProgramOf final : public Program {
  using Runner = aoti::Runner<Device, LibtorchWithPython,
                              Options{.access = access, .detect_concurrent_use = false}>;

 public:
  template <class Source>
  static Result<std::unique_ptr<Program>> open(const Source& source, const OpenOptions& choice) {
    auto runner = Runner::open(source, choice);
    if (!runner) return std::move(runner).error();
    return std::unique_ptr<Program>{new ProgramOf{std::move(runner).value()}};
  }

  Result<void> run(std::span<const at::Tensor> inputs, std::span<at::Tensor> outputs,
                   void* stream) const override {
    return in_turn([&]() -> Result<void> {
      return runner_.run_into(inputs, outputs, aoti::detail::stream_of<Device>(stream));
    });
  }
  Result<Tensors> boxed_run(std::span<at::Tensor> inputs, void* stream) const override {
    return in_turn([&]() -> Result<Tensors> {
      return runner_.boxed_run(inputs, aoti::detail::stream_of<Device>(stream));
    });
  }

  std::size_t input_count() const override { return runner_.input_count(); }
  std::size_t output_count() const override { return runner_.output_count(); }
  Result<std::array<std::string, 2>> call_spec() const override {
    const char* in = nullptr;
    const char* out = nullptr;
    auto done = runner_.container().template call<&abi::ModelExports::get_call_spec>(&in, &out);
    if (!done) return std::move(done).error();
    return std::array<std::string, 2>{in != nullptr ? in : "", out != nullptr ? out : ""};
  }
  const std::vector<std::size_t>& mutated_inputs() const override { return mutated_; }
  const Metadata& metadata() const override { return runner_.metadata(); }
  const std::vector<Constant>& constants() const override { return runner_.constants(); }
  const std::vector<std::pair<std::string, c10::IValue>>& custom_objects() const override {
    return runner_.operators().objects();
  }
  std::string_view device_key() const override { return Device::key; }

  WeightsState weights_state() const override { return runner_.weights_state(); }
  Result<NamedTensors> weights(WeightSet set) override {
    return with_weights([&]() -> Result<NamedTensors> {
      return named_weights(set, [](const at::Tensor& tensor) { return tensor.clone(); });
    });
  }
  Result<NamedTensors> lend_weights(WeightSet set) override {
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
  Result<void> update(const NamedTensors& tensors, Update how) override {
    return with_weights([&]() -> Result<void> {
      // What was lent keeps the model alive, and would do so for ever inside of it.
      return aoti::detail::replace_weights(
          runner_, tensors, how, [this](const at::Tensor& tensor) { return !is_lent(tensor); });
    });
  }
  Result<void> update_from_blob(const std::string& path) override {
    return with_weights(
        [&]() -> Result<void> { return aoti::detail::replace_weights(runner_, path); });
  }
  Result<void> swap_weights() override {
    return with_weights([&]() -> Result<void> { return aoti::swap_weights(runner_); });
  }
  Result<void> free_inactive_weights() override {
    return with_weights([&]() -> Result<void> { return aoti::free_inactive_weights(runner_); });
  }

 private:
  explicit ProgramOf(Runner runner) : runner_{std::move(runner)} {
    const ModelSpec* const spec = runner_.spec();
    for (std::size_t i = 0; spec != nullptr && i < spec->inputs.size(); ++i) {
      if (spec->inputs[i].mutated) mutated_.push_back(i);
    }
  }

  /// Calls `body`, with exclusive access while no other thread does. A call from inside a run,
  /// which an operator in Python may make, would wait for itself.
  template <class Body> auto in_turn(Body&& body) const -> decltype(body()) {
    for (const auto* call = ActiveCall::innermost; call != nullptr; call = call->outer) {
      if (call->program != this) continue;
      return Error{Errc::bad_state, runner_.origin(),
                   "the model was called from inside a run of it"};
    }
    std::unique_lock lock{mutex_, std::defer_lock};
    if constexpr (access == Access::exclusive) lock.lock();
    const ActiveCall call{this};
    return body();
  }
  /// The same for what one thread at a time may do even where several may run.
  template <class Body> auto with_weights(Body&& body) -> decltype(body()) {
    return in_turn([&]() -> decltype(body()) {
      const std::lock_guard lock{weights_mutex_};
      const LibtorchWithPython::Preparing preparing;
      aoti::detail::WeightsAccess<Runner>{runner_}.sets().lend(!lease_.expired());
      return body();
    });
  }

  bool is_lent(const at::Tensor& tensor) const {
    return !lent_.empty() && tensor.has_storage() &&
           std::find(lent_.begin(), lent_.end(), tensor.data_ptr()) != lent_.end();
  }

  template <class Make> Result<NamedTensors> named_weights(WeightSet set, Make&& make) {
    auto found = aoti::weights(runner_, set);
    if (!found) return std::move(found).error();
    NamedTensors tensors;
    for (const auto& [name, tensor] : found.value()) tensors.emplace_back(name, make(tensor));
    return tensors;
  }

  Runner runner_;
  std::vector<std::size_t> mutated_;
  mutable std::mutex mutex_;  // of runs, with exclusive access
  std::mutex weights_mutex_;
  using Lease = std::shared_ptr<Program>;
  std::weak_ptr<Lease> lease_;     // of the memory of weights that others use
  std::vector<const void*> lent_;  // where that is
};

/// Opens a package, a bare shared object or either's path for one kind of device.
/// @errors those of Runner::open
template <DevicePolicy Device, class Source>
Result<std::unique_ptr<Program>> open_program_on(const Source& source, const OpenOptions& choice) {
  return choice.instances == 1 && !choice.stream_affinity
             ? ProgramOf<Device, Access::exclusive>::open(source, choice)
             : ProgramOf<Device, Access::shared>::open(source, choice);
}

/// Opens a package with the policy for the device that it was compiled for.
/// @errors as above; wrong_device (none of the policies has its key)
template <DevicePolicy... Devices>
Result<std::unique_ptr<Program>> open_program(const Package& package, const OpenOptions& choice) {
  auto model = package.model(choice.model);
  if (!model) return std::move(model).error();
  const std::string_view key = aoti::detail::device_key(model.value());
  std::optional<Result<std::unique_ptr<Program>>> opened;
  const auto open_on = [&]<class Device>() {
    if (!opened && key == Device::key) opened = open_program_on<Device>(package, choice);
  };
  (open_on.template operator()<Devices>(), ...);
  if (opened) return std::move(*opened);
  return aoti::detail::no_policy_for(model.value(), key);
}

}  // namespace aoti::inline AOTI_ABI::python
