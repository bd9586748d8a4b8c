// Models written in C++ and linked into this program, run by a Runner.
#include "model/models.hpp"

#include <aoti/array_ref.hpp>
#include <aoti/weights.hpp>
#include <thread>
#include <vector>

namespace aoti_test {
namespace {

using Runner = aoti::Runner<aoti::Cpu, aoti::Native>;
using SharedRunner =
    aoti::Runner<aoti::Cpu, aoti::Native, aoti::Options{.access = aoti::Access::shared}>;
using aoti::Errc;

template <class R = Runner, class M = Affine> R opened(const aoti::OpenOptions& options = {}) {
  auto runner = R::open(aoti::linked<M>(), options);
  EXPECT_TRUE(good(runner));
  return std::move(runner).value();
}

TEST(LinkedModel, IsRunLikeAnyOther) {
  const Runner runner = opened();
  EXPECT_EQ(runner.input_count(), 1u);
  EXPECT_EQ(runner.input_name(0).value(), "x");
  EXPECT_EQ(runner.constants().size(), 4u);
  EXPECT_EQ(runner.weights_state(), aoti::WeightsState::folded);
  const aoti::Tensor x = floats({1, 2, 3});
  auto result = runner.run<2>(x);
  ASSERT_TRUE(good(result));
  EXPECT_EQ(first(result.value()[0]), 13);
  EXPECT_EQ(static_cast<const float*>(result.value()[0].data())[2], 19);
  EXPECT_EQ(first<std::int64_t>(runner.run<2>(x).value()[1]), 2);
  expect_error(runner.run<1>(x), Errc::output_count, {"found room for 1 outputs, expected 2"});
}

TEST(LinkedModel, TellsWhyItFails) {
  const Runner runner = opened<Runner, Echo>();
  const aoti::Tensor x = floats({1});
  Echo::trouble = Echo::Trouble::refuses;
  expect_error(runner.run<1>(x), Errc::model_failed, {"Echo", "it was told to fail"});
  Echo::trouble = Echo::Trouble::none;
  EXPECT_EQ(first(runner.run<1>(x).value()[0]), 1);
}

TEST(LinkedModel, ChangesItsWeightsInATransaction) {
  Runner runner = opened();
  const aoti::Tensor x = floats({1});
  auto update = aoti::update_weights(runner);
  ASSERT_TRUE(good(update));
  ASSERT_TRUE(good(update.value().set("layer.w", floats({10}))));
  ASSERT_TRUE(good(update.value().set("layer.b", floats({20}))));
  EXPECT_EQ(first(runner.run<2>(x).value()[0]), 13);
  ASSERT_TRUE(good(update.value().commit()));
  EXPECT_EQ(first(runner.run<2>(x).value()[0]), 50);

  auto bad = aoti::update_weights(runner);
  ASSERT_TRUE(good(bad.value().set("layer.b", floats({666}))));
  expect_error(bad.value().commit(), Errc::model_failed, {"666 is refused"});
  EXPECT_EQ(first(runner.run<2>(x).value()[0]), 50);
}

TEST(LinkedModel, HasNoWeightsUntilTheyAreSet) {
  expect_error(Runner::open(aoti::linked<Empty>()), Errc::unsupported, {"no weights"});
  Runner runner = opened<Runner, Empty>({.weights = aoti::PackagedWeights::optional});
  const aoti::Tensor x = floats({2});
  expect_error(runner.run<1>(x), Errc::bad_state, {"no weights yet"});
  auto update = aoti::update_weights(runner);
  ASSERT_TRUE(good(update.value().set("w", floats({21}))));
  ASSERT_TRUE(good(update.value().commit()));
  EXPECT_EQ(first(runner.run<1>(x).value()[0]), 42);
}

TEST(LinkedModel, IsSharedByThreads) {
  SharedRunner runner = opened<SharedRunner>({.instances = 2});
  std::atomic<int> wrong = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      const aoti::Tensor x = floats({1});
      while (!stop) {
        auto result = runner.run<2>(x);
        const float y = result ? first(result.value()[0]) : -1;
        wrong += y != 13 && y != 50;
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    auto update = aoti::update_weights(runner);
    EXPECT_TRUE(good(update.value().set("layer.w", floats({i % 2 == 0 ? 10.0f : 3.0f}))));
    EXPECT_TRUE(good(update.value().set("layer.b", floats({i % 2 == 0 ? 20.0f : 5.0f}))));
    EXPECT_TRUE(good(update.value().commit()));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(LinkedModel, IsCalledOnViews) {
  auto model = aoti::ArrayRefModel<>::open(aoti::linked<Affine>());
  expect_error(model, Errc::unsupported, {"computed when the model is loaded"});
  auto echo = aoti::ArrayRefModel<>::open(aoti::linked<Echo>());
  ASSERT_TRUE(good(echo));
  float x[3] = {1, 2, 3};
  const std::array in{aoti::TensorView::of(x, {3})};
  std::array<aoti::TensorView, 1> out;
  ASSERT_TRUE(good(echo.value().run(in, out)));
  EXPECT_EQ(static_cast<float*>(out[0].data)[2], 3);
}

TEST(LinkedModel, IsForOneRuntime) {
  aoti::LinkedModel other = aoti::linked<Echo>();
  other.is_bound = false;
  expect_error(Runner::open(other), Errc::unsupported,
               {"linked model", "process's runtime", "cannot run on the native one"});
}

}  // namespace
}  // namespace aoti_test
