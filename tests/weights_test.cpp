// Weights read, changed in one step, staged, swapped and freed, on models of several releases.
#include <aoti/weights.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/runners.hpp"

namespace aoti_test {
inline std::atomic<int> copies = 0;
}

// Called by the fakes with two sets.
extern "C" __attribute__((used)) void on_weights(const char* what, AOTInductorStreamHandle,
                                                 AOTIProxyExecutorHandle) {
  aoti_test::copies += std::string_view{what} == "copy";
}

namespace aoti_test {
namespace {

using aoti::Errc;
using aoti::PackagedWeights;
using aoti::update_weights;
using aoti::WeightSet;
using aoti::WeightsState;

class Weights : public Tidy {};

FakeTensor eight(float value) { return tensor<float>({8}, std::vector<float>(8, value)); }

/// y of the fakes, 0 + w + (2 w + b) + t, which must be equal in all elements; -1 if not.
template <class R> float output(const R& runner) {
  auto result = runner.template run<1>(eight(0));
  if (!result) {
    ADD_FAILURE() << result.error().message();
    return -1;
  }
  const std::vector<float> all = elements<float>(result.value()[0]);
  for (const float value : all) {
    if (value != all[0]) return -1;
  }
  return all[0];
}
constexpr float y(float w, float b, float t) { return 3 * w + b + t; }
constexpr float at_first = y(1, 2, 3);

template <class R> void set_all(aoti::WeightsUpdate<R>& update, float w, float b, float t) {
  EXPECT_TRUE(good(update.set("layer.w", eight(w))));
  EXPECT_TRUE(good(update.set("layer.b", eight(b))));
  EXPECT_TRUE(good(update.set("t", eight(t))));
}

template <class R> auto begun(R& runner) {
  auto update = update_weights(runner);
  if (!update) ADD_FAILURE() << update.error().message();
  return std::move(update).value();
}

const std::array<std::string, 4> keeping{"two_sets.pt2", "two_sets_maps.pt2", "two_sets_beside.pt2",
                                         "two_sets_written.pt2"};

TEST_F(Weights, AreChangedAsAWhole) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    EXPECT_EQ(runner.weights_state(), WeightsState::folded);
    EXPECT_EQ(output(runner), at_first);
    auto update = begun(runner);
    set_all(update, 10, 20, 30);
    EXPECT_EQ(output(runner), at_first);
    ASSERT_TRUE(good(update.commit()));
    EXPECT_EQ(output(runner), y(10, 20, 30));
  }
}

TEST_F(Weights, AreChangedInPart) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    // Each of them in turn, and all of them twice, so that weights in the model's own memory are
    // used until they are replaced, in either buffer.
    float value[3] = {1, 2, 3};
    const char* names[] = {"layer.w", model == "two_sets_written.pt2" ? "layer.b" : "b_", "t"};
    for (int i = 0; i < 7; ++i) {
      auto update = begun(runner);
      value[i % 3] = static_cast<float>(10 * i);
      ASSERT_TRUE(good(update.set(names[i % 3], eight(value[i % 3]))));
      ASSERT_TRUE(good(update.commit()));
      EXPECT_EQ(output(runner), y(value[0], value[1], value[2])) << i;
    }
    ASSERT_TRUE(good(begun(runner).commit()));  // nothing at all
    EXPECT_EQ(output(runner), y(value[0], value[1], value[2]));
  }
}

TEST_F(Weights, ThatOthersWereDerivedFromAreChangedWithThem) {
  Runner runner = opened(package("two_sets_derived.pt2"));
  for (const bool stages : {false, true}) {
    auto update = begun(runner);
    ASSERT_TRUE(good(update.set("layer.w", eight(10))));
    expect_error(stages ? update.stage() : update.commit(), Errc::missing_constants,
                 {"two_sets_derived.pt2", "copies of weights", "no tensor for layer.b"});
    EXPECT_EQ(output(runner), at_first);
    expect_error(aoti::swap_weights(runner), Errc::bad_state, {"no second set"});
  }
  auto both = begun(runner);
  ASSERT_TRUE(good(both.set("layer.w", eight(10))));
  ASSERT_TRUE(good(both.set("layer.b", eight(20))));
  ASSERT_TRUE(good(both.commit()));
  EXPECT_EQ(output(runner), y(10, 20, 3));
  auto derived = begun(runner);
  ASSERT_TRUE(good(derived.set("layer.b", eight(30))));
  ASSERT_TRUE(good(derived.commit()));
  EXPECT_EQ(output(runner), y(10, 30, 3));
}

TEST_F(Weights, ThatAreTiedHaveSeveralNames) {
  Runner runner = opened(package("two_sets_tied.pt2"));
  EXPECT_EQ(runner.constants()[0].aliases, std::vector<std::string>{"tied.w"});
  for (const char* name : {"tied.w", "layer.w", "w_"}) {
    auto update = begun(runner);
    ASSERT_TRUE(good(update.set(name, eight(10))));
    ASSERT_TRUE(good(update.commit()));
    EXPECT_EQ(output(runner), y(10, 2, 3)) << name;
    auto back = begun(runner);
    ASSERT_TRUE(good(back.set("layer.w", eight(1))));
    ASSERT_TRUE(good(back.commit()));
  }
  auto update = begun(runner);
  ASSERT_TRUE(good(update.set("layer.w", eight(10))));
  ASSERT_TRUE(good(update.set("tied.w", eight(10))));
  expect_error(update.set("layer.w", eight(11)), Errc::constant_conflict,
               {"'layer.w'", "one weight with tied.w"});
  expect_error(update.set("tied.w", eight(11)), Errc::constant_conflict);
  ASSERT_TRUE(good(update.commit()));
  EXPECT_EQ(output(runner), y(10, 2, 3));
  auto again = begun(runner);
  ASSERT_TRUE(good(again.set("tied.w", eight(11))));
  ASSERT_TRUE(good(again.set("tied.w", eight(12))));
  ASSERT_TRUE(good(again.commit()));
  EXPECT_EQ(output(runner), y(12, 2, 3));

  const std::string path = testing::TempDir() + "aoti_weights.blob";
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    // Models pad each constant to 64 bytes, which most fakes do not.
    const std::size_t room = model == "two_sets_written.pt2" ? 16 : 8;
    std::vector<float> blob(3 * room);
    for (std::size_t i = 0; i < 3; ++i) {
      for (std::size_t k = 0; k < 8; ++k) blob[i * room + k] = 10 * static_cast<float>(i + 1);
    }
    const auto bytes = std::as_bytes(std::span{blob});
    std::ofstream{path, std::ios::binary}.write(reinterpret_cast<const char*>(bytes.data()),
                                                static_cast<std::streamsize>(bytes.size()));
    Runner runner = opened(package(model));
    for (int i = 0; i < 2; ++i) {
      auto update = begun(runner);
      const std::string expected = "found a blob of 92 bytes, expected ";
      expect_error(update.set_blob(bytes.first(92)), Errc::invalid_argument,
                   {expected + std::to_string(bytes.size())});
      expect_error(update.set_blob(path + "x"), Errc::not_found, {"aoti_weights.blobx"});
      ASSERT_TRUE(good(i == 0 ? update.set_blob(bytes) : update.set_blob(path)));
      ASSERT_TRUE(good(update.set("t", eight(31))));
      ASSERT_TRUE(good(update.commit()));
      EXPECT_EQ(output(runner), y(10, 20, 31));
    }
  }
  std::remove(path.c_str());
}

TEST_F(Weights, DoNotChangeWhenMemoryRunsOut) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    bool refused = false, done = false;
    for (int allowed = 0; allowed < 50 && !done; ++allowed) {
      auto update = begun(runner);
      allocations_left = allowed;
      const auto set = update.set("layer.w", eight(10));
      allocations_left = -1;
      done = set.has_value();
      if (done) break;
      refused = true;
      EXPECT_EQ(set.error().code(), Errc::out_of_memory);
      ASSERT_TRUE(good(update.commit()));
      EXPECT_EQ(output(runner), at_first);
    }
    EXPECT_TRUE(refused && done);
  }
}

TEST_F(Weights, OfAnExclusiveRunnerAreNotChangedDuringARun) {
  Runner runner = opened(package("two_sets.pt2"));
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::thread other{[&] {
    while (!stop) {
      auto result = runner.run<1>(eight(0));
      if (!result && result.error().code() != Errc::bad_state) ++wrong;
    }
  }};
  // The other thread may have been stopped inside a run, which blocks all commits until it
  // continues.
  int committed = 0;
  for (int i = 0; i < 1000 || (committed == 0 && i < 1000000); ++i) {
    auto update = begun(runner);
    set_all(update, 1, 2, 3);
    auto done = update.commit();
    if (done) {
      ++committed;
    } else {
      EXPECT_EQ(done.error().code(), Errc::bad_state) << done.error().message();
      std::this_thread::yield();
    }
  }
  stop = true;
  other.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(committed, 0);
  EXPECT_EQ(output(runner), at_first);
}

// The results of each run come from one set of weights, and memory does not grow.
TEST_F(Weights, OfASharedRunnerChangeUnderLoad) {
  for (const std::string& model : {std::string{"two_sets.pt2"}, std::string{"two_sets_maps.pt2"}}) {
    SCOPED_TRACE(model);
    SharedRunner runner = opened<SharedRunner>(package(model), {.instances = 2});
    std::atomic<bool> stop = false;
    std::atomic<int> mixed = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] {
        while (!stop) {
          const float found = output(runner);  // w = i, b = 1000 i, t = 0
          const float i_of = found / 1003;
          if (found != at_first && i_of != static_cast<float>(static_cast<int>(i_of))) ++mixed;
        }
      });
    }
    int live = 0;
    for (int i = 1001; i <= 2000; ++i) {
      auto update = begun(runner);
      const auto value = static_cast<float>(i);
      set_all(update, value, 1000 * value, 0);
      ASSERT_TRUE(good(update.commit()));
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(mixed, 0);
    EXPECT_EQ(output(runner), 1003 * 2000);
    live = live_storages;
    for (int i = 0; i < 10; ++i) {
      auto update = begun(runner);
      set_all(update, 1, 2, 3);
      ASSERT_TRUE(good(update.commit()));
    }
    EXPECT_EQ(live_storages, live);
  }
}

}  // namespace
}  // namespace aoti_test
