// Every way to run a model, from one thread and from several, on every tensor runtime. A file for
// one runtime includes how it makes tensors, and has
//   INSTANTIATE_TYPED_TEST_SUITE_P(Name, RunsBattery, Runtime);
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/models.hpp"

namespace aoti_test {

template <class Runtime> class RunsBattery : public testing::Test {};
TYPED_TEST_SUITE_P(RunsBattery);

template <class Runner> void expect_the_same_in_every_form() {
  using Runtime = typename Runner::TensorRuntime;
  using B = OnRuntime<Runtime>;
  using Tensor = typename B::Tensor;
  using Tensors = typename B::Tensors;
  const auto runner = B::template opened<Runner>("nested");
  const auto some = B::count_from(-5, 12), others = B::count_from(2, 12);
  auto products = some;
  std::vector<bool> positive;
  float sum = 0;
  for (std::size_t i = 0; i < 12; ++i) {
    sum += products[i] *= others[i];
    positive.push_back(products[i] > 0);
  }
  const auto expect_same = [&](const auto& outputs) {
    ASSERT_EQ(outputs.size(), 3u);
    EXPECT_EQ(B::floats_in(outputs[0]), products);
    EXPECT_EQ(B::floats_in(outputs[1]), typename B::Floats{sum});
    EXPECT_EQ(B::bools_in(outputs[2]), positive);
  };

  const Tensor x = B::floats({4, 3}, some), scale = B::floats({4, 3}, others);
  expect_same(value_of(runner.template run<3>(x, scale)));
  Tensor one = x, other = scale;
  expect_same(value_of(runner.template run<3>(one, std::move(other))));
  EXPECT_TRUE(Runtime::is_defined(one));
  EXPECT_FALSE(Runtime::is_defined(other));  // NOLINT(bugprone-use-after-move): that is the point
  other = B::floats({4, 3}, others);
  expect_same(value_of(runner.template run<3>(std::move(one), std::move(other))));
  expect_same(value_of(runner.template run<3>(B::floats({4, 3}, some), scale)));

  Tensors inputs{x, scale};
  const Tensors& lent = inputs;
  expect_same(value_of(runner.run(lent)));
  EXPECT_TRUE(Runtime::is_defined(inputs[0]));

  const Tensor seven = B::floats({1}, {7});
  Tensors outputs(3, seven);
  ASSERT_TRUE(good(runner.run_into(lent, outputs)));
  expect_same(outputs);
  EXPECT_EQ(B::floats_in(seven)[0], 7);  // a slot is replaced, not written through
  EXPECT_EQ(B::Case::owners(seven), 1u);
  ASSERT_TRUE(good(runner.run_into(lent, outputs)));
  expect_same(outputs);

  expect_same(value_of(runner.boxed_run(inputs)));
  for (const Tensor& input : inputs) EXPECT_FALSE(Runtime::is_defined(input));

  AtenTensorHandle in[] = {Runtime::share(x), Runtime::share(scale)}, out[3] = {};
  ASSERT_TRUE(good(runner.run_handles(in, out)));
  Tensors taken;
  for (const AtenTensorHandle handle : in) EXPECT_EQ(handle, nullptr);
  for (const AtenTensorHandle handle : out) taken.push_back(Runtime::take(handle));
  expect_same(taken);

  EXPECT_EQ(B::floats_in(x), some);
  EXPECT_EQ(B::floats_in(scale), others);
  EXPECT_EQ(B::Case::owners(x), 1u);
  EXPECT_EQ(B::Case::owners(scale), 1u);
}

TYPED_TEST_P(RunsBattery, GiveTheSameInEveryForm) {
  using B = OnRuntime<TypeParam>;
  expect_the_same_in_every_form<typename B::Runner>();
  expect_the_same_in_every_form<typename B::SharedRunner>();
  expect_the_same_in_every_form<typename B::UncheckedRunner>();
}

TYPED_TEST_P(RunsBattery, GiveWhatPyTorchDoes) {
  using B = OnRuntime<TypeParam>;
  for (const char* name : B::networks()) {
    SCOPED_TRACE(name);
    const auto runner = B::opened(name);
    const auto [sizes, in, output] = B::recorded_of(name);
    const auto outputs = value_of(runner.template run<1>(B::floats(sizes, in)));
    EXPECT_TRUE(B::close(outputs[0], output));
    auto wrong = output;
    wrong.back() += 1e-2f;
    EXPECT_FALSE(B::close(outputs[0], wrong));
  }
}

template <class Runner> void expect_outputs_that_own_their_memory() {
  using B = OnRuntime<typename Runner::TensorRuntime>;
  for (const char* name : B::networks()) {
    SCOPED_TRACE(name);
    const auto expected = B::recorded_of(name);
    const auto input = expected.input();
    auto runner = B::template opened<Runner>(name);
    const auto first = value_of(runner.template run<1>(input));
    const auto second = value_of(runner.template run<1>(input));
    auto* numbers = static_cast<float*>(const_cast<void*>(B::Case::data(first[0])));
    EXPECT_NE(numbers, B::Case::data(second[0]));
    for (std::size_t i = 0; i < expected.output.size(); ++i) numbers[i] = 0;
    EXPECT_TRUE(B::close(second[0], expected.output));
    EXPECT_EQ(B::Case::owners(second[0]), 1u);
    std::move(runner).unload();
    EXPECT_TRUE(B::close(second[0], expected.output));
  }
}

TYPED_TEST_P(RunsBattery, GiveOutputsThatOwnTheirMemory) {
  using B = OnRuntime<TypeParam>;
  expect_outputs_that_own_their_memory<typename B::Runner>();
  expect_outputs_that_own_their_memory<typename B::SharedRunner>();
  expect_outputs_that_own_their_memory<typename B::UncheckedRunner>();
}

/// Runs `body(thread)` on four threads at once.
template <class Body> void on_four_threads(Body body) {
  std::atomic<int> waiting = 4;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (--waiting; waiting > 0;) std::this_thread::yield();
      body(thread);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// How many of 1000 runs, each on its own inputs, give wrong results.
template <class Runner>
int wrong_runs(const Runner& add, const Runner& network, std::string_view name, int thread) {
  using B = OnRuntime<typename Runner::TensorRuntime>;
  using Floats = typename B::Floats;
  const auto expected = B::recorded_of(name);
  int wrong = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto a = static_cast<float>(thread), b = static_cast<float>(i);
    const auto sum =
        add.template run<1>(B::floats({8}, Floats(8, a)), B::floats({8}, Floats(8, b)));
    wrong += !sum || B::floats_in(sum.value()[0]) != Floats(8, a + b);
    const auto row = static_cast<std::size_t>(i + thread);
    const auto result = network.template run<1>(expected.input_row(row));
    wrong += !result || !B::close(result.value()[0], expected.output_row(row));
  }
  return wrong;
}

TYPED_TEST_P(RunsBattery, MayShareARunnerWhoseAccessIsShared) {
  using B = OnRuntime<TypeParam>;
  using SharedRunner = typename B::SharedRunner;
  for (const std::size_t instances : {1, 2, 4}) {
    SCOPED_TRACE(instances);
    const auto add = B::template opened<SharedRunner>("add", {.instances = instances});
    for (const char* name : B::networks()) {
      SCOPED_TRACE(name);
      const auto network = B::template opened<SharedRunner>(name, {.instances = instances});
      std::atomic<int> wrong = 0;
      on_four_threads([&](int thread) { wrong += wrong_runs(add, network, name, thread); });
      EXPECT_EQ(wrong, 0);
    }
  }
}

TYPED_TEST_P(RunsBattery, MayHaveARunnerForEachThread) {
  using B = OnRuntime<TypeParam>;
  const char* name = B::networks()[0];
  std::atomic<int> wrong = 0;
  on_four_threads([&](int thread) {
    const auto add = B::opened("add"), network = B::opened(name);
    wrong += wrong_runs(add, network, name, thread);
  });
  EXPECT_EQ(wrong, 0);
}

TYPED_TEST_P(RunsBattery, MayTakeTurnsOnThreads) {
  using B = OnRuntime<TypeParam>;
  const char* name = B::networks()[0];
  const auto add = B::opened("add"), network = B::opened(name);
  for (int turn = 0; turn < 3; ++turn) {
    int wrong = -1;
    std::thread{[&] { wrong = wrong_runs(add, network, name, turn); }}.join();
    EXPECT_EQ(wrong, 0);
  }
}

// Whether two threads meet is chance; each call must either be refused for that, or be right.
TYPED_TEST_P(RunsBattery, ThatMeetInsideAnExclusiveRunnerAreToldSo) {
  using B = OnRuntime<TypeParam>;
  using Floats = typename B::Floats;
  const auto add = B::opened("add");
  std::atomic<int> right = 0, wrong = 0;
  on_four_threads([&](int thread) {
    const auto number = static_cast<float>(thread);
    const auto a = B::floats({8}, Floats(8, number)), b = B::floats({8}, Floats(8, 2));
    for (int i = 0; i < 1000; ++i) {
      const auto sum = add.template run<1>(a, b);
      if (sum ? B::floats_in(sum.value()[0]) == Floats(8, number + 2)
              : sum.error().code() == aoti::Errc::bad_state) {
        right += sum.has_value();
      } else {
        ++wrong;
      }
    }
    if (B::Case::owners(a) != 1) ++wrong;
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(right, 0);
  EXPECT_TRUE(B::works(add, "add"));
}

TYPED_TEST_P(RunsBattery, HaveOneInstanceUnlessAccessIsShared) {
  using B = OnRuntime<TypeParam>;
  using Runner = typename B::Runner;
  using SharedRunner = typename B::SharedRunner;
  using aoti::Errc;
  const std::string path = model_path("add");
  EXPECT_TRUE(good(Runner::open(path, {.instances = 1})));
  expect_error(Runner::open(path, {.instances = 2}), Errc::invalid_argument,
               {path, "found 2 instances", "expected 1", "exclusive"});
  expect_error(Runner::open(path, {.instances = 0}), Errc::invalid_argument, {"found 0 instances"});
  EXPECT_TRUE(good(SharedRunner::open(path, {.instances = 2})));
  expect_error(SharedRunner::open(path, {.instances = 0}), Errc::invalid_argument,
               {"found 0 instances", "1 or more"});
}

TYPED_TEST_P(RunsBattery, AreOnTheDeviceThatThereIs) {
  using B = OnRuntime<TypeParam>;
  using Runner = typename B::Runner;
  EXPECT_TRUE(good(Runner::open(model_path("add"), {.device = {0}})));
  expect_error(Runner::open(model_path("add"), {.device = {1}}), aoti::Errc::device_unavailable,
               {"cpu:1"});
}

TYPED_TEST_P(RunsBattery, GoOnWhereTheirRunnerMoves) {
  using B = OnRuntime<TypeParam>;
  using Runner = typename B::Runner;
  using aoti::Errc;
  const auto a = B::random({8}, 1), nine = B::random({9}, 2);
  auto first = B::opened("add");
  auto second = std::move(first);
  // NOLINTBEGIN(bugprone-use-after-move): that is the point
  expect_error(first.template run<1>(a, a), Errc::bad_state, {"moved from"});
  EXPECT_TRUE(B::works(second, "add"));
  expect_error(second.template run<1>(a, nine), Errc::input_shape, {"input 1 'b'"});

  auto third = B::opened("pair", {.model = "model2"});
  third = std::move(second);
  expect_error(second.template run<1>(a, a), Errc::bad_state, {"moved from"});
  // NOLINTEND(bugprone-use-after-move)
  EXPECT_TRUE(B::works(third, "add"));
  expect_error(third.template run<1>(a, nine), Errc::input_shape, {"input 1 'b'"});
  EXPECT_EQ(third.origin(), model_path("add") + " (model)");

  std::vector<Runner> runners;
  for (int i = 0; i < 5; ++i) runners.push_back(B::opened("add"));  // moves when it grows
  for (const Runner& runner : runners) EXPECT_TRUE(B::works(runner, "add"));
}

REGISTER_TYPED_TEST_SUITE_P(RunsBattery, GiveTheSameInEveryForm, GiveWhatPyTorchDoes,
                            GiveOutputsThatOwnTheirMemory, MayShareARunnerWhoseAccessIsShared,
                            MayHaveARunnerForEachThread, MayTakeTurnsOnThreads,
                            ThatMeetInsideAnExclusiveRunnerAreToldSo,
                            HaveOneInstanceUnlessAccessIsShared, AreOnTheDeviceThatThereIs,
                            GoOnWhereTheirRunnerMoves);

}  // namespace aoti_test
