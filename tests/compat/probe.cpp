// Opens one test model, runs it and checks its results, with this library or with torch's own
// loader: probe aoti|torch CASE. Prints "works", or why not. compat.py runs it once for each model,
// since a loader may crash.
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <aoti/runtime/libtorch_operators.hpp>
#include <aoti/weights.hpp>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "libtorch/models.hpp"

namespace {

using aoti_test::model_path;
using aoti_test::Recorded;
using aoti_test::recorded;
using aoti_test::Tensors;
using aoti_test::value_of;
using Named = std::unordered_map<std::string, at::Tensor>;
using OperatedRunner = aoti::Runner<aoti::Cpu, aoti::LibtorchWithOperators>;

struct Run {
  Tensors inputs, outputs;  // the first of the outputs, at least
};

struct Case {
  std::string name, model;
  std::function<Run()> run;
  std::string part = "model";
  bool operators = false, weights = false;
};

Run of_recorded(const char* name, const aoti_test::Sizes& input, const aoti_test::Sizes& output) {
  const Recorded r = recorded(name, input, output);
  return {{r.input}, {r.output}};
}
Run mlp() { return of_recorded("mlp", {4, 64}, {4, 8}); }
Run linear() { return of_recorded("linear", {4, 16}, {4, 12}); }
Run changed_linear() { return of_recorded("linear_updated", {4, 16}, {4, 12}); }
Run two(bool minus) {
  const at::Tensor a = at::randn({8}), b = at::randn({8});
  return {{a, b}, {minus ? a - b : a + b}};
}

/// The tensors of linear_weights.bin.
Named linear_weights() {
  const std::pair<const char*, aoti_test::Sizes> shapes[] = {
      {"first.weight", {24, 16}}, {"first.bias", {24}}, {"second.weight", {12, 24}},
      {"second.bias", {12}},      {"scale", {24}},      {"_tensor_constant0", {12}}};
  const auto bytes = aoti_test::read_file(aoti_test::models_file("linear_weights.bin"));
  Named weights;
  std::size_t at = 0;
  for (const auto& [name, shape] : shapes) {
    at::Tensor& tensor = weights[name] = at::zeros(shape);
    std::memcpy(tensor.data_ptr(), bytes.data() + at, tensor.nbytes());
    at += tensor.nbytes();
  }
  return weights;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"add", "add", [] { return two(false); }},
      {"mlp", "mlp", mlp},
      {"mlp_plain", "mlp_plain", mlp},
      {"mlp_appended", "mlp_appended", mlp},
      {"mlp_beside", "mlp_beside", mlp},
      {"wide", "wide",
       [] {
         return of_recorded("wide", {1, 1024}, {1, 1024});
       }},
      {"nested", "nested",
       [] {
         const at::Tensor x = at::randn({4, 3}), scale = at::randn({4, 3}), y = x * scale;
         return Run{{x, scale}, {y, y.sum(), y > 0}};
       }},
      {"types", "types",
       [] {
         const at::Tensor ids = at::arange(7, at::kLong), mask = ids.remainder(3) != 0;
         const at::Tensor rows = (ids.unsqueeze(1) * 4 + at::arange(4, at::kLong)).to(at::kFloat);
         return Run{{ids, mask}, {rows * mask.unsqueeze(1), at::where(mask, ids * 2, -1)}};
       }},
      {"derived", "derived",
       [] {
         const at::Tensor x = at::randn({3, 4}), y = at::randn({6, 4});
         return Run{{x, y}, {x + y.slice(0, 0, 3), at::cat({x, y})}};
       }},
      {"image", "image",
       [] {
         Run run = of_recorded("image", {2, 3, 8, 8}, {2, 4, 8, 8});
         run.inputs[0] = run.inputs[0].contiguous(at::MemoryFormat::ChannelsLast);
         return run;
       }},
      {"transposed", "transposed",
       [] {
         const at::Tensor x = at::randn({4, 6}).t(), y = at::randn({6, 4});
         return Run{{x, y}, {x * 2 + y}};
       }},
      {"pair, second model", "pair", [] { return two(true); }, "model2"},
      {"repeated", "repeated",
       [] {
         const at::Tensor x = at::randn({4, 3});
         return Run{{x}, {x * 2, {}, x * 2, at::full({}, 4, at::kLong)}};
       }},
      {"operators", "operators",
       [] {
         const at::Tensor x = at::randn({8}), mixed = (x * 0.5).roll(1).roll(2);
         return Run{{x}, {{}, mixed.slice(0, 4) + 3 + mixed.slice(0, 0, 4)}};
       },
       "model", true},
      {"fallback", "fallback",
       [] {
         const at::Tensor x = at::randn({5, 3});
         return Run{{x}, {std::get<0>(at::linalg_qr(x))}};
       },
       "model", true},
      {"throwing", "throwing",
       [] {
         const at::Tensor x = at::rand({8});
         return Run{{x}, {x + 1}};
       },
       "model", true},
      {"tally", "tally",
       [] {
         const at::Tensor x = at::randn({8});
         return Run{{x}, {x + 4, x}};
       },
       "model", true},
      {"linear_beside", "linear_beside", linear},
      {"linear_embedded", "linear_embedded", linear},
      {"linear_foreign", "linear_foreign", linear},
      {"linear_beside, weights replaced", "linear_beside", changed_linear, "model", false, true},
      {"linear_embedded, weights replaced", "linear_embedded", changed_linear, "model", false,
       true},
      {"linear_none, given weights", "linear_none", changed_linear, "model", false, true},
      {"folding", "folding",
       [] {
         return of_recorded("folding", {4, 16}, {4, 12});
       }},
      {"mutating", "mutating",
       [] {
         const at::Tensor x = at::ones({12});
         return Run{{x}, {x * at::arange(12) + 1, at::ones({12})}};
       }},
  };
  return all;
}

template <class Done> void expect(const Done& done) {
  if (!done) throw std::runtime_error{done.error().message()};
}

template <class R> Tensors run_ours(const Case& it, const Tensors& inputs) {
  using enum aoti::PackagedWeights;
  aoti::OpenOptions options{.model = it.part, .weights = it.weights ? ignored : required};
  if (it.operators) {
    options.operator_libraries = {AOTI_TEST_OPERATORS_DIR "/liboperators_functions.so",
                                  AOTI_TEST_OPERATORS_DIR "/liboperators_tally.so"};
  }
  R runner = value_of(R::open(model_path(it.model), options));
  if (it.weights) {
    auto update = value_of(aoti::update_weights(runner));
    for (const auto& [name, tensor] : linear_weights()) expect(update.set(name, tensor));
    expect(update.commit());
  }
  return value_of(runner.run(inputs));
}

Tensors run_torchs(const Case& it, const Tensors& inputs) {
  aoti_test::load_libtorch_so();
  if (it.operators) {
    for (const char* library : {AOTI_TEST_OPERATORS_DIR "/liboperators_functions.so",
                                AOTI_TEST_OPERATORS_DIR "/liboperators_tally.so"}) {
      if (::dlopen(library, RTLD_NOW) == nullptr) throw std::runtime_error{::dlerror()};
    }
  }
  torch::inductor::AOTIModelPackageLoader loader{model_path(it.model), it.part};
  if (it.weights) {
    Named weights = linear_weights();
    loader.load_constants(weights, false, true);
  }
  return loader.run(inputs);
}

std::string outcome(const Case& it, bool ours) {
  at::manual_seed(0);
  const auto [inputs, expected] = it.run();
  const Tensors found = !ours          ? run_torchs(it, inputs)
                        : it.operators ? run_ours<OperatedRunner>(it, inputs)
                                       : run_ours<aoti_test::Runner>(it, inputs);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (!expected[i].defined()) continue;
    if (i >= found.size() || !aoti_test::close(found[i], expected[i])) return "a wrong result";
  }
  return "works";
}

}  // namespace

int main(int argc, char** argv) {
  const std::string loader = argc > 1 ? argv[1] : "";
  for (const Case& it : cases()) {
    if (loader == "list") std::printf("%s\t%s\n", it.name.c_str(), it.model.c_str());
    if (argc < 3 || it.name != argv[2]) continue;
    std::string found;
    try {
      found = outcome(it, loader == "aoti");
    } catch (const std::exception& error) {
      found = error.what();
    }
    std::printf("%s\n", found.c_str());
    std::fflush(stdout);
    return 0;
  }
  return loader == "list" ? 0 : 2;
}
