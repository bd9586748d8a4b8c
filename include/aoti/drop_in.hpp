// SPDX-License-Identifier: BSD-3-Clause
// Torch's C++ classes that load and run compiled models, under the same names and with the same
// arguments and results: write aoti::drop_in instead of torch::inductor.
//
// Deliberate differences are listed in docs/from-torch.md: inputs and weights are checked, an
// update happens as a whole or not at all, and nothing is extracted.
#pragma once

#include <c10/core/Device.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "aoti/drop_in_runner.hpp"
#include "aoti/package/device_key.hpp"

namespace aoti::inline AOTI_ABI::drop_in {

class AOTIModelContainerRunnerCpu : public detail::RunnerOn<Cpu> {
 public:
  using RunnerOn::RunnerOn;
  explicit AOTIModelContainerRunnerCpu(const std::string& model_so_path, std::size_t num_models = 1,
                                       bool run_single_threaded = false)
      : RunnerOn{model_so_path, detail::options_for<Cpu>(num_models, "cpu", ""),
                 run_single_threaded} {}
  /// Runs on the caller's weights, which must be complete; they are not copied, and are kept alive.
  /// Weights that are embedded in the image are loaded all the same.
  AOTIModelContainerRunnerCpu(const std::string& model_so_path, std::size_t num_models,
                              std::unordered_map<std::string, at::Tensor>& constants)
      : RunnerOn{model_so_path, detail::options_for<Cpu>(num_models, "cpu", ""), constants} {}
};

class AOTIModelContainerRunnerCuda : public detail::GpuRunner<Cuda> {
 public:
  using GpuRunner::GpuRunner;
  /// @param cuda_stream an at::cuda::CUDAStream
  template <class Stream>
  std::vector<at::Tensor> run_with_cuda_stream(const std::vector<at::Tensor>& inputs,
                                               const Stream& cuda_stream) {
    return run(inputs, static_cast<void*>(cuda_stream.stream()));
  }
};

class AOTIModelContainerRunnerXpu : public detail::GpuRunner<Xpu> {
 public:
  using GpuRunner::GpuRunner;
  /// @param xpu_stream an at::xpu::XPUStream
  template <class Stream>
  std::vector<at::Tensor> run_with_xpu_stream(const std::vector<at::Tensor>& inputs,
                                              const Stream& xpu_stream) {
    return run(inputs, &xpu_stream.queue());
  }
};

class AOTIModelContainerRunnerMps : public detail::RunnerOn<Mps> {
 public:
  using RunnerOn::RunnerOn;
  explicit AOTIModelContainerRunnerMps(const std::string& model_so_path, std::size_t num_models = 1,
                                       bool run_single_threaded = false)
      : RunnerOn{model_so_path, detail::options_for<Mps>(num_models, "mps", ""),
                 run_single_threaded} {}
};

namespace detail {

/// torch's name for the class of a device; your own policies have none.
template <DevicePolicy Device> struct ClassFor { using type = RunnerOn<Device>; };
template <> struct ClassFor<Cpu> { using type = AOTIModelContainerRunnerCpu; };
template <> struct ClassFor<Cuda> { using type = AOTIModelContainerRunnerCuda; };
template <> struct ClassFor<Xpu> { using type = AOTIModelContainerRunnerXpu; };
template <> struct ClassFor<Mps> { using type = AOTIModelContainerRunnerMps; };

}  // namespace detail

/// Opens a package on whichever of the devices it was compiled for. AOTIModelPackageLoader covers
/// all devices that torch's does; BasicPackageLoader<Cpu> compiles in a quarter of the time.
template <DevicePolicy... Devices> class BasicPackageLoader {
 public:
  explicit BasicPackageLoader(const std::string& model_package_path,
                              const std::string& model_name = "model",
                              bool run_single_threaded = false, std::size_t num_runners = 1,
                              c10::DeviceIndex device_index = -1, bool use_stream_affinity = false)
      : BasicPackageLoader{detail::value_of(Package::open(model_package_path)), run_single_threaded,
                           OpenOptions{.model = model_name,
                                       .instances = num_runners,
                                       .device = DeviceIndex{device_index},
                                       .stream_affinity = use_stream_affinity,
                                       .weights = PackagedWeights::optional}} {}

  BasicPackageLoader(const BasicPackageLoader&) = delete;
  BasicPackageLoader& operator=(const BasicPackageLoader&) = delete;

  /// The loader's own runner, of the class for the device.
  AOTIModelContainerRunner* get_runner() { return runner_.get(); }
  std::unordered_map<std::string, std::string> get_metadata() { return metadata_; }

  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs,
                              void* stream_handle = nullptr) {
    return runner_->run(inputs, stream_handle);
  }
  std::vector<at::Tensor> boxed_run(std::vector<at::Tensor>&& inputs,
                                    void* stream_handle = nullptr) {
    return runner_->boxed_run(std::move(inputs), stream_handle);
  }

  std::vector<std::string> get_call_spec() { return runner_->get_call_spec(); }
  std::vector<std::string> get_constant_fqns() {
    std::vector<std::string> fqns;
    for (auto& [name, fqn] : runner_->getConstantNamesToOriginalFQNs()) fqns.push_back(fqn);
    return fqns;
  }
  std::unordered_map<std::string, c10::IValue> get_custom_objs() const {
    return runner_->get_custom_objs();
  }

  /// As update_constant_buffer. Tensors on the CPU are copied to the device, unless user_managed.
  void load_constants(std::unordered_map<std::string, at::Tensor>& constants_map, bool use_inactive,
                      bool check_full_update, bool user_managed = false,
                      bool allow_h2d_copy = false) {
    if (user_managed && allow_h2d_copy) {
      throw Error{{Errc::invalid_argument, "load_constants",
                   "user_managed and allow_h2d_copy exclude each other"}};
    }
    update_constant_buffer(constants_map, use_inactive, check_full_update, user_managed);
  }
  void update_constant_buffer(std::unordered_map<std::string, at::Tensor>& tensor_map,
                              bool use_inactive, bool validate_full_updates,
                              bool user_managed = false) {
    runner_->update_constant_buffer(tensor_map, use_inactive, validate_full_updates, user_managed);
  }

  /// The metadata of a model in a package, which is not loaded.
  static std::unordered_map<std::string, std::string> load_metadata_from_package(
      const std::string& model_package_path, const std::string& model_name) {
    const Package package = detail::value_of(Package::open(model_package_path));
    return map_of(detail::value_of(package.model(model_name)).metadata);
  }

 private:
  BasicPackageLoader(const Package& package, bool single_threaded, const OpenOptions& choice) {
    const PackagedModel model = detail::value_of(package.model(choice.model));
    metadata_ = map_of(model.metadata);
    using Opened = Result<std::unique_ptr<AOTIModelContainerRunner>>;
    const auto open_on = [&]<class Device>() -> Opened {
      return std::make_unique<typename detail::ClassFor<Device>::type>(model, choice,
                                                                       single_threaded);
    };
    runner_ = detail::value_of(aoti::detail::with_policy_for<Devices...>(model, open_on));
  }

  static std::unordered_map<std::string, std::string> map_of(const Metadata& metadata) {
    return {metadata.items.begin(), metadata.items.end()};
  }

  std::unique_ptr<AOTIModelContainerRunner> runner_;
  std::unordered_map<std::string, std::string> metadata_;
};

class AOTIModelPackageLoader : public BasicPackageLoader<Cpu, Cuda, Xpu, Mps> {
 public:
  using BasicPackageLoader::BasicPackageLoader;
};

}  // namespace aoti::inline AOTI_ABI::drop_in
