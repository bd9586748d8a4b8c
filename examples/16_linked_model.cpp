// A model that is part of the program that runs it: here as a test double, which shows how a host
// behaves when its model fails.
#define AOTI_LINKED_RUNTIME aoti::Native  // before any header: what the model calls
#include <aoti/aoti.hpp>
#include <aoti/linked_model.hpp>
#include <aoti/runtime/native.hpp>
#include <array>
#include <cmath>
#include <cstdio>

namespace {

/// Returns the square root of a number, and refuses negative ones.
struct Double : aoti::model::Model<Double> {
  static constexpr std::array inputs{aoti::model::tensor<float>("x", 1)};
  static constexpr std::array outputs{aoti::model::tensor<float>("root", 1)};

  aoti::Result<void> run(aoti::model::Call& call) {
    AOTI_TRY(const auto x, call.input<float>(0));
    if (x[0] < 0) return aoti::Error{aoti::Errc::invalid_argument, "x", "it is negative"};
    AOTI_TRY(const auto root, call.output<float>(0, call.input(0).sizes()));
    root[0] = std::sqrt(x[0]);
    return aoti::success();
  }
};

/// The host under test: 0 where the model fails.
template <class Runner> float root_or_zero(const Runner& runner, float x) {
  auto input = aoti::Tensor::borrow(&x, {1});
  if (!input) return 0;
  auto outputs = runner.template run<1>(input.value());
  if (!outputs) return 0;
  return *static_cast<const float*>(outputs.value()[0].data());
}

}  // namespace

int main() {
  auto runner = aoti::Runner<aoti::Cpu, aoti::Native>::open(aoti::linked<Double>());
  if (!runner) {
    std::fprintf(stderr, "%s\n", runner.error().message().c_str());
    return 1;
  }
  std::printf("16: %g, -1: %g\n", root_or_zero(runner.value(), 16),
              root_or_zero(runner.value(), -1));
  return root_or_zero(runner.value(), 16) == 4 && root_or_zero(runner.value(), -1) == 0 ? 0 : 1;
}
