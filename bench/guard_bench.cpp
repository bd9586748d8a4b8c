// The time to check two inputs, with and without relations between their sizes.
#include <benchmark/benchmark.h>

#include <aoti/run/check.hpp>
#include <aoti/runtime/native.hpp>
#include <array>
#include <string>

#include "bench.hpp"

namespace {

/// `count` times the same relation between x [4, 6] and y [24].
void check(benchmark::State& state, const char* relation, int count) {
  std::string guards;
  for (int i = 0; i < count; ++i) guards.append(i == 0 ? "" : ",").append(relation);
  const auto spec = bench::value(aoti::ModelSpec::parse(
      R"({"version":2,"inputs":[
          {"name":"x","dtype":"float32","device":"cpu","shape":[{"min":0},{"min":0}]},
          {"name":"y","dtype":"float32","device":"cpu","shape":[{"min":0}]}],
          "outputs":[],"guards":[)" +
          guards + "]}",
      "bench"));
  const std::array<aoti::detail::InputCheck, 2> checks{aoti::detail::InputCheck{spec, 0},
                                                       aoti::detail::InputCheck{spec, 1}};
  std::array<aoti::Tensor, 2> inputs{
      bench::value(aoti::Tensor::empty(aoti::DType::float32, {4, 6})),
      bench::value(aoti::Tensor::empty(aoti::DType::float32, {24}))};
  bool fits = true;
  for (auto _ : state) {
    benchmark::DoNotOptimize(inputs);
    for (std::size_t i = 0; i < 2; ++i) {
      fits &= checks[i].fit<aoti::Native>(spec, std::span{inputs}, i) == aoti::detail::Fit::yes;
    }
  }
  if (!fits) state.SkipWithError("wrong result");
}

constexpr const char* product = R"({"check":["==",["*",[0,0],[0,1]],[1,0]]})";
constexpr const char* remainder = R"({"check":["==",["%",[1,0],[0,0]],0]})";
constexpr const char* comparison = R"({"check":["<",[0,0],[1,0]]})";

BENCHMARK_CAPTURE(check, none, product, 0)->Name("check/no_relation");
BENCHMARK_CAPTURE(check, product, product, 1)->Name("check/product");
BENCHMARK_CAPTURE(check, products, product, 8)->Name("check/8_products");
BENCHMARK_CAPTURE(check, remainder, remainder, 1)->Name("check/remainder");
BENCHMARK_CAPTURE(check, remainders, remainder, 8)->Name("check/8_remainders");
BENCHMARK_CAPTURE(check, comparisons, comparison, 8)->Name("check/8_comparisons");

}  // namespace
