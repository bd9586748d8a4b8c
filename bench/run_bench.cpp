// What a run costs beyond the model's own work: torch's loader and runner, the C functions called
// by hand, and this library, on a model that adds two vectors of eight floats.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include "bench.hpp"

namespace {

using Exclusive = aoti::Runner<aoti::Cpu>;
using Unchecked = aoti::Runner<aoti::Cpu, aoti::Libtorch,
                               aoti::Options{.check_inputs = false, .detect_concurrent_use = false}>;
using Unguarded = aoti::Runner<aoti::Cpu, aoti::Libtorch, aoti::Options{.detect_concurrent_use = false}>;
using Shared = aoti::Runner<aoti::Cpu, aoti::Libtorch, aoti::Options{.access = aoti::Access::shared}>;

struct Inputs {
  at::Tensor a = at::arange(8, at::kFloat);
  at::Tensor b = at::ones({8});
  std::vector<at::Tensor> both{a, b};
};

/// Times `run`, which returns the sum, and compares its last result with a + b.
template <class Run>
void measure(benchmark::State& state, const Inputs& inputs, Run&& run) {
  const c10::InferenceMode guard;
  at::Tensor sum;
  for (auto _ : state) {
    sum = run();
    benchmark::DoNotOptimize(sum);
  }
  if (!sum.equal(inputs.a + inputs.b)) state.SkipWithError("wrong result");
}

/// What a careful person writes by hand against the C boundary.
template <auto Member>
void raw(benchmark::State& state) {
  const Inputs inputs;
  const Exclusive runner = bench::open<Exclusive>("add");
  const auto run = runner.container().exports().*Member;
  const auto container = runner.container().handle();
  measure(state, inputs, [&]() -> at::Tensor {
    AtenTensorHandle in[] = {reinterpret_cast<AtenTensorHandle>(new at::Tensor(inputs.a)),
                             reinterpret_cast<AtenTensorHandle>(new at::Tensor(inputs.b))};
    AtenTensorHandle out[] = {nullptr};
    if (run(container, in, 2, out, 1, nullptr, nullptr) != 0) return {};
    auto* result = reinterpret_cast<at::Tensor*>(out[0]);
    at::Tensor sum = std::move(*result);
    delete result;
    return sum;
  });
}

template <class Runner>
void aoti_run(benchmark::State& state) {
  const Inputs inputs;
  const Runner runner = bench::open<Runner>("add");
  measure(state, inputs, [&]() -> at::Tensor {
    auto result = runner.template run<1>(inputs.a, inputs.b);
    return result ? std::move(result.value()[0]) : at::Tensor{};
  });
}

void aoti_vector(benchmark::State& state) {
  const Inputs inputs;
  const Exclusive runner = bench::open<Exclusive>("add");
  measure(state, inputs, [&] { return runner.run(inputs.both).value()[0]; });
}

template <bool container_only>
void torch_run(benchmark::State& state) {
  const Inputs inputs;
  bench::TorchLoader loader{bench::package("add")};
  measure(state, inputs, [&] {
    return container_only ? loader.get_runner()->run(inputs.both)[0] : loader.run(inputs.both)[0];
  });
}

using aoti::abi::ModelExports;

BENCHMARK(raw<&ModelExports::run>)->Name("run/add/raw_container");
BENCHMARK(raw<&ModelExports::run_single_threaded>)->Name("run/add/raw_single_threaded");
BENCHMARK(torch_run<false>)->Name("run/add/torch_loader");
BENCHMARK(torch_run<true>)->Name("run/add/torch_runner");
BENCHMARK(aoti_run<Exclusive>)->Name("run/add/aoti");
BENCHMARK(aoti_run<Unchecked>)->Name("run/add/aoti_unchecked");
BENCHMARK(aoti_run<Unguarded>)->Name("run/add/aoti_unguarded");
BENCHMARK(aoti_run<Shared>)->Name("run/add/aoti_container");
BENCHMARK(aoti_vector)->Name("run/add/aoti_vector");

}  // namespace
