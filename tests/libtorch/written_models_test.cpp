// Models written in C++, run by torch's own runners, and by this library on libtorch.
#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <aoti/weights.hpp>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "support/support.hpp"

namespace aoti_test {
namespace {

const std::string folder = AOTI_TEST_WRITTEN_MODELS_DIR;

at::Tensor rows() { return at::arange(24, at::kFloat).reshape({3, 8}); }

TEST(WrittenModels, RunInTorchsLoader) {
  torch::inductor::AOTIModelPackageLoader loader{folder + "/scale.pt2"};
  const at::Tensor x = rows();
  EXPECT_TRUE(at::equal(loader.run({x})[0], x));
  EXPECT_EQ(loader.get_metadata().at("AOTI_DEVICE_KEY"), "cpu");
  EXPECT_THAT(loader.get_constant_fqns(), testing::UnorderedElementsAre("factor", "offset"));
  auto* const runner = loader.get_runner();
  EXPECT_EQ(runner->get_call_spec().size(), 2u);
  at::Tensor factor = at::full({8}, 10.0), offset = at::full({8}, 0.5);
  runner->update_inactive_constant_buffer({{"factor", &factor}, {"offset", &offset}});
  EXPECT_TRUE(at::equal(loader.run({x})[0], x));
  runner->run_const_fold(true);
  runner->swap_constant_buffer();
  EXPECT_TRUE(at::equal(loader.run({x})[0], 10 * x + 0.5));
  EXPECT_ANY_THROW(loader.run({x.t()}));
  EXPECT_ANY_THROW(loader.run({x.to(at::kDouble)}));
  EXPECT_ANY_THROW(loader.run({x, x}));
  EXPECT_TRUE(at::equal(loader.run({x})[0], 10 * x + 0.5));
}

TEST(WrittenModels, KeepStateInTorchsLoader) {
  torch::inductor::AOTIModelPackageLoader loader{folder + "/average.pt2", "model", true};
  const at::Tensor ones = at::ones({10});
  const double decay = std::exp2(-0.1);
  EXPECT_NEAR(loader.run({ones})[0][9].item<float>(), 1 - std::pow(decay, 10), 1e-5);
  EXPECT_NEAR(loader.run({ones})[0][9].item<float>(), 1 - std::pow(decay, 20), 1e-5);
}

TEST(WrittenModels, RunOnSeveralThreadsInTorchsLoader) {
  torch::inductor::AOTIModelPackageLoader loader{folder + "/scale.pt2", "model", false, 2};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      const at::Tensor x = rows();
      for (int i = 0; i < 200; ++i) EXPECT_TRUE(at::equal(loader.run({x})[0], x));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(WrittenModels, RunOnLibtorch) {
  using Runner = aoti::Runner<aoti::Cpu, aoti::Libtorch>;
  auto opened = Runner::open(folder + "/scale.pt2");
  ASSERT_TRUE(good(opened));
  Runner& runner = opened.value();
  const at::Tensor x = rows();
  auto result = runner.run<1>(x);
  ASSERT_TRUE(good(result));
  EXPECT_TRUE(at::equal(result.value()[0], x));
  auto update = aoti::update_weights(runner);
  ASSERT_TRUE(good(update));
  ASSERT_TRUE(good(update.value().set("factor", at::full({8}, 2.0))));
  ASSERT_TRUE(good(update.value().commit()));
  EXPECT_TRUE(at::equal(runner.run<1>(x).value()[0], 2 * x));
  expect_error(runner.run<1>(x.t()), aoti::Errc::input_shape, {"input 0 'x'"});
}

}  // namespace
}  // namespace aoti_test
