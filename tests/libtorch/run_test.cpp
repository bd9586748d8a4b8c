// Every way to run a model, from one thread and from several, and what a run allocates and leaves.
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "libtorch/models.hpp"

namespace {
thread_local bool counts = false;
thread_local std::int64_t allocations = 0;
thread_local std::int64_t releases = 0;
}  // namespace

// operator new and libtorch come here too.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* memory);

void* malloc(std::size_t size) noexcept {
  allocations += counts;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  allocations += counts;
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) noexcept {
  allocations += counts;
  releases += counts && old != nullptr;
  return __libc_realloc(old, size);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  allocations += counts;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return memalign(alignment, size);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t size) noexcept {
  *out = memalign(alignment, size);
  return *out != nullptr ? 0 : ENOMEM;
}
void free(void* memory) noexcept {
  releases += counts && memory != nullptr;
  __libc_free(memory);
}
}

namespace {

using aoti::Errc;
using aoti_test::close;
using aoti_test::expect_error;
using aoti_test::good;
using aoti_test::model_path;
using aoti_test::opened;
using aoti_test::recorded_mlp;
using aoti_test::Runner;
using aoti_test::same;
using aoti_test::SharedRunner;
using aoti_test::Tensors;
using aoti_test::UncheckedRunner;
using aoti_test::value_of;

template <class R> class Run : public testing::Test {};
using Runners = testing::Types<Runner, SharedRunner, UncheckedRunner>;
TYPED_TEST_SUITE(Run, Runners);

TYPED_TEST(Run, GivesTheSameInEveryForm) {
  const auto runner = opened<TypeParam>("nested");
  const at::Tensor x = at::randn({4, 3}), scale = at::randn({4, 3});
  const auto expected = value_of(runner.template run<3>(x, scale));
  EXPECT_TRUE(same(expected[0], x * scale));
  const auto expect_same = [&](const auto& outputs) {
    ASSERT_EQ(outputs.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(same(outputs[i], expected[i]));
  };

  at::Tensor one = x.clone(), other = scale.clone();
  expect_same(value_of(runner.template run<3>(one, std::move(other))));
  EXPECT_TRUE(same(one, x));
  EXPECT_FALSE(other.defined());  // NOLINT(bugprone-use-after-move): that is the point
  other = scale.clone();
  expect_same(value_of(runner.template run<3>(std::move(one), std::move(other))));
  expect_same(value_of(runner.template run<3>(x.clone(), scale)));

  Tensors inputs{x.clone(), scale.clone()};
  const Tensors& lent = inputs;
  expect_same(value_of(runner.run(lent)));
  EXPECT_TRUE(inputs[0].defined());

  Tensors outputs(3, at::full({2}, 7.0f));
  const at::Tensor before = outputs[0];
  ASSERT_TRUE(good(runner.run_into(lent, outputs)));
  expect_same(outputs);
  EXPECT_TRUE(same(before, at::full({2}, 7.0f)));  // a slot is replaced, not written through
  ASSERT_TRUE(good(runner.run_into(lent, outputs)));
  expect_same(outputs);

  const Tensors owners = inputs;
  expect_same(value_of(runner.boxed_run(inputs)));
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_FALSE(inputs[i].defined());
    EXPECT_EQ(owners[i].use_count(), 1u);
  }

  std::array<AtenTensorHandle, 2> in{aoti::Libtorch::share(x), aoti::Libtorch::share(scale)};
  std::array<AtenTensorHandle, 3> out{};
  ASSERT_TRUE(good(runner.run_handles(in, out)));
  EXPECT_EQ(in, (std::array<AtenTensorHandle, 2>{}));
  Tensors taken;
  for (const AtenTensorHandle handle : out) taken.push_back(aoti::Libtorch::take(handle));
  expect_same(taken);
  EXPECT_EQ(x.use_count(), 1u);
  EXPECT_EQ(scale.use_count(), 1u);
}

TYPED_TEST(Run, GivesOutputsThatOwnTheirMemory) {
  const auto [input, output] = recorded_mlp();
  for (const char* name : aoti_test::available({"mlp", "mlp_appended", "mlp_beside"})) {
    SCOPED_TRACE(name);
    auto runner = opened<TypeParam>(name);
    auto first = value_of(runner.template run<1>(input));
    auto second = value_of(runner.template run<1>(input));
    EXPECT_NE(first[0].data_ptr(), second[0].data_ptr());
    first[0].fill_(0.0f);
    EXPECT_TRUE(close(second[0], output));
    EXPECT_EQ(second[0].use_count(), 1u);
    std::move(runner).unload();
    EXPECT_TRUE(close(second[0], output));
    second[0].add_(1.0f);
  }
}

// The library allocates nothing of its own: as much is allocated as by the call that it wraps.
TYPED_TEST(Run, AllocatesWhatTheModelAndTheHandlesNeed) {
  const auto counted = [](auto&& body) {
    for (int i = 0; i < 3; ++i) body();  // what is done once only
    allocations = 0;
    counts = true;
    body();
    counts = false;
    return allocations;
  };
  const at::Tensor x = at::randn({4, 3}), scale = at::randn({4, 3});
  const auto runner = opened<TypeParam>("nested");
  const aoti::abi::ModelExports& exports = runner.container().exports();
  const bool shared = std::is_same_v<TypeParam, SharedRunner>;
  const auto call = shared ? exports.run : exports.run_single_threaded;
  const std::int64_t raw = counted([&] {
    std::array<AtenTensorHandle, 2> in{reinterpret_cast<AtenTensorHandle>(new at::Tensor{x}),
                                       reinterpret_cast<AtenTensorHandle>(new at::Tensor{scale})};
    std::array<AtenTensorHandle, 3> out{};
    const int error =
        call(runner.container().handle(), in.data(), 2, out.data(), 3, nullptr, nullptr);
    if (error != 0) throw std::runtime_error{"the raw call failed"};
    for (const AtenTensorHandle handle : out) delete reinterpret_cast<at::Tensor*>(handle);
  });
  EXPECT_GE(raw, 5);  // a handle for each tensor

  EXPECT_EQ(counted([&] { value_of(runner.template run<3>(x, scale)); }), raw);

  Tensors inputs{x, scale}, outputs(3);
  EXPECT_EQ(counted([&] { value_of(runner.run_into(inputs, outputs)); }), raw);

  std::array<AtenTensorHandle, 2> in{};
  std::array<AtenTensorHandle, 3> out{};
  EXPECT_EQ(counted([&] {
              in = {aoti::Libtorch::share(x), aoti::Libtorch::share(scale)};
              value_of(runner.run_handles(in, out));
              for (const AtenTensorHandle handle : out) aoti::Libtorch::destroy(handle);
            }),
            raw);

  // These return a vector.
  EXPECT_EQ(counted([&] { value_of(runner.run(inputs)); }), raw + 1);
  EXPECT_EQ(counted([&] {
              inputs = {x, scale};
              value_of(runner.boxed_run(inputs));
            }),
            counted([&] {
              inputs = {x, scale};
            }) + raw +
                1);
}

TYPED_TEST(Run, KeepsNothingOfARunWhetherGoodOrNot) {
  const at::Tensor x = at::full({4, 64}, 1.0f), wrong = at::full({4, 63}, 1.0f);
  const auto mlp = opened<TypeParam>("mlp"), plain = opened<TypeParam>("mlp_plain");
  const auto kept = [&](auto&& body) {
    for (int i = 0; i < 5; ++i) body();
    allocations = releases = 0;
    counts = true;
    for (int i = 0; i < 50; ++i) body();
    counts = false;
    EXPECT_GE(releases, 50);
    return allocations - releases;
  };
  std::vector<at::Tensor> hoard;
  hoard.reserve(100);
  EXPECT_GE(kept([&] { hoard.push_back(value_of(mlp.template run<1>(x))[0]); }), 50);
  testing::internal::CaptureStderr();  // the model reports each failure there
  const std::int64_t good_ones = kept([&] { value_of(mlp.template run<1>(x)); });
  const std::int64_t refused = kept([&] { EXPECT_FALSE((mlp.template run<1>(x, wrong))); });
  const std::int64_t failed = kept([&] { EXPECT_FALSE(plain.template run<1>(wrong)); });
  const std::int64_t given = kept([&] {
    Tensors inputs{wrong};
    EXPECT_FALSE(plain.boxed_run(inputs));
  });
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("API call failed"));
  EXPECT_LT(good_ones, 50);
  EXPECT_LT(refused, 50);
  EXPECT_LT(failed, 50);
  EXPECT_LT(given, 50);
  EXPECT_EQ(x.use_count(), 1u);
  EXPECT_EQ(wrong.use_count(), 1u);
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

/// Whether 1000 runs, each on inputs of its own, give what they should.
template <class R> int wrong_runs(const R& add, const R& mlp, int thread) {
  const auto [input, output] = recorded_mlp();
  int wrong = 0;
  for (int i = 0; i < 1000; ++i) {
    const at::Tensor a = at::full({8}, static_cast<float>(thread)),
                     b = at::full({8}, static_cast<float>(i));
    const auto sum = add.template run<1>(a, b);
    wrong += !sum || !same(sum.value()[0], at::full({8}, static_cast<float>(thread + i)));
    const std::int64_t row = (i + thread) % 4;
    const auto result = mlp.template run<1>(input.slice(0, row, row + 1));
    wrong += !result || !close(result.value()[0], output.slice(0, row, row + 1));
  }
  return wrong;
}

TEST(Threads, MayShareARunnerWhoseAccessIsShared) {
  for (const std::size_t instances : {1, 2, 4}) {
    SCOPED_TRACE(instances);
    const auto add = opened<SharedRunner>("add", {.instances = instances});
    for (const char* name : aoti_test::available({"mlp", "mlp_appended", "mlp_beside"})) {
      SCOPED_TRACE(name);
      const auto mlp = opened<SharedRunner>(name, {.instances = instances});
      std::atomic<int> wrong = 0;
      on_four_threads([&](int thread) { wrong += wrong_runs(add, mlp, thread); });
      EXPECT_EQ(wrong, 0);
    }
  }
}

TEST(Threads, MayHaveARunnerEach) {
  std::atomic<int> wrong = 0;
  on_four_threads([&](int thread) {
    const auto add = opened("add"), mlp = opened("mlp");
    wrong += wrong_runs(add, mlp, thread);
  });
  EXPECT_EQ(wrong, 0);
}

TEST(Threads, MayTakeTurns) {
  const auto add = opened("add"), mlp = opened("mlp");
  for (int turn = 0; turn < 3; ++turn) {
    int wrong = -1;
    std::thread{[&] { wrong = wrong_runs(add, mlp, turn); }}.join();
    EXPECT_EQ(wrong, 0);
  }
}

// Whether two threads meet is chance; each call must either be refused as such or be right.
TEST(Threads, ThatMeetInsideAnExclusiveRunnerAreToldSo) {
  const auto add = opened("add");
  std::atomic<int> right = 0, wrong = 0;
  on_four_threads([&](int thread) {
    const at::Tensor a = at::full({8}, static_cast<float>(thread)), b = at::full({8}, 2.0f);
    const at::Tensor expected = a + b;
    for (int i = 0; i < 1000; ++i) {
      const auto sum = add.run<1>(a, b);
      if (sum ? static_cast<bool>(same(sum.value()[0], expected))
              : sum.error().code() == Errc::bad_state) {
        right += sum.has_value();
      } else {
        ++wrong;
      }
    }
    if (a.use_count() != 1) ++wrong;
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(right, 0);
  EXPECT_TRUE(good(add.run<1>(at::full({8}, 1.0f), at::full({8}, 1.0f))));
}

TEST(Instances, AreOneUnlessAccessIsShared) {
  EXPECT_TRUE(good(Runner::open(model_path("add"), {.instances = 1})));
  expect_error(Runner::open(model_path("add"), {.instances = 2}), Errc::invalid_argument,
               {model_path("add"), "found 2 instances", "expected 1", "exclusive"});
  expect_error(Runner::open(model_path("add"), {.instances = 0}), Errc::invalid_argument,
               {"found 0 instances"});
  EXPECT_TRUE(good(SharedRunner::open(model_path("add"), {.instances = 2})));
  expect_error(SharedRunner::open(model_path("add"), {.instances = 0}), Errc::invalid_argument,
               {"found 0 instances", "1 or more"});
}

TEST(Device, IsTheOneThatThereIs) {
  EXPECT_TRUE(good(Runner::open(model_path("add"), {.device = {0}})));
  expect_error(Runner::open(model_path("add"), {.device = {1}}), Errc::device_unavailable,
               {"cpu:1"});
}

TEST(RunnerObject, MovesWithAllThatItHas) {
  const at::Tensor a = at::randn({8}), b = at::randn({8});
  auto first = opened("add");
  auto second = std::move(first);
  expect_error(first.run<1>(a, b), Errc::bad_state, {"moved from"});  // NOLINT: that is the point
  EXPECT_TRUE(same(value_of(second.run<1>(a, b))[0], a + b));
  expect_error(second.run<1>(a, at::randn({9})), Errc::input_shape, {"input 1 'b'"});

  auto third = opened("pair", {.model = "model2"});
  third = std::move(second);
  expect_error(second.run<1>(a, b), Errc::bad_state, {"moved from"});  // NOLINT: that is the point
  EXPECT_TRUE(same(value_of(third.run<1>(a, b))[0], a + b));
  expect_error(third.run<1>(a, at::randn({9})), Errc::input_shape, {"input 1 'b'"});
  EXPECT_EQ(third.origin(), model_path("add") + " (model)");

  std::vector<Runner> runners;
  for (int i = 0; i < 5; ++i) runners.push_back(opened("add"));  // moves when it grows
  for (const Runner& runner : runners) {
    EXPECT_TRUE(same(value_of(runner.run<1>(a, b))[0], a + b));
  }
}

}  // namespace
