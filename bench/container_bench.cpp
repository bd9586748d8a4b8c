// What a container costs: an empty model, which hands its input on, in torch's container and in
// this library's, called through the C functions of each.
#include <ATen/core/Tensor.h>
#include <benchmark/benchmark.h>
#include <torch/csrc/inductor/aoti_runtime/model_container.h>

#include <aoti/model/exported.hpp>
#include <aoti/model/model.hpp>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench.hpp"

// What Inductor generates for such a model.
uint8_t _binary_constants_bin_start[1];
uint8_t _binary_constants_bin_end[1];

namespace torch::aot_inductor {

AOTInductorModel::AOTInductorModel(std::shared_ptr<ConstantMap> constants_map,
                                   std::shared_ptr<std::vector<ConstantHandle>> constants_array,
                                   const std::string& device_str,
                                   std::optional<std::string> cubin_dir)
    : AOTInductorModelBase(1, 1, 0, device_str, std::move(cubin_dir), true) {
  inputs_info_[0].name = "x";
  outputs_info_[0].name = "y";
  update_constants_map(std::move(constants_map));
  update_constants_array(std::move(constants_array));
}
std::unordered_map<std::string, AtenTensorHandle> AOTInductorModel::const_run_impl(
    DeviceStreamType, AOTIProxyExecutorHandle, bool) {
  return {};
}
void AOTInductorModel::run_impl(AtenTensorHandle* in, AtenTensorHandle* out, DeviceStreamType,
                                AOTIProxyExecutorHandle) {
  auto inputs = steal_from_raw_handles_to_raii_handles(in, 1);
  out[0] = inputs[0].release();
}

}  // namespace torch::aot_inductor

namespace {

struct Empty : aoti::model::Model<Empty> {
  static constexpr std::array inputs{aoti::model::tensor<float>("x", aoti::model::any)};
  static constexpr std::array outputs{aoti::model::tensor<float>("y", aoti::model::any)};
  aoti::Result<void> run(aoti::model::Call& call) {
    call.set_output(0, call.take_input(0));
    return aoti::success();
  }
};

constexpr std::size_t instances = 2;

/// Calls `run` on a handle, which comes back each time.
template <class Run> void hand_on(benchmark::State& state, Run&& run) {
  AtenTensorHandle handle = reinterpret_cast<AtenTensorHandle>(new at::Tensor);
  for (auto _ : state) {
    AtenTensorHandle out = nullptr;
    if (run(&handle, &out) != 0 || out == nullptr) state.SkipWithError("the run failed");
    handle = out;
  }
  delete reinterpret_cast<at::Tensor*>(handle);
}

/// As the function that Inductor generates does it.
AOTIRuntimeError run_torch(torch::aot_inductor::AOTInductorModelContainer& container,
                           AtenTensorHandle* in, AtenTensorHandle* out) {
  try {
    const bool before = aoti_torch_grad_mode_is_enabled();
    aoti_torch_grad_mode_set_enabled(false);
    container.run(in, out, nullptr, nullptr);
    aoti_torch_grad_mode_set_enabled(before);
    return 0;
  } catch (...) {
    return 1;
  }
}

void container_torch(benchmark::State& state) {
  static auto& container = *new torch::aot_inductor::AOTInductorModelContainer{instances, "cpu"};
  hand_on(state, [&own = container](auto* in, auto* out) { return run_torch(own, in, out); });
}

void container_aoti(benchmark::State& state) {
  using Functions = aoti::model::Exported<aoti::model::Written<Empty>>;
  static const AOTInductorModelContainerHandle container = [] {
    AOTInductorModelContainerHandle made = nullptr;
    if (Functions::create_with_device(&made, instances, "cpu", nullptr) != 0) std::abort();
    return made;
  }();
  hand_on(state, [own = container](auto* in, auto* out) {
    return Functions::run(own, in, 1, out, 1, nullptr, nullptr);
  });
}

BENCHMARK(container_torch)->Name("container/empty/torch");
BENCHMARK(container_aoti)->Name("container/empty/aoti");
BENCHMARK(container_torch)->Name("container/throughput/torch")->Threads(2)->UseRealTime();
BENCHMARK(container_aoti)->Name("container/throughput/aoti")->Threads(2)->UseRealTime();

}  // namespace
