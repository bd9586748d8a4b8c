// Weights of models that torch compiled: where they lie, and how they change, beside upstream.
#include <aoti/run/weights.hpp>

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "libtorch/models.hpp"

namespace aoti_test {
namespace {

using aoti::Errc;

using Named = std::unordered_map<std::string, at::Tensor>;

template <class R> Named named_weights(R& runner) {
  Named result;
  for (auto& [name, tensor] : value_of(aoti::weights(runner))) result[name] = tensor;
  return result;
}

/// The file that the mapping at an address belongs to; empty where there is none.
std::string file_at(const void* address) {
  std::ifstream maps{"/proc/self/maps"};
  for (std::string text; std::getline(maps, text);) {
    std::uintptr_t begin = 0, end = 0;
    int path = 0;
    if (std::sscanf(text.c_str(), "%lx-%lx %*s %*s %*s %*s %n", &begin, &end, &path) < 2) continue;
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    if (at >= begin && at < end) return text.substr(static_cast<std::size_t>(path));
  }
  return {};
}

TEST(LibtorchWeights, BesideTheImageAreUsedFromTheFile) {
  for (const char* model : {"mlp_beside"}) {
    needs(model);
    SCOPED_TRACE(model);
    Runner runner = opened(model);
    for (const aoti::Constant& constant : runner.constants()) EXPECT_TRUE(constant.described);
    const Named weights = named_weights(runner);
    EXPECT_FALSE(weights.empty());
    for (const auto& [name, tensor] : weights) {
      EXPECT_EQ(file_at(tensor.data_ptr()), std::string{model_path(model)}) << name;
    }
    const Recorded expected = recorded_mlp();
    EXPECT_TRUE(close(value_of(runner.run<1>(expected.input))[0], expected.output));
    // What is written stays in this runner.
    weights.begin()->second.fill_(0.5);
    EXPECT_FALSE(close(value_of(runner.run<1>(expected.input))[0], expected.output));
    Runner second = opened(model);
    EXPECT_TRUE(close(value_of(second.run<1>(expected.input))[0], expected.output));
  }
}

TEST(LibtorchWeights, InMemoryAreCopied) {
  needs("mlp_beside");
  const auto bytes = read_file(model_path("mlp_beside"));
  Runner runner = value_of(Runner::open(bytes));
  for (const auto& [name, tensor] : named_weights(runner)) {
    EXPECT_EQ(file_at(tensor.data_ptr()).find(".pt2"), std::string::npos) << name;
  }
  const Recorded expected = recorded_mlp();
  EXPECT_TRUE(close(value_of(runner.run<1>(expected.input))[0], expected.output));
}

/// The tensors of NAME_weights.bin, one after the other.
Named other_weights(std::string_view model,
                    const std::vector<std::pair<std::string, Sizes>>& shapes) {
  const auto bytes = read_file(models_file(std::string{model}.append("_weights.bin")));
  Named result;
  std::size_t at = 0;
  for (const auto& [name, shape] : shapes) {
    at::Tensor& tensor = result[name] = at::zeros(shape);
    if (at + tensor.nbytes() > bytes.size()) throw std::runtime_error{"too few weights"};
    std::memcpy(tensor.data_ptr(), bytes.data() + at, tensor.nbytes());
    at += tensor.nbytes();
  }
  if (at != bytes.size()) throw std::runtime_error{"too many weights"};
  return result;
}

Named linear_weights() {
  return other_weights("linear", {{"first.weight", {24, 16}},
                                  {"first.bias", {24}},
                                  {"second.weight", {12, 24}},
                                  {"second.bias", {12}},
                                  {"scale", {24}},
                                  {"_tensor_constant0", {12}}});
}

template <class R> aoti::Result<void> replaced(R& runner, const Named& weights) {
  auto update = aoti::update_weights(runner);
  if (!update) return std::move(update).error();
  for (const auto& [name, tensor] : weights) {
    if (auto done = update.value().set(name, tensor); !done) return done;
  }
  return update.value().commit();
}

// What the tensors of eager PyTorch give, the model gives with them, however it was packaged.
TEST(LibtorchWeights, AreThoseOfTheModule) {
  const Recorded first = recorded("linear", {4, 16}, {4, 12});
  const Recorded second = recorded("linear_updated", {4, 16}, {4, 12});
  for (const char* model : available({"linear_beside", "linear_embedded", "linear_foreign"})) {
    SCOPED_TRACE(model);
    Runner runner = opened(model);
    // Torch 2.8 embeds all weights, and models before 2.11 copy them.
    const bool beside = std::string_view{model} != "linear_embedded" && !compiled_before(2, 11);
    EXPECT_TRUE(close(value_of(runner.run<1>(first.input))[0], first.output));
    const Named before = named_weights(runner);
    EXPECT_EQ(before.size(), 6u);
    for (const auto& [name, tensor] : before) {
      EXPECT_EQ(file_at(tensor.data_ptr()) == model_path(model), beside) << name;
    }
    // Models before torch 2.12 run once on a second set and then refuse, but by one function.
    for (int change = 0; change < 2; ++change) {
      ASSERT_TRUE(good(replaced(runner, linear_weights())));
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(close(value_of(runner.run<1>(second.input))[0], second.output));
      }
    }
  }
}

// Models before torch 2.15 keep for ever what they were given.
TEST(LibtorchWeights, AreGivenUpOnceReplaced) {
  const at::Tensor x = recorded_mlp().input;
  for (const char* model : available({"mlp", "mlp_beside"})) {
    SCOPED_TRACE(model);
    at::Tensor tensors[3];
    {
      Runner runner = opened(model);
      for (at::Tensor& tensor : tensors) {
        tensor = at::randn({32, 64});
        auto update = value_of(aoti::update_weights(runner));
        ASSERT_TRUE(good(update.share("0.weight", tensor)));
        ASSERT_TRUE(good(update.commit()));
        EXPECT_TRUE(good(runner.run<1>(x)));
        EXPECT_GT(tensor.use_count(), 1u);
      }
      EXPECT_EQ(tensors[0].use_count(), 1u);
      EXPECT_EQ(tensors[1].use_count(), 1u);
    }
    EXPECT_EQ(tensors[2].use_count(), 1u);
  }
}

TEST(LibtorchWeights, MayComeAfterTheModel) {
  const Recorded second = recorded("linear_updated", {4, 16}, {4, 12});
  needs("linear_none");
  auto refused = Runner::open(model_path("linear_none"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::unsupported);
  Runner runner = opened("linear_none", {.without_weights = true});
  EXPECT_EQ(runner.run<1>(second.input).error().code(), Errc::bad_state);
  Named weights = linear_weights();
  const at::Tensor scale = weights["scale"];
  weights.erase("scale");
  auto part = replaced(runner, weights);
  ASSERT_FALSE(part);
  EXPECT_EQ(part.error().code(), Errc::missing_constants);
  EXPECT_NE(part.error().text().find("scale"), std::string_view::npos);
  EXPECT_EQ(runner.run<1>(second.input).error().code(), Errc::bad_state);
  weights["scale"] = scale;
  ASSERT_TRUE(good(replaced(runner, weights)));
  EXPECT_TRUE(close(value_of(runner.run<1>(second.input))[0], second.output));
}

TEST(LibtorchWeights, AreFolded) {
  const Recorded first = recorded("folding", {4, 16}, {4, 12});
  const Recorded second = recorded("folding_updated", {4, 16}, {4, 12});
  Runner runner = opened("folding");
  EXPECT_EQ(runner.weights_state(), aoti::WeightsState::folded);
  EXPECT_TRUE(close(value_of(runner.run<1>(first.input))[0], first.output));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(
        good(replaced(runner, other_weights("folding", {{"w1", {16, 8}}, {"w2", {8, 12}}}))));
    EXPECT_TRUE(close(value_of(runner.run<1>(second.input))[0], second.output));
  }
}

// A model that writes to a buffer of its own writes to pages of its own.
TEST(LibtorchWeights, ThatAModelChangesStayItsOwn) {
  const at::Tensor x = at::ones({12});
  for (int opening = 0; opening < 2; ++opening) {
    Runner first = opened("mutating"), second = opened("mutating");
    for (int n = 1; n <= 3; ++n) {
      EXPECT_TRUE(at::equal(value_of(first.run<2>(x))[1], at::full({12}, n * 1.0)));
    }
    EXPECT_TRUE(at::equal(value_of(second.run<2>(x))[1], at::ones({12})));
  }
}

// Each way of packaging, and upstream's loader after the same change.
TEST(LibtorchWeights, ChangeAsUpstreamsDo) {
  load_libtorch_so();
  const at::Tensor x = recorded_mlp().input;
  for (const char* model : available({"mlp", "mlp_plain", "mlp_appended", "mlp_beside"})) {
    SCOPED_TRACE(model);
    Runner runner = opened(model);
    torch::inductor::AOTIModelPackageLoader loader{model_path(model)};
    at::manual_seed(1);
    for (int round = 0; round < 3; ++round) {
      Named changed;
      auto update = value_of(aoti::update_weights(runner));
      for (const auto& [name, tensor] : named_weights(runner)) {
        changed[name] = at::randn_like(tensor);
        ASSERT_TRUE(
            good(round == 1 ? update.share(name, changed[name]) : update.set(name, changed[name])));
      }
      ASSERT_TRUE(good(update.commit()));
      loader.load_constants(changed, false, true);
      EXPECT_TRUE(same(value_of(runner.run<1>(x))[0], loader.run({x})[0])) << round;
    }
    // One of them, from a view of larger storage, transposed and on its way.
    const at::Tensor large = at::randn({100, 64, 32});
    const at::Tensor view = large[3].t();
    auto update = value_of(aoti::update_weights(runner));
    EXPECT_EQ(update.share("0.weight", view).error().code(), Errc::constant_layout);
    ASSERT_TRUE(good(update.set("0.weight", view)));
    ASSERT_TRUE(good(update.commit()));
    Named one{{"0.weight", view.contiguous()}};
    loader.load_constants(one, false, false);
    EXPECT_TRUE(same(value_of(runner.run<1>(x))[0], loader.run({x})[0]));
    EXPECT_TRUE(at::equal(named_weights(runner)["0.weight"], view));
  }
}

TEST(LibtorchWeights, AreRefusedWhereUpstreamTakesThem) {
  Runner runner = opened("mlp");
  const at::Tensor x = recorded_mlp().input;
  const at::Tensor before = value_of(runner.run<1>(x))[0];
  auto update = value_of(aoti::update_weights(runner));
  EXPECT_EQ(update.set("no.weight", at::ones({1})).error().code(), Errc::no_such_constant);
  EXPECT_EQ(update.set("0.weight", at::ones({64, 32})).error().code(), Errc::constant_shape);
  EXPECT_EQ(update.set("0.weight", at::ones({32, 64}, at::kDouble)).error().code(),
            Errc::constant_dtype);
  EXPECT_EQ(update.set("0.weight", at::ones({32, 64}).to_sparse()).error().code(),
            Errc::constant_layout);
  EXPECT_EQ(update.set("0.weight", at::ones({32, 64}, at::kMeta)).error().code(),
            Errc::constant_device);
  EXPECT_EQ(update.set("0.weight", {}).error().code(), Errc::undefined_tensor);
  ASSERT_TRUE(good(update.commit()));
  EXPECT_TRUE(same(value_of(runner.run<1>(x))[0], before));
}

// Threads run while another changes the weights a thousand times.
TEST(LibtorchWeights, ChangeUnderLoad) {
  const at::Tensor x = at::ones({4, 64});
  for (const char* model : available({"mlp", "mlp_beside"})) {
    SCOPED_TRACE(model);
    SharedRunner runner = opened<SharedRunner>(model, {.instances = 2});
    Named sets[2];
    at::Tensor outputs[2];
    for (int k = 0; k < 2; ++k) {
      auto update = value_of(aoti::update_weights(runner));
      for (const auto& [name, tensor] : named_weights(runner)) {
        sets[k][name] = at::full_like(tensor, 0.25 * (k + 1));
        ASSERT_TRUE(good(update.set(name, sets[k][name])));
      }
      ASSERT_TRUE(good(update.commit()));
      outputs[k] = value_of(runner.run<1>(x))[0];
    }
    std::atomic<bool> stop = false;
    std::atomic<int> mixed = 0, runs = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] {
        while (!stop) {
          const auto found = runner.run<1>(x);
          const bool one = found && (at::equal(found.value()[0], outputs[0]) ||
                                     at::equal(found.value()[0], outputs[1]));
          mixed += one ? 0 : 1;
          ++runs;
        }
      });
    }
    for (int i = 0; i < 1000; ++i) {
      auto update = aoti::update_weights(runner);
      for (const auto& [name, tensor] : sets[i % 2]) {
        if (!update || !update.value().set(name, tensor)) ++mixed;
      }
      if (!update || !update.value().commit()) ++mixed;
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(mixed, 0);
    EXPECT_GT(runs, 0);
  }
}

TEST(LibtorchWeights, ComeFromABlob) {
  const Recorded expected = recorded_mlp();
  Runner runner = opened("mlp");
  std::size_t size = 0;
  for (const aoti::Constant& constant : runner.constants()) size += constant.bytes;
  std::vector<std::byte> blob(size);
  for (const auto& [name, tensor] : named_weights(runner)) {
    for (const aoti::Constant& constant : runner.constants()) {
      if (constant.fqn != name) continue;
      const at::Tensor half = tensor * 0.5;
      std::memcpy(blob.data() + constant.offset, half.data_ptr(), half.nbytes());
    }
  }
  auto update = value_of(aoti::update_weights(runner));
  ASSERT_TRUE(good(update.set_blob(blob)));
  ASSERT_TRUE(good(update.commit()));
  Runner other = opened("mlp");
  Named halves;
  for (const auto& [name, tensor] : named_weights(other)) halves[name] = tensor * 0.5;
  ASSERT_TRUE(good(replaced(other, halves)));
  const at::Tensor x = expected.input;
  EXPECT_TRUE(same(value_of(runner.run<1>(x))[0], value_of(other.run<1>(x))[0]));
}

TEST(LibtorchWeights, ComeFromTheBlobOfAnotherPackage) {
  needs("mlp_beside");
  const auto package = value_of(aoti::Package::open(model_path("mlp_beside")));
  const auto model = value_of(package.model());
  Runner runner = opened("mlp");
  const Recorded expected = recorded_mlp();
  auto zero = value_of(aoti::update_weights(runner));
  for (const auto& [name, tensor] : named_weights(runner)) {
    ASSERT_TRUE(good(zero.set(name, at::zeros_like(tensor))));
  }
  ASSERT_TRUE(good(zero.commit()));
  EXPECT_FALSE(close(value_of(runner.run<1>(expected.input))[0], expected.output));
  auto update = value_of(aoti::update_weights(runner));
  ASSERT_TRUE(good(update.set_blob(model.weights)));
  ASSERT_TRUE(good(update.commit()));
  EXPECT_TRUE(close(value_of(runner.run<1>(expected.input))[0], expected.output));
}

}  // namespace
}  // namespace aoti_test
