// Runners and packages used by several threads at once.
#include <aoti/weights.hpp>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "support/runners.hpp"
#include "support/sanitizers.hpp"

namespace aoti_test {
namespace {

using aoti::Errc;

class Threads : public Tidy {};

/// The input of the fake `gate`, whose two numbers both sides read.
struct Gate {
  FakeTensor tensor = aoti_test::tensor<std::int32_t>({2}, {0, 0});
  std::atomic_ref<std::int32_t> inside{static_cast<std::int32_t*>(tensor.data())[0]};
  std::atomic_ref<std::int32_t> open{static_cast<std::int32_t*>(tensor.data())[1]};

  void wait_for(std::int32_t count) const {
    while (inside.load() < count) std::this_thread::yield();
  }
};

template <class Body> void on_threads(int count, Body body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([body, i] { body(i); });
  for (std::thread& thread : threads) thread.join();
}

// Models before torch 2.13 need this.
TEST_F(Threads, PassAGateAloneAtFirst) {
  aoti::detail::Gate gate;
  for (int change = 0; change < 100; ++change) {
    std::atomic<int> inside = 0, failures = 3, met = 0;
    std::atomic<bool> passed = false;
    on_threads(4, [&](int) {
      for (int i = 0; i < 10; ++i) {
        const bool before = passed;
        gate.pass([&] {
          if (++inside > 1 && !passed) ++met;
          std::this_thread::yield();
          const bool fails = !before && failures-- > 0;
          if (!fails) passed = true;
          --inside;
          return fails ? 1 : 0;
        });
      }
    });
    EXPECT_EQ(met, 0);
    EXPECT_EQ(gate.change([&] { return inside.load(); }), 0);
  }
}

TEST_F(Threads, TwoInAnUnsharedRunnerAreAnError) {
  const Runner runner = opened(package("gate.pt2"));
  Gate gate;
  std::thread first{[&] { EXPECT_TRUE(good(runner.run<1>(gate.tensor))); }};
  gate.wait_for(1);
  std::vector<FakeTensor> inputs{gate.tensor}, outputs(1);
  const AtenTensorHandle handle = FakeRuntime::share(gate.tensor);
  std::vector<AtenTensorHandle> given{handle}, made{nullptr};
  const std::vector<std::string> parts{"gate.pt2 (model)", "another thread is inside",
                                       "Access::shared"};
  expect_error(runner.run<1>(gate.tensor), Errc::bad_state, parts);
  expect_error(runner.run(inputs), Errc::bad_state, parts);
  expect_error(runner.run_into(inputs, outputs), Errc::bad_state, parts);
  expect_error(runner.boxed_run(inputs), Errc::bad_state, parts);
  EXPECT_TRUE(FakeRuntime::is_defined(inputs[0]));
  expect_error(runner.run_handles(given, made), Errc::bad_state, parts);
  EXPECT_EQ(given[0], handle);
  FakeRuntime::destroy(handle);
  EXPECT_EQ(gate.inside.load(), 1);
  gate.open.store(1);
  first.join();
  EXPECT_TRUE(good(runner.run<1>(gate.tensor)));
  EXPECT_EQ(gate.inside.load(), 2);
}

TEST_F(Threads, ASharedRunnerLetsSeveralIn) {
  const SharedRunner runner = opened<SharedRunner>(package("gate.pt2"), {.instances = 4});
  Gate gate;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { EXPECT_TRUE(good(runner.run<1>(gate.tensor))); });
  }
  gate.wait_for(4);
  gate.open.store(1);
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Threads, WhereItIsNotWantedNobodyLooks) {
  const auto runner = opened<UncheckedRunner>(package("gate.pt2"));
  Gate gate;
  std::thread first{[&] { EXPECT_TRUE(good(runner.run<1>(gate.tensor))); }};
  std::thread second{[&] { EXPECT_TRUE(good(runner.run<1>(gate.tensor))); }};
  gate.wait_for(2);
  gate.open.store(1);
  first.join();
  second.join();
}

TEST_F(Threads, ARunnerMayChangeThreads) {
  const Runner runner = opened(package("add.pt2"));
  for (int i = 0; i < 4; ++i)
    on_threads(1, [&](int) { EXPECT_TRUE(good(runner.run<1>(a23(), b23()))); });
}

TEST_F(Threads, RunASharedRunnerAThousandTimes) {
  const SharedRunner runner = opened<SharedRunner>(package("add.pt2"), {.instances = 4});
  on_threads(4, [&](int) {
    for (int i = 0; i < 1000; ++i) {
      const auto result = runner.run<1>(a23(), b23());
      ASSERT_TRUE(good(result));
      ASSERT_EQ(elements<float>(result.value()[0]), sum23);
      expect_error(runner.run<1>(a23(), FakeTensor{}), Errc::undefined_tensor);
    }
  });
}

// An error of one thread's instance is not reported to another thread.
TEST_F(Threads, GetTheirOwnErrors) {
  const SharedRunner runner = opened<SharedRunner>(package("trouble.pt2"), {.instances = 2});
  on_threads(2, [&](int thread) {
    const bool memory = thread == 0;
    for (int i = 0; i < 500; ++i) {
      const auto result =
          runner.run<2>(tensor<float>({1}, {memory ? 3.F : 1.F}), tensor<float>({1}, {0}));
      expect_error(result, memory ? Errc::out_of_memory : Errc::model_failed,
                   {memory ? "2.00 GiB" : "the fake failed"});
    }
  });
}

// A run is refused until the first weights are there, and then it is not.
TEST_F(Threads, RunWhileTheFirstWeightsArrive) {
  for (int round = 0; round < 20; ++round) {
    SharedRunner runner =
        opened<SharedRunner>(package("two_sets_empty.pt2"),
                             {.instances = 2, .weights = aoti::PackagedWeights::optional});
    const auto eight = [](float value) { return tensor<float>({8}, std::vector<float>(8, value)); };
    on_threads(3, [&](int thread) {
      if (thread == 0) {
        auto update = aoti::update_weights(runner);
        ASSERT_TRUE(good(update));
        for (const char* name : {"layer.w", "layer.b", "t"}) {
          ASSERT_TRUE(good(update.value().set(name, eight(1))));
        }
        ASSERT_TRUE(good(update.value().commit()));
        return;
      }
      while (true) {
        const auto result = runner.run<1>(eight(0));
        if (result) break;
        expect_error(result, Errc::bad_state, {"no weights yet"});
        static_cast<void>(runner.weights_state());
      }
    });
  }
}

TEST_F(Threads, OpenPackagesAThousandTimesAtOnce) {
  on_threads(2, [](int thread) {
    const std::string names[] = {package("add.pt2"), package("two.pt2"), package("unpacked"),
                                 package("add_plain.pt2")};
    for (int i = 0; i < 1000; ++i) {
      const auto opened = aoti::Package::open(names[(i + thread) % 4]);
      ASSERT_TRUE(good(opened));
      const auto model = opened.value().model("model");
      ASSERT_TRUE(good(model));
      ASSERT_EQ(model.value().metadata["AOTI_DEVICE_KEY"], "cpu");
    }
  });
}

// With ThreadSanitizer, each takes longer than the one before.
constexpr int rounds = tsan || emulated ? 200 : 1000;

TEST_F(Threads, OpenRunnersManyTimesAtOnce) {
  const Footprint before;
  on_threads(2, [](int thread) {
    for (int i = 0; i < rounds; ++i) {
      auto runner = Runner::open(package((i + thread) % 2 == 0 ? "add.pt2" : "trouble.pt2"));
      ASSERT_TRUE(good(runner));
      ASSERT_EQ(runner.value().output_count(), (i + thread) % 2 == 0 ? 1u : 2u);
      std::move(runner).value().unload();
    }
  });
  EXPECT_EQ(Footprint{}, before);
}

TEST_F(Threads, ShareAPackage) {
  const auto two = aoti::Package::open(package("two.pt2"));
  ASSERT_TRUE(good(two));
  on_threads(2, [&](int thread) {
    for (int i = 0; i < 100; ++i) {
      auto runner = Runner::open(two.value(), {.model = thread == 0 ? "model" : "model2"});
      ASSERT_TRUE(good(runner));
      ASSERT_EQ(runner.value().input_count(), thread == 0 ? 2u : 40u);
      std::move(runner).value().unload();
    }
  });
}

}  // namespace
}  // namespace aoti_test
