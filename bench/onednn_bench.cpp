// Real models with torch's loader and on oneDNN without libtorch, and a small matrix product on
// both.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <aoti/runtime/onednn.hpp>
#include <array>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "bench.hpp"

namespace {

using Onednn = aoti::Runner<aoti::Cpu, aoti::NativeOnednn>;
using Inputs = std::vector<at::Tensor>;

aoti::Tensor borrowed(const at::Tensor& tensor) {
  const bool integers = tensor.scalar_type() == at::kLong;
  return bench::value(aoti::Tensor::borrow(integers ? aoti::DType::int64 : aoti::DType::float32,
                                           tensor.data_ptr(),
                                           {tensor.sizes().data(), tensor.sizes().size()},
                                           {tensor.strides().data(), tensor.strides().size()}));
}

/// A model on both, and its inputs, made once.
struct Subject {
  Inputs inputs;
  bench::TorchLoader loader;
  Onednn native;
  std::vector<aoti::Tensor> native_inputs;

  Subject(const std::string& model, Inputs (*make_inputs)())
      : inputs{make_inputs()}, loader{bench::package(model)}, native{bench::open<Onednn>(model)} {
    for (const at::Tensor& input : inputs) native_inputs.push_back(borrowed(input));
  }
  /// Up to rounding errors, which accumulate over many layers.
  bool agrees(const aoti::Tensor& found) {
    const at::Tensor expected = loader.run(inputs)[0].contiguous();
    const aoti::Tensor rows = bench::value(found.clone());
    const auto other = at::from_blob(rows.data(), expected.sizes(), expected.options());
    return (expected - other).abs().max().item<double>() <=
           1e-4 * expected.abs().max().item<double>();
  }
};

void torch_loader(benchmark::State& state, Subject& subject) {
  const c10::InferenceMode guard;
  for (auto _ : state) {
    auto outputs = subject.loader.run(subject.inputs);
    benchmark::DoNotOptimize(outputs);
  }
}

void aoti_native(benchmark::State& state, Subject& subject) {
  aoti::Tensor first;
  for (auto _ : state) {
    auto outputs = subject.native.run(subject.native_inputs);
    if (!outputs) return state.SkipWithError(outputs.error().message().c_str());
    first = std::move(outputs.value()[0]);
  }
  if (!subject.agrees(first)) state.SkipWithError("wrong result");
}

Inputs image() { return {at::rand({1, 3, 224, 224})}; }
Inputs text() { return {at::randint(1000, {2, 48}), at::ones({2, 48}, at::kLong)}; }
Inputs sequences() { return {at::rand({4, 32, 64})}; }

/// Those of these models that exist, each opened by its first measurement.
void add(std::initializer_list<const char*> names, Inputs (*inputs)()) {
  for (const std::string name : names) {
    if (!std::filesystem::exists(bench::package(name))) continue;
    const auto add_one = [&](const char* way, auto measure) {
      const auto measured = [=](benchmark::State& state) {
        static std::map<std::string, Subject> subjects;
        measure(state, subjects.try_emplace(name, name, inputs).first->second);
      };
      benchmark::RegisterBenchmark(("run/" + name + way).c_str(), measured)
          ->Unit(benchmark::kMillisecond);
    };
    add_one("/torch_loader", torch_loader);
    add_one("/aoti_native", aoti_native);
  }
}

const bool added = [] {
  add({"resnet18", "mobilenet_v3", "vit"}, image);
  add({"bert", "llama"}, text);
  add({"lstm"}, sequences);
  return true;
}();

/// bias + [4, 64] @ [64, 32], with the second matrix transposed in memory, like weights.
template <class Function, class HandleOf>
void addmm(benchmark::State& state, Function* function, HandleOf handle_of) {
  const c10::InferenceMode guard;
  std::array tensors{at::empty({4, 32}), at::rand({32}), at::rand({4, 64}), at::rand({32, 64}).t()};
  std::array natives{borrowed(tensors[0]), borrowed(tensors[1]), borrowed(tensors[2]),
                     borrowed(tensors[3])};
  for (auto _ : state) {
    const auto handle = [&](std::size_t i) { return handle_of(tensors[i], natives[i]); };
    if (function(handle(0), handle(1), handle(2), handle(3), 1, 1) != 0) {
      return state.SkipWithError("it failed");
    }
  }
}
void addmm_libtorch(benchmark::State& state) {
  using Import = aoti::abi::imported::cpu_addmm_out;
  addmm(state, aoti::abi::resolve<aoti::Libtorch, Import>(),
        [](at::Tensor& tensor, auto&) { return reinterpret_cast<AtenTensorHandle>(&tensor); });
}
void addmm_onednn(benchmark::State& state) {
  using Import = aoti::abi::imported::cpu_addmm_out;
  addmm(state, reinterpret_cast<Import::type*>(aoti::Onednn::import(Import::symbol)),
        [](auto&, aoti::Tensor& tensor) {
          return aoti::detail::TensorBody::handle(aoti::detail::TensorAccess::body_of(tensor));
        });
}

BENCHMARK(addmm_libtorch)->Name("onednn/addmm/libtorch");
BENCHMARK(addmm_onednn)->Name("onednn/addmm/onednn");

}  // namespace
