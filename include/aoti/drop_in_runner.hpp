// SPDX-License-Identifier: BSD-3-Clause
// The runner of a model on any device, with the members of torch's C++ class. Users include
// aoti/drop_in.hpp.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "aoti/aoti.hpp"
#include "aoti/changeable_runner.hpp"
#include "aoti/runtime/libtorch_operators.hpp"

namespace aoti::inline AOTI_ABI::drop_in {

using TensorConstantMap = std::unordered_map<std::string, at::Tensor*>;

/// What everything here throws: a std::runtime_error, as in torch when a model fails, with a code
/// and a sentence. For wrong arguments, torch throws a c10::Error instead.
class Error : public std::runtime_error {
 public:
  explicit Error(const aoti::Error& error)
      : std::runtime_error{error.message()}, code_{error.code()} {}
  Errc code() const noexcept { return code_; }

 private:
  Errc code_;
};

namespace detail {

using Tensors = std::vector<at::Tensor>;
using TensorMap = std::unordered_map<std::string, at::Tensor>;

template <class T> T value_of(Result<T> result) {
  if (!result) throw Error{result.error()};
  if constexpr (!std::same_as<T, void>) return std::move(result).value();
}

using Runner = aoti::detail::ChangeableRunner<LibtorchWithOperators>;

}  // namespace detail

/// A model on some device. Any number of threads may call it, and `num_models` of them run it at
/// once, even while one changes the weights. With `run_single_threaded`, which is faster, only one
/// thread at a time may call it, and a second one gets an Error.
class AOTIModelContainerRunner {
 public:
  AOTIModelContainerRunner(const AOTIModelContainerRunner&) = delete;
  AOTIModelContainerRunner& operator=(const AOTIModelContainerRunner&) = delete;
  virtual ~AOTIModelContainerRunner() = default;

  /// Runs on the stream with that handle, or on the thread's current stream.
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs,
                              void* stream_handle = nullptr) {
    return detail::value_of(runner_->run(inputs, stream_handle));
  }
  /// The same, but frees each input as soon as the model is done with it. The inputs are undefined
  /// tensors afterwards, unless the call is refused.
  std::vector<at::Tensor> boxed_run(std::vector<at::Tensor>&& inputs,
                                    void* stream_handle = nullptr) {
    return detail::value_of(runner_->boxed_run(inputs, stream_handle));
  }

  std::unordered_map<std::string, std::string> getConstantNamesToOriginalFQNs() const {
    std::unordered_map<std::string, std::string> names;
    for (const Constant& constant : constants()) names.emplace(constant.name, constant.fqn);
    return names;
  }
  std::unordered_map<std::string, std::int32_t> getConstantNamesToDtypes() const {
    std::unordered_map<std::string, std::int32_t> dtypes;
    for (const Constant& constant : constants()) {
      dtypes.emplace(constant.name, static_cast<std::int32_t>(constant.dtype));
    }
    return dtypes;
  }

  /// Tensors in the model's memory, valid until that set is replaced or freed or the model is
  /// destroyed; none if there is no second set.
  std::unordered_map<std::string, at::Tensor> extract_constants_map(bool use_inactive) const {
    const WeightSet set = set_of(use_inactive);
    auto found = runner_->weights(set);
    detail::TensorMap tensors;
    if (!found && set == WeightSet::inactive && found.error().code() == Errc::bad_state) {
      return tensors;
    }
    for (auto& [name, tensor] : detail::value_of(std::move(found))) {
      tensors.emplace(name, std::move(tensor));
    }
    return tensors;
  }

  /// Replaces weights, under their names in the module or in the compiled code: all of the map, or
  /// none if this throws. A model without weights must be given all of them at once.
  /// @param validate_full_updates whether all parameters must be among them
  /// @param user_managed whether the model uses the tensors themselves, without a copy
  void update_constant_buffer(std::unordered_map<std::string, at::Tensor>& tensor_map,
                              bool use_inactive, bool validate_full_updates,
                              bool user_managed = false) {
    std::vector<aoti::detail::GivenWeight<at::Tensor>> given;
    for (const auto& [name, tensor] : tensor_map) given.push_back({name, tensor, user_managed});
    detail::value_of(runner_->replace(given, set_of(use_inactive), validate_full_updates));
  }
  void update_constant_buffer(const TensorConstantMap& const_map, bool use_inactive,
                              bool validate_full_updates, bool user_managed = false) {
    detail::TensorMap tensors = named(const_map);
    update_constant_buffer(tensors, use_inactive, validate_full_updates, user_managed);
  }
  /// The same for tensors on the CPU, which are always copied to the device.
  void update_constant_buffer_from_cpu(std::unordered_map<std::string, at::Tensor>& tensor_map,
                                       bool use_inactive, bool validate_full_updates) {
    update_constant_buffer(tensor_map, use_inactive, validate_full_updates);
  }
  void update_constant_buffer_from_cpu(const TensorConstantMap& const_map, bool use_inactive,
                                       bool validate_full_updates) {
    update_constant_buffer(const_map, use_inactive, validate_full_updates);
  }
  void update_inactive_constant_buffer(const TensorConstantMap& const_map) {
    update_constant_buffer(const_map, true, true);
  }
  /// Replaces all weights, by a file in the format of those beside a model's image.
  void update_constant_buffer_from_blob(const std::string& weights_path) {
    detail::value_of(runner_->replace_all(weights_path));
    given_constants_ = false;
  }

  void run_const_fold(bool use_inactive, AOTInductorStreamHandle stream_handle = nullptr) {
    detail::value_of(runner_->fold(set_of(use_inactive), stream_handle));
  }
  /// Throws if there is no second set of weights.
  void swap_constant_buffer() { detail::value_of(runner_->swap()); }
  void free_inactive_constant_buffer() { detail::value_of(runner_->free_inactive()); }

  /// Whether the model has weights and can run; false if it was constructed with constants.
  bool did_call_load_constants() const {
    return !given_constants_ && container().weight_sets().state() != WeightsState::none;
  }
  /// For models on GPUs, while nothing runs.
  void set_use_stream_affinity(bool use_stream_affinity) {
    detail::value_of(
        container().call<&abi::ModelExports::set_use_stream_affinity>(use_stream_affinity));
  }

  std::vector<std::string> get_call_spec() {
    const auto texts = detail::value_of(container().call_spec_texts());
    return {texts.begin(), texts.end()};
  }
  std::unordered_map<std::string, c10::IValue> get_custom_objs() const {
    const auto& objects = runner_->operators().objects();
    return {objects.begin(), objects.end()};
  }

 protected:
  explicit AOTIModelContainerRunner(std::unique_ptr<detail::Runner> runner) noexcept
      : runner_{std::move(runner)} {}
  /// Runs on the caller's weights, without a copy.
  AOTIModelContainerRunner(std::unique_ptr<detail::Runner> runner, detail::TensorMap& constants)
      : runner_{std::move(runner)}, given_constants_{true} {
    update_constant_buffer(constants, false, false, true);
  }

 private:
  const Container& container() const noexcept { return runner_->container(); }
  const std::vector<Constant>& constants() const noexcept { return container().constants(); }

  static WeightSet set_of(bool use_inactive) noexcept {
    return use_inactive ? WeightSet::inactive : WeightSet::active;
  }
  static detail::TensorMap named(const TensorConstantMap& map) {
    detail::TensorMap tensors;
    for (const auto& [name, tensor] : map) {
      tensors.emplace(name, tensor != nullptr ? *tensor : at::Tensor{});
    }
    return tensors;
  }

  std::unique_ptr<detail::Runner> runner_;
  bool given_constants_ = false;
};

namespace detail {

/// The runner of one device.
template <DevicePolicy Device> class RunnerOn : public AOTIModelContainerRunner {
 public:
  /// @param source a path, or an open package
  template <class Source>
  RunnerOn(const Source& source, const OpenOptions& choice, bool single_threaded)
      : AOTIModelContainerRunner{open(source, choice, single_threaded)} {}
  RunnerOn(const std::string& path, OpenOptions choice, TensorMap& constants)
      : AOTIModelContainerRunner{open(path, without_weights(std::move(choice)), false), constants} {
  }

 private:
  template <class Source>
  static std::unique_ptr<Runner> open(const Source& source, const OpenOptions& choice,
                                      bool single_threaded) {
    if (single_threaded && choice.instances != 1) {
      throw Error{
          {Errc::invalid_argument, "run_single_threaded", "found another num_models, expected 1"}};
    }
    return value_of(aoti::detail::open_changeable<Device, LibtorchWithOperators, true>(
        source, choice, single_threaded ? Access::exclusive : Access::shared));
  }

  static OpenOptions without_weights(OpenOptions choice) {
    choice.weights = PackagedWeights::ignored;
    return choice;
  }
};

template <DevicePolicy Device>
OpenOptions options_for(std::size_t num_models, const std::string& device_str,
                        const std::string& kernel_folder) {
  return {.instances = num_models,
          .device = value_of(parse_device_index(Device::key, device_str)),
          .weights = PackagedWeights::optional,
          .kernel_folder = kernel_folder};
}

/// On devices whose kernels lie in a folder.
template <DevicePolicy Device> class GpuRunner : public RunnerOn<Device> {
 public:
  using RunnerOn<Device>::RunnerOn;
  explicit GpuRunner(const std::string& model_so_path, std::size_t num_models = 1,
                     const std::string& device_str = std::string{Device::key},
                     const std::string& cubin_dir = "", bool run_single_threaded = false)
      : RunnerOn<Device>{model_so_path, options_for<Device>(num_models, device_str, cubin_dir),
                         run_single_threaded} {}
  GpuRunner(const std::string& model_so_path, std::size_t num_models, const std::string& device_str,
            const std::string& cubin_dir, std::unordered_map<std::string, at::Tensor>& constants)
      : RunnerOn<Device>{model_so_path, options_for<Device>(num_models, device_str, cubin_dir),
                         constants} {}
};

}  // namespace detail

}  // namespace aoti::inline AOTI_ABI::drop_in
