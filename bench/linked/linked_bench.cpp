// Models that are part of the program, called on views: compare with run/…/torch_loader.
#include <benchmark/benchmark.h>

#include <aoti/aoti.hpp>
#include <aoti/array_ref.hpp>
#include <aoti/runtime/plain_operators.hpp>
#include <array>
#include <cmath>
#include <cstddef>

#include "../bench.hpp"
#include "add_arrayref.hpp"
#include "mlp_arrayref.hpp"

namespace {

using Model = aoti::ArrayRefModel<aoti::NativeWith<aoti::PlainOperators>>;

template <std::size_t inputs>
void run(benchmark::State& state, const Model& model,
         const std::array<aoti::TensorView, inputs>& in, std::array<aoti::TensorView, 1>& out) {
  for (auto _ : state) {
    auto done = model.run(in, out);
    benchmark::DoNotOptimize(done);
    benchmark::ClobberMemory();
  }
}

void add(benchmark::State& state) {
  static const Model model = bench::value(Model::open(aoti::linked<add_arrayref>()));
  std::array<float, 8> a{0, 1, 2, 3, 4, 5, 6, 7}, b{1, 1, 1, 1, 1, 1, 1, 1};
  std::array<aoti::TensorView, 1> out;
  run(state, model,
      std::array{aoti::TensorView::of(a.data(), {8}), aoti::TensorView::of(b.data(), {8})}, out);
  for (int i = 0; i < 8; ++i) {
    if (static_cast<const float*>(out[0].data)[i] != static_cast<float>(i + 1)) {
      state.SkipWithError("wrong result");
    }
  }
}

void mlp(benchmark::State& state) {
  static const Model model = bench::value(Model::open(aoti::linked<mlp_arrayref>()));
  std::array<float, 16> x{};
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.1f * static_cast<float>(i) - 0.7f;
  std::array<aoti::TensorView, 1> out;
  run(state, model, std::array{aoti::TensorView::of(x.data(), {1, 16})}, out);
  bench::TorchLoader loader{bench::package("mlp_small")};
  const at::Tensor expected = loader.run({at::from_blob(x.data(), {1, 16})})[0];
  const at::Tensor found = at::from_blob(out[0].data, {1, 8});
  if (!expected.allclose(found, 1e-5, 1e-6)) state.SkipWithError("wrong result");
}

BENCHMARK(add)->Name("run/add/aoti_linked");
BENCHMARK(mlp)->Name("run/mlp/aoti_linked");

}  // namespace
