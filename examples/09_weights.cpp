// Changes a running model's weights as a whole or not at all: 09_weights MODELS_DIR
#include <ATen/ATen.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <aoti/weights.hpp>
#include <cstdio>
#include <string>

using Runner = aoti::Runner<aoti::Cpu>;

namespace {

/// Halves all weights; on an error, the runner keeps those it had.
aoti::Result<void> halve(Runner& runner) {
  auto weights = aoti::weights(runner);  // tensors that share the model's storage
  if (!weights) return std::move(weights).error();
  auto update = aoti::update_weights(runner);
  if (!update) return std::move(update).error();
  for (const auto& [name, tensor] : weights.value()) {
    // Checks name, dtype and shape. The model sees nothing of it yet.
    if (auto done = update.value().set(name, tensor / 2); !done) return done;
  }
  return update.value().commit();  // folds, swaps, frees what is not used any more
}

int report(const aoti::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  auto runner = Runner::open(std::string{arguments[1]} + "/linear_beside.pt2");
  if (!runner) return report(runner.error());
  const at::Tensor x = at::ones({4, 16});
  auto before = runner.value().run<1>(x);
  if (!before) return report(before.error());
  if (auto done = halve(runner.value()); !done) return report(done.error());
  auto after = runner.value().run<1>(x);
  if (!after) return report(after.error());
  std::printf("%.4f with the old weights, %.4f with the new\n",
              before.value()[0].sum().item<double>(), after.value()[0].sum().item<double>());

  auto update = aoti::update_weights(runner.value());
  if (!update) return report(update.error());
  auto wrong = update.value().set("first.weight", at::ones({2, 3}));
  if (wrong) return 1;
  std::printf("%s\n", wrong.error().message().c_str());
}
