// The same models, and a small product of matrices, on libtorch and on oneDNN without it.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <aoti/runtime/onednn.hpp>
#include <array>
#include <cstdint>
#include <vector>

#include "bench.hpp"

namespace {

using Torch = aoti::Runner<aoti::Cpu>;
using Native = aoti::Runner<aoti::Cpu, aoti::NativeOnednn>;

aoti::Tensor borrowed(const at::Tensor& tensor) {
  return bench::value(aoti::Tensor::borrow(aoti::DType::float32, tensor.data_ptr(),
                                           {tensor.sizes().data(), tensor.sizes().size()},
                                           {tensor.strides().data(), tensor.strides().size()}));
}

template <class Runner, class Tensor>
void measure(benchmark::State& state, const char* model, const Tensor& input) {
  const c10::InferenceMode guard;
  const auto runner = bench::open<Runner>(model);
  for (auto _ : state) {
    auto outputs = runner.template run<1>(input);
    if (!outputs) return state.SkipWithError(outputs.error().message().c_str());
    benchmark::DoNotOptimize(outputs);
  }
}

at::Tensor input_of(const std::vector<std::int64_t>& sizes) { return at::rand(sizes); }

void mlp_libtorch(benchmark::State& state) { measure<Torch>(state, "mlp", input_of({4, 64})); }
void mlp_onednn(benchmark::State& state) {
  const at::Tensor input = input_of({4, 64});
  measure<Native>(state, "mlp", borrowed(input));
}
void vit_libtorch(benchmark::State& state) {
  measure<Torch>(state, "vit", input_of({1, 3, 224, 224}));
}
void vit_onednn(benchmark::State& state) {
  const at::Tensor input = input_of({1, 3, 224, 224});
  measure<Native>(state, "vit", borrowed(input));
}

/// bias + [4, 64] @ [64, 32], whose second matrix lies transposed as weights do.
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
BENCHMARK(mlp_libtorch)->Name("onednn/mlp/libtorch");
BENCHMARK(mlp_onednn)->Name("onednn/mlp/onednn");
BENCHMARK(vit_libtorch)->Name("onednn/vit/libtorch")->Unit(benchmark::kMillisecond);
BENCHMARK(vit_onednn)->Name("onednn/vit/onednn")->Unit(benchmark::kMillisecond);

}  // namespace
