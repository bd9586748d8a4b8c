// The overhead of a run: torch's loader and runner, the C functions called by hand, and this
// library, on a model that adds two vectors of eight floats and on a small network.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <aoti/array_ref.hpp>
#include <aoti/bound_run.hpp>
#include <aoti/runtime/native.hpp>
#include <array>
#include <cstring>

#include "bench.hpp"

namespace {

using Exclusive = aoti::Runner<aoti::Cpu>;
using Unchecked =
    aoti::Runner<aoti::Cpu, aoti::Libtorch,
                 aoti::Options{.check_inputs = false, .detect_concurrent_use = false}>;
using Shared =
    aoti::Runner<aoti::Cpu, aoti::Libtorch, aoti::Options{.access = aoti::Access::shared}>;
using Any = aoti::AnyRunner<>;
using Native = aoti::Runner<aoti::Cpu, aoti::Native>;

/// Everything that is compared, made once before the first measurement, so that each path finds the
/// heap in the same state: its layout matters as much as the code.
struct Subjects {
  at::Tensor a = at::arange(8, at::kFloat);
  at::Tensor b = at::ones({8});
  std::vector<at::Tensor> both{a, b};
  Exclusive exclusive = bench::open<Exclusive>("add");
  Unchecked unchecked = bench::open<Unchecked>("add");
  Shared shared = bench::open<Shared>("add");
  aoti::Tensor native_a = bench::value(aoti::Tensor::borrow(a.data_ptr<float>(), {8}));
  aoti::Tensor native_b = bench::value(aoti::Tensor::borrow(b.data_ptr<float>(), {8}));
  aoti::Tensor native_sum = bench::value(aoti::Tensor::empty(aoti::DType::float32, {8}));
  Native native = bench::open<Native>("add");
  aoti::ArrayRefModel<> array_ref =
      bench::value(aoti::ArrayRefModel<>::open(bench::package("add_arrayref")));
  aoti::BoundRun<Native> bound = bench::value(
      aoti::BoundRun<Native>::make(native, std::vector{native_a, native_b}, {&native_sum, 1}));
  Any any = bench::value(Any::of(bench::open<Exclusive>("add")));
  bench::TorchLoader loader{bench::package("add")};

  static Subjects& get() {
    static Subjects subjects;
    return subjects;
  }
};

/// Times `run`, which returns the sum, and compares its last result with a + b.
template <class Run> void measure(benchmark::State& state, Run&& run) {
  const c10::InferenceMode guard;
  at::Tensor sum;
  for (auto _ : state) {
    sum = run();
    benchmark::DoNotOptimize(sum);
  }
  const Subjects& subjects = Subjects::get();
  if (!sum.equal(subjects.a + subjects.b)) state.SkipWithError("wrong result");
}

/// Careful handwritten calls of the C functions.
template <auto Member, auto Runner> void raw(benchmark::State& state) {
  const Subjects& subjects = Subjects::get();
  const aoti::Container& model = (subjects.*Runner).container();
  const auto run = model.exports().*Member;
  measure(state, [&, container = model.handle()]() -> at::Tensor {
    AtenTensorHandle in[] = {reinterpret_cast<AtenTensorHandle>(new at::Tensor(subjects.a)),
                             reinterpret_cast<AtenTensorHandle>(new at::Tensor(subjects.b))};
    AtenTensorHandle out[] = {nullptr};
    if (run(container, in, 2, out, 1, nullptr, nullptr) != 0) return {};
    auto* result = reinterpret_cast<at::Tensor*>(out[0]);
    at::Tensor sum = std::move(*result);
    delete result;
    return sum;
  });
}

template <auto Runner> void aoti_array(benchmark::State& state) {
  const Subjects& subjects = Subjects::get();
  measure(state, [&]() -> at::Tensor {
    auto result = (subjects.*Runner).template run<1>(subjects.a, subjects.b);
    return result ? std::move(result.value()[0]) : at::Tensor{};
  });
}

void aoti_vector(benchmark::State& state) {
  const Subjects& subjects = Subjects::get();
  measure(state, [&] { return subjects.exclusive.run(subjects.both).value()[0]; });
}

/// Into a slot of the caller's. Both use one runner, since two runners differ by more than an
/// indirect call costs.
template <class Runner> void run_into(benchmark::State& state, const Runner& runner) {
  const Subjects& subjects = Subjects::get();
  measure(state, [&]() -> at::Tensor {
    at::Tensor sum;
    if (!runner.run_into(subjects.both, {&sum, 1})) return {};
    return sum;
  });
}
void aoti_into(benchmark::State& state) { run_into(state, *Subjects::get().any.as<aoti::Cpu>()); }
void aoti_any(benchmark::State& state) { run_into(state, Subjects::get().any); }

/// The same package without libtorch's functions, in the same process.
void aoti_native(benchmark::State& state) {
  const Subjects& subjects = Subjects::get();
  aoti::Tensor sum;
  for (auto _ : state) {
    auto result = subjects.native.run<1>(subjects.native_a, subjects.native_b);
    if (result) sum = std::move(result.value()[0]);
    benchmark::DoNotOptimize(sum);
  }
  const at::Tensor expected = subjects.a + subjects.b;
  if (std::memcmp(sum.data(), expected.data_ptr(), 8 * sizeof(float)) != 0) {
    state.SkipWithError("wrong result");
  }
}

/// With inputs and outputs bound once.
void aoti_bound(benchmark::State& state) {
  Subjects& subjects = Subjects::get();
  for (auto _ : state) {
    auto done = subjects.bound.run();
    benchmark::DoNotOptimize(done);
    benchmark::ClobberMemory();
  }
  const at::Tensor expected = subjects.a + subjects.b;
  if (std::memcmp(subjects.native_sum.data(), expected.data_ptr(), 8 * sizeof(float)) != 0) {
    state.SkipWithError("wrong result");
  }
}

/// Compiled for plain views of memory.
void aoti_arrayref(benchmark::State& state) {
  const Subjects& subjects = Subjects::get();
  const std::array<aoti::TensorView, 2> in{aoti::TensorView::of(subjects.a.data_ptr<float>(), {8}),
                                           aoti::TensorView::of(subjects.b.data_ptr<float>(), {8})};
  std::array<aoti::TensorView, 1> out;
  for (auto _ : state) {
    auto done = subjects.array_ref.run(in, out);
    benchmark::DoNotOptimize(done);
    benchmark::ClobberMemory();
  }
  const at::Tensor expected = subjects.a + subjects.b;
  if (std::memcmp(out[0].data, expected.data_ptr(), 8 * sizeof(float)) != 0) {
    state.SkipWithError("wrong result");
  }
}

/// A network with layers of 16, 32 and 8 numbers: with torch's loader as Inductor packages it, and
/// bound, compiled for one thread with its matrix products in the model.
struct SmallNetwork {
  std::array<float, 16> x{};
  std::array<float, 8> y{};
  at::Tensor input = at::from_blob(x.data(), {1, 16});
  bench::TorchLoader loader{bench::package("mlp_small")};
  Native native = bench::open<Native>("mlp_tuned");
  aoti::Tensor native_input = bench::value(aoti::Tensor::borrow(x.data(), {1, 16}));
  aoti::Tensor native_output = bench::value(aoti::Tensor::borrow(y.data(), {1, 8}));
  aoti::BoundRun<Native> bound =
      bench::value(aoti::BoundRun<Native>::make(native, {&native_input, 1}, {&native_output, 1}));

  SmallNetwork() {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.1f * static_cast<float>(i) - 0.7f;
  }
  static SmallNetwork& get() {
    static SmallNetwork network;
    return network;
  }
  bool agrees(const float* found) {
    const at::Tensor expected = loader.run({input})[0];
    return expected.allclose(at::from_blob(const_cast<float*>(found), {1, 8}), 1e-5, 1e-6);
  }
};

void mlp_torch_loader(benchmark::State& state) {
  const c10::InferenceMode guard;
  SmallNetwork& network = SmallNetwork::get();
  const std::vector<at::Tensor> inputs{network.input};
  for (auto _ : state) {
    auto outputs = network.loader.run(inputs);
    benchmark::DoNotOptimize(outputs);
  }
}

void mlp_native(benchmark::State& state) {
  SmallNetwork& network = SmallNetwork::get();
  aoti::Tensor output;
  for (auto _ : state) {
    auto outputs = network.native.run<1>(network.native_input);
    if (outputs) output = std::move(outputs.value()[0]);
    benchmark::DoNotOptimize(output);
  }
  if (!network.agrees(static_cast<const float*>(output.data())))
    state.SkipWithError("wrong result");
}

void mlp_bound(benchmark::State& state) {
  SmallNetwork& network = SmallNetwork::get();
  for (auto _ : state) {
    auto done = network.bound.run();
    benchmark::DoNotOptimize(done);
    benchmark::ClobberMemory();
  }
  if (!network.agrees(network.y.data())) state.SkipWithError("wrong result");
}

/// With one thread and with two, each with its own runner.
void mlp_throughput(benchmark::State& state) {
  const Native runner = bench::open<Native>("mlp_tuned");
  const SmallNetwork& network = SmallNetwork::get();
  for (auto _ : state) {
    auto outputs = runner.run<1>(network.native_input);
    benchmark::DoNotOptimize(outputs);
  }
  state.SetItemsProcessed(state.iterations());
}

void torch_loader(benchmark::State& state) {
  Subjects& subjects = Subjects::get();
  measure(state, [&] { return subjects.loader.run(subjects.both)[0]; });
}

void torch_runner(benchmark::State& state) {
  Subjects& subjects = Subjects::get();
  measure(state, [&] { return subjects.loader.get_runner()->run(subjects.both)[0]; });
}

using aoti::abi::ModelExports;

BENCHMARK(raw<&ModelExports::run, &Subjects::shared>)->Name("run/add/raw_container");
BENCHMARK(raw<&ModelExports::run_single_threaded, &Subjects::exclusive>)
    ->Name("run/add/raw_single_threaded");
BENCHMARK(torch_loader)->Name("run/add/torch_loader");
BENCHMARK(torch_runner)->Name("run/add/torch_runner");
BENCHMARK(aoti_array<&Subjects::exclusive>)->Name("run/add/aoti");
BENCHMARK(aoti_array<&Subjects::unchecked>)->Name("run/add/aoti_unchecked");
BENCHMARK(aoti_array<&Subjects::shared>)->Name("run/add/aoti_container");
BENCHMARK(aoti_into)->Name("run/add/aoti_into");
BENCHMARK(aoti_any)->Name("run/add/aoti_any");
BENCHMARK(aoti_native)->Name("run/add/aoti_native");
BENCHMARK(aoti_bound)->Name("run/add/aoti_bound");
BENCHMARK(aoti_arrayref)->Name("run/add/aoti_arrayref");
BENCHMARK(mlp_torch_loader)->Name("run/mlp/torch_loader");
BENCHMARK(mlp_native)->Name("run/mlp/aoti_native");
BENCHMARK(mlp_bound)->Name("run/mlp/aoti_bound");
BENCHMARK(mlp_throughput)->Name("run/mlp/throughput")->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(aoti_vector)->Name("run/add/aoti_vector");

}  // namespace
