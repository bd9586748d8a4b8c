// Torch's classes and those of aoti::drop_in under the same names: one battery of tests runs on
// both.
#include <torch/version.h>

// Earlier releases of torch cannot do all of this.
#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 15
#include <aoti/drop_in.hpp>

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/inductor/aoti_runner/model_container_runner_cpu.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "libtorch/models.hpp"

namespace aoti_test {
namespace {

using TensorMap = std::unordered_map<std::string, at::Tensor>;

struct Torch {
  using Loader = torch::inductor::AOTIModelPackageLoader;
  using Base = torch::inductor::AOTIModelContainerRunner;
  using Cpu = torch::inductor::AOTIModelContainerRunnerCpu;
  using Pointers = torch::inductor::TensorConstantMap;
};
struct DropIn {
  using Loader = aoti::drop_in::AOTIModelPackageLoader;
  using Base = aoti::drop_in::AOTIModelContainerRunner;
  using Cpu = aoti::drop_in::AOTIModelContainerRunnerCpu;
  using Pointers = aoti::drop_in::TensorConstantMap;
};

template <class Classes> class DropInBattery : public testing::Test {
 protected:
  using Cpu = typename Classes::Cpu;

  static void SetUpTestSuite() { load_libtorch_so(); }
  void SetUp() override {
    needs("linear_beside");
    at::manual_seed(1);
    const auto package = value_of(aoti::Package::open(model_path("linear_beside")));
    const aoti::PackagedModel model = value_of(package.model());
    image = written("image.wrapper.so", model.image);
    for (const auto& file : model.files) {  // which gives the shapes of weights
      if (file.name.ends_with(".wrapper.cpp")) written("image.wrapper.cpp", file.data);
    }
    blob = written("image.blob", model.weights);
  }
  std::string written(const std::string& name, aoti::Bytes bytes) {
    std::string path = folder.path() + "/" + name;
    std::ofstream{path, std::ios::binary}.write(reinterpret_cast<const char*>(bytes.data()),
                                                static_cast<std::streamsize>(bytes.size()));
    return path;
  }
  std::unique_ptr<Cpu> opened_runner() {
    auto runner = std::make_unique<Cpu>(image, 1);
    runner->update_constant_buffer_from_blob(blob);
    return runner;
  }
  /// Other weights, under the names inside the compiled code, which both accept.
  static TensorMap others(Cpu& runner) {
    TensorMap weights;
    const TensorMap by_fqn = runner.extract_constants_map(false);
    for (const auto& [name, fqn] : runner.getConstantNamesToOriginalFQNs()) {
      if (by_fqn.contains(fqn)) weights[name] = at::randn_like(by_fqn.at(fqn));
    }
    return weights;
  }
  /// The model's expected result, from the weights by their names in the module.
  static at::Tensor expected(Cpu& runner, const TensorMap& by_name, const at::Tensor& x) {
    TensorMap weights;
    for (const auto& [name, fqn] : runner.getConstantNamesToOriginalFQNs()) {
      if (by_name.contains(name)) weights[fqn] = by_name.at(name);
    }
    const auto linear = [&](const std::string& name, const at::Tensor& input) {
      return at::linear(input, weights.at(name + ".weight"), weights.at(name + ".bias"));
    };
    at::Tensor shift;  // the weight that is neither a parameter nor a buffer
    for (const auto& [fqn, tensor] : weights) {
      if (tensor.sizes() == at::IntArrayRef{12} && fqn.find('.') == fqn.npos) shift = tensor;
    }
    return linear("second", at::relu(linear("first", x)) * weights.at("scale")) + shift;
  }

  const TemporaryDirectory folder;
  std::string image, blob;
};
using Both = testing::Types<Torch, DropIn>;
TYPED_TEST_SUITE(DropInBattery, Both);

TYPED_TEST(DropInBattery, LoadersRunPackages) {
  const auto [input, output] = recorded_mlp();
  for (const bool single : {false, true}) {
    typename TypeParam::Loader loader{model_path("mlp"), "model", single, 1, -1};
    EXPECT_TRUE(close(loader.run({input})[0], output));
    Tensors inputs{input.clone()};
    EXPECT_TRUE(close(loader.boxed_run(std::move(inputs))[0], output));
    typename TypeParam::Base* const runner = loader.get_runner();
    EXPECT_TRUE(close(runner->run({input})[0], output));
    EXPECT_NE(dynamic_cast<typename TypeParam::Cpu*>(runner), nullptr);
    EXPECT_TRUE(loader.get_custom_objs().empty());
  }
}

TYPED_TEST(DropInBattery, LoadersTellOfAModel) {
  typename TypeParam::Loader loader{model_path("mlp")};
  const auto metadata = loader.get_metadata();
  EXPECT_EQ(metadata.at("AOTI_DEVICE_KEY"), "cpu");
  EXPECT_EQ(TypeParam::Loader::load_metadata_from_package(model_path("mlp"), "model"), metadata);
  auto names = loader.get_constant_fqns();
  std::sort(names.begin(), names.end());
  EXPECT_GE(names.size(), 4u);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  const auto spec = loader.get_call_spec();
  ASSERT_EQ(spec.size(), 2u);
  EXPECT_NE(spec[0].find("builtins.tuple"), std::string::npos);
  EXPECT_EQ(loader.get_runner()->get_call_spec(), spec);
}

TYPED_TEST(DropInBattery, LoadersTakeDynamicSizesAndWeights) {
  typename TypeParam::Loader loader{model_path("mlp"), "model", false, 2};
  const Recorded mlp = recorded_mlp();
  const at::Tensor &input = mlp.input, &output = mlp.output;
  const at::Tensor rows = at::arange(64, at::kLong).remainder(4);
  EXPECT_TRUE(close(loader.run({input.index_select(0, rows)})[0], output.index_select(0, rows)));
  TensorMap zeros;
  for (const auto& [name, tensor] : loader.get_runner()->extract_constants_map(false)) {
    zeros[name] = at::zeros_like(tensor);
  }
  loader.load_constants(zeros, false, true);
  EXPECT_TRUE(close(loader.run({input})[0], at::zeros_like(output)));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 20; ++k) EXPECT_TRUE(close(loader.run({input})[0], 0 * output));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TYPED_TEST(DropInBattery, RunnersTakeWeightsInEachWay) {
  const auto runner = this->opened_runner();
  EXPECT_TRUE(runner->did_call_load_constants());
  const at::Tensor x = at::randn({4, 16});
  const auto expect = [&](const TensorMap& weights) {
    EXPECT_TRUE(close(runner->run({x})[0], this->expected(*runner, weights, x)));
  };
  TensorMap first = this->others(*runner), second = this->others(*runner);
  runner->update_constant_buffer(first, false, true);
  expect(first);
  runner->update_constant_buffer_from_cpu(second, false, true);
  expect(second);

  typename TypeParam::Pointers pointers;
  for (auto& [name, tensor] : first) pointers[name] = &tensor;
  runner->update_inactive_constant_buffer(pointers);
  expect(second);
  runner->swap_constant_buffer();
  expect(first);
  EXPECT_EQ(runner->extract_constants_map(true).size(), second.size());
  runner->swap_constant_buffer();
  expect(second);
  runner->free_inactive_constant_buffer();
  expect(second);
  runner->update_constant_buffer(pointers, false, true);
  expect(first);

  runner->update_constant_buffer(second, false, true, true);  // without a copy
  for (const auto& [name, tensor] : second) tensor.mul_(0.5);
  runner->run_const_fold(false);
  expect(second);
  for (const auto& [name, dtype] : runner->getConstantNamesToDtypes()) {
    EXPECT_EQ(dtype, static_cast<std::int32_t>(at::kFloat)) << name;
  }
}

TYPED_TEST(DropInBattery, RunnersUseConstantsThatTheyAreMadeWith) {
  const auto first = this->opened_runner();
  TensorMap weights = this->others(*first);
  typename TypeParam::Cpu runner{this->image, 1, weights};
  EXPECT_FALSE(runner.did_call_load_constants());
  const at::Tensor x = at::randn({4, 16});
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(close(runner.run({x})[0], this->expected(runner, weights, x)));
    for (const auto& [name, tensor] : weights) tensor.mul_(0.5);
  }
}

TYPED_TEST(DropInBattery, ErrorsAreExceptions) {
  EXPECT_THROW((typename TypeParam::Loader{this->folder.path() + "/none.pt2"}), std::exception);
  EXPECT_THROW((typename TypeParam::Loader{model_path("mlp"), "other"}), std::exception);
  EXPECT_THROW((typename TypeParam::Cpu{this->folder.path() + "/none.so"}), std::exception);
  EXPECT_THROW((typename TypeParam::Cpu{this->image, 2, true}), std::exception);
  const auto runner = this->opened_runner();
  TensorMap wrong{{"no_such_weight", at::zeros({1})}}, few = this->others(*runner);
  EXPECT_THROW(runner->update_constant_buffer(wrong, false, true), std::runtime_error);
  for (const auto& [name, fqn] : runner->getConstantNamesToOriginalFQNs()) {
    if (fqn == "first.weight") few.erase(name);
  }
  EXPECT_THROW(runner->update_constant_buffer(few, false, true), std::runtime_error);
  typename TypeParam::Loader loader{model_path("mlp")};
  TensorMap none;
  EXPECT_THROW(loader.load_constants(none, false, false, true, true), std::exception);
}

TEST(DropIn, LeavesWeightsAsTheyAreWhereAnUpdateIsRefused) {
  needs("mlp");
  aoti::drop_in::BasicPackageLoader<aoti::Cpu> loader{model_path("mlp")};
  const auto [input, output] = recorded_mlp();
  TensorMap zeros;
  aoti::drop_in::TensorConstantMap pointers;
  for (const auto& [name, tensor] : loader.get_runner()->extract_constants_map(false)) {
    zeros[name] = at::zeros_like(tensor);
    pointers[name] = pointers.empty() ? nullptr : &zeros[name];
  }
  EXPECT_THROW(loader.get_runner()->update_constant_buffer(pointers, false, false),
               aoti::drop_in::Error);
  EXPECT_TRUE(close(loader.run({input})[0], output));
  // Weights staged in the other set are not included.
  loader.load_constants(zeros, true, true);
  EXPECT_THROW(loader.load_constants(zeros, false, true), aoti::drop_in::Error);
  EXPECT_TRUE(close(loader.run({input})[0], output));
  loader.get_runner()->swap_constant_buffer();
  EXPECT_TRUE(close(loader.run({input})[0], at::zeros_like(output)));
}

TEST(DropIn, TellsWhatIsWrong) {
  needs("mlp");
  aoti::drop_in::BasicPackageLoader<aoti::Cpu> loader{model_path("mlp"), "model", true};
  try {
    loader.run({at::zeros({4, 3}), at::zeros({1})});
    FAIL() << "it took two inputs";
  } catch (const aoti::drop_in::Error& error) {
    EXPECT_EQ(error.code(), aoti::Errc::input_count);
    EXPECT_NE(std::string{error.what()}.find("found 2 inputs, expected 1"), std::string::npos);
  }
  using Cuda = aoti::drop_in::AOTIModelContainerRunnerCuda;
  try {
    Cuda runner{model_path("mlp"), 1, "cuda:x"};
    FAIL() << "it took a device of no number";
  } catch (const aoti::drop_in::Error& error) {
    EXPECT_NE(std::string{error.what()}.find("found 'cuda:x', expected 'cuda' or 'cuda:0'"),
              std::string::npos);
  }
  EXPECT_THROW(aoti::drop_in::BasicPackageLoader<aoti::Cuda>{model_path("mlp")},
               std::runtime_error);
}

}  // namespace
}  // namespace aoti_test
#endif
