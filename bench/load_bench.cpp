// What it costs to open a package and to close it again, for torch's loader and for this library.
#include <benchmark/benchmark.h>

#include <filesystem>

#include "bench.hpp"

namespace {

using Runner = aoti::Runner<aoti::Cpu>;

void aoti_load(benchmark::State& state, const std::string& model) {
  for (auto _ : state) bench::open<Runner>(model).unload();
}

void torch_load(benchmark::State& state, const std::string& model) {
  for (auto _ : state) bench::TorchLoader{bench::package(model)};
}

/// Registers the models that were compiled; the large one is compiled for benchmarks only.
const bool registered = [] {
  for (const std::string model : {"add", "mlp", "vit"}) {
    if (!std::filesystem::exists(bench::package(model))) continue;
    const std::string name = "load/" + model + "/";
    const auto add = [&](const char* who, auto function) {
      benchmark::RegisterBenchmark((name + who).c_str(),
                                   [=](benchmark::State& state) { function(state, model); })
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
    };
    add("torch_loader", torch_load);
    add("aoti", aoti_load);
  }
  return true;
}();

}  // namespace
