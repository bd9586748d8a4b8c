// What it costs to open a package, for torch's loader and for this library. Closing is not timed.
#include <benchmark/benchmark.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "bench.hpp"

namespace {

using Runner = aoti::Runner<aoti::Cpu>;

/// Times only `open`, and passes its result to `close`.
template <class Open, class Close>
void measure(benchmark::State& state, Open&& open, Close&& close) {
  for (auto _ : state) {
    auto opened = open();
    state.PauseTiming();
    close(std::move(opened));
    state.ResumeTiming();
  }
}

void aoti_load(benchmark::State& state, const std::string& model) {
  measure(
      state, [&] { return bench::open<Runner>(model); },
      [](Runner runner) { std::move(runner).unload(); });
}

void torch_load(benchmark::State& state, const std::string& model) {
  measure(
      state, [&] { return std::make_unique<bench::TorchLoader>(bench::package(model)); },
      [](auto loader) { loader.reset(); });
}

/// Registers the models that were compiled; the large ones are compiled only for benchmarks.
const bool registered = [] {
  for (const std::string model : {"add", "mlp", "vit", "vit_beside"}) {
    if (!std::filesystem::exists(bench::package(model))) continue;
    const std::string name = "load/" + model + "/";
    const auto add = [&](const char* who, auto function) {
      benchmark::RegisterBenchmark((name + who).c_str(), [=](benchmark::State& state) {
        function(state, model);
      })->Unit(benchmark::kMillisecond);
    };
    add("torch_loader", torch_load);
    add("aoti", aoti_load);
  }
  return true;
}();

}  // namespace
