// What an observer is told of a runner's life, and that runners without one have no trace of it.
#include <aoti/run/observer.hpp>
#include <aoti/weights.hpp>

#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fakes/trouble.hpp"
#include "support/runners.hpp"

namespace aoti_test {
namespace {

using aoti::Completion;
using aoti::Errc;
using aoti::Event;
using testing::ElementsAre;

/// The events, as "load{", "fold{", "fold}", "load}", or "run! bad state" for a failure.
struct Log {
  std::mutex mutex;
  std::vector<std::string> heard;

  std::vector<std::string> take() { return std::exchange(heard, {}); }
};

struct Recorder {
  struct Token {
    Event event;
    std::thread::id thread;
    Token(Event e) : event{e}, thread{std::this_thread::get_id()} {}
    Token(Token&&) = default;
    Token& operator=(Token&&) = delete;
  };
  Log* log;

  Token begin(Event event) const noexcept {
    const std::lock_guard lock{log->mutex};
    log->heard.push_back(std::string{to_string(event)} + "{");
    return event;
  }
  void end(Event event, const Completion& completion, Token token) const noexcept {
    const std::lock_guard lock{log->mutex};
    std::string line{to_string(event)};
    line += completion.error == nullptr ? "}" : "! " + std::string{to_string(completion.code())};
    log->heard.push_back(line);
    EXPECT_EQ(event, token.event);
    EXPECT_EQ(std::this_thread::get_id(), token.thread);
    EXPECT_GT(completion.nanoseconds, 0);
    EXPECT_LT(completion.nanoseconds, 60'000'000'000);
    if (completion.error != nullptr) {
      EXPECT_FALSE(completion.error->message().empty());
    }
  }
};

/// Without tokens; its clock advances by one unit each time it is read.
struct Counter {
  struct Counts {
    std::atomic<int> begun = 0, ended = 0, failed = 0;
    std::atomic<long> nanoseconds = 0;
  };
  Counts* counts;

  static inline thread_local std::int64_t time = 0;
  static std::int64_t now() noexcept { return ++time; }
  void begin(Event event) const noexcept { counts->begun += event == Event::run; }
  void end(Event event, const Completion& completion) const noexcept {
    if (event != Event::run) return;
    counts->ended += 1;
    counts->failed += completion.error != nullptr;
    counts->nanoseconds += completion.nanoseconds;
  }
};

template <aoti::ObserverPolicy O, aoti::Options options = aoti::Options{}>
using With = aoti::Runner<aoti::Cpu, FakeRuntime, options, O>;

// An observer without members takes no space.
struct Deaf {
  void begin(Event) const noexcept {}
  void end(Event, const Completion&) const noexcept {}
};
static_assert(std::is_same_v<Runner, With<aoti::NoObserver>>);
static_assert(sizeof(Runner) == sizeof(With<Deaf>));
static_assert(sizeof(Runner) + sizeof(void*) == sizeof(With<Recorder>));

struct Throwing {
  void begin(Event) const {}
  void end(Event, const Completion&) const noexcept {}
};
struct Unsafe {
  void begin(Event) noexcept {}
  void end(Event, const Completion&) noexcept {}
};
struct Unending {
  int begin(Event) const noexcept { return 1; }
  void end(Event, const Completion&) const noexcept {}
};
struct Unique : Deaf {
  Unique(Unique&&) = default;
};
struct Rounding : Deaf {
  static double now() noexcept;
};
static_assert(!aoti::ObserverPolicy<Throwing> && !aoti::ObserverPolicy<Unsafe>);
static_assert(!aoti::ObserverPolicy<Unending> && !aoti::ObserverPolicy<Unique>);
static_assert(!aoti::ObserverPolicy<Rounding> && !aoti::ObserverPolicy<int>);

class Observers : public Tidy {
 protected:
  Log log;

  With<Recorder> opened(const std::string& name, const aoti::OpenOptions& choice = {}) {
    auto runner = With<Recorder>::open(package(name), choice, Recorder{&log});
    if (!runner) ADD_FAILURE() << runner.error().message();
    return std::move(runner).value();
  }
};

FakeTensor eight(float value) { return tensor<float>({8}, std::vector<float>(8, value)); }

TEST_F(Observers, HearOfLoads) {
  static_cast<void>(opened("gate.pt2"));
  EXPECT_THAT(log.take(), ElementsAre("load{", "load}"));
  const auto bytes = read_file(package("add.pt2"));
  const auto opened_package = aoti::Package::open(package("add.pt2"));
  ASSERT_TRUE(good(opened_package));
  using R = With<Recorder>;
  const std::vector<std::string> once{"load{", "fold{", "fold}", "load}"};
  EXPECT_TRUE(good(R::open(package("add.pt2"), {}, {&log})));
  EXPECT_EQ(log.take(), once);
  EXPECT_TRUE(good(R::open(aoti::Bytes{bytes}, {}, {&log})));
  EXPECT_EQ(log.take(), once);
  EXPECT_TRUE(good(R::open(opened_package.value(), {}, {&log})));
  EXPECT_EQ(log.take(), once);
  EXPECT_TRUE(good(R::open(fake("add"), {}, {&log})));
  EXPECT_EQ(log.take(), once);
  EXPECT_FALSE(R::open(package("there_is_none.pt2"), {}, {&log}));
  EXPECT_FALSE(R::open(package("two.pt2"), {}, {&log}));
  EXPECT_FALSE(R::open(package("two_sets_empty.pt2"), {}, {&log}));
  EXPECT_THAT(log.take(), ElementsAre("load{", "load! not found", "load{", "load! ambiguous model",
                                      "load{", "load! unsupported"));
}

TEST_F(Observers, HearOfEachFormOfRunOnce) {
  const auto runner = opened("add.pt2");
  log.take();
  std::vector<FakeTensor> inputs{a23(), b23()}, outputs(1);
  const std::vector<std::string> once{"run{", "run}"};
  EXPECT_TRUE(good(runner.run<1>(inputs[0], inputs[1])));
  EXPECT_EQ(log.take(), once);
  EXPECT_TRUE(good(runner.run<1>(aoti::Cpu::Stream{}, inputs[0], inputs[1])));
  EXPECT_EQ(log.take(), once);
  EXPECT_TRUE(good(runner.run_into(inputs, outputs)));
  EXPECT_EQ(log.take(), once);
  EXPECT_TRUE(good(runner.run(inputs)));
  EXPECT_EQ(log.take(), once);
  std::vector<AtenTensorHandle> in{FakeRuntime::share(inputs[0]), FakeRuntime::share(inputs[1])},
      out(1);
  EXPECT_TRUE(good(runner.run_handles(in, out)));
  FakeRuntime::destroy(out[0]);
  EXPECT_EQ(log.take(), once);
  EXPECT_TRUE(good(runner.boxed_run(inputs)));
  EXPECT_EQ(log.take(), once);
}

TEST_F(Observers, HearOfRunsThatAreRefused) {
  auto runner = opened("add.pt2");
  log.take();
  std::vector<FakeTensor> one{a23()}, outputs(1);
  std::vector<AtenTensorHandle> none{nullptr, nullptr}, out(1);
  EXPECT_FALSE(runner.run<1>(one[0]));
  EXPECT_FALSE(runner.run<1>(one[0], FakeTensor{}));
  EXPECT_FALSE(runner.run_into(one, outputs));
  EXPECT_FALSE(runner.run(one));
  EXPECT_FALSE(runner.boxed_run(one));
  EXPECT_FALSE(runner.run_handles(none, out));
  EXPECT_THAT(
      log.take(),
      ElementsAre("run{", "run! wrong number of inputs", "run{", "run! undefined tensor", "run{",
                  "run! wrong number of inputs", "run{", "run! wrong number of inputs", "run{",
                  "run! wrong number of inputs", "run{", "run! undefined tensor"));
  const auto moved = std::move(runner);
  EXPECT_FALSE(runner.run<1>(one[0]));  // NOLINT: one that was moved from is heard of, too
  EXPECT_TRUE(good(moved.run<1>(a23(), b23())));
  EXPECT_THAT(log.take(), ElementsAre("run{", "run! bad state", "run{", "run}"));
}

TEST_F(Observers, HearOfRunsThatFail) {
  const auto runner = opened("trouble.pt2");
  log.take();
  const auto run = [&](Trouble trouble) {
    const auto a = tensor<float>({2}, {static_cast<float>(trouble), 1});
    return runner.run<2>(a, a).has_value();
  };
  EXPECT_TRUE(run(Trouble::none));
  EXPECT_FALSE(run(Trouble::fails));
  EXPECT_FALSE(run(Trouble::out_of_memory));
  EXPECT_THAT(log.take(), ElementsAre("run{", "run}", "run{", "run! the model failed", "run{",
                                      "run! out of memory"));
#if defined(__cpp_exceptions)
  EXPECT_FALSE(run(Trouble::throws));
  EXPECT_THAT(log.take(), ElementsAre("run{", "run! the model threw"));
#endif
}

TEST_F(Observers, HearWhatAnUpdateDoes) {
  auto runner = opened("two_sets.pt2");
  log.take();
  const auto commit = [&](float w) {
    auto update = aoti::update_weights(runner);
    EXPECT_TRUE(good(update));
    EXPECT_TRUE(good(update.value().set("layer.w", eight(w))));
    return update.value().commit().has_value();
  };
  EXPECT_TRUE(commit(10));
  EXPECT_THAT(log.take(), ElementsAre("update{", "fold{", "fold}", "swap{", "swap}", "free{",
                                      "free}", "update}"));
  EXPECT_FALSE(commit(666));  // cannot be folded
  EXPECT_THAT(log.take(), ElementsAre("update{", "fold{", "fold! the model failed",
                                      "update! the model failed"));
}

/// Records the rest of a completion.
struct Details {
  std::vector<std::string>* heard;
  void begin(Event) const noexcept {}
  void end(Event event, const Completion& completion) const noexcept {
    heard->push_back(aoti::detail::concat({to_string(event), " of ", completion.constants,
                                           completion.inactive ? ", inactive" : ", active"}));
  }
};

TEST_F(Observers, HearOfHowManyConstantsAndWhichSet) {
  std::vector<std::string> heard;
  auto runner = With<Details>::open(package("two_sets.pt2"), {}, {&heard});
  ASSERT_TRUE(good(runner));
  EXPECT_THAT(std::exchange(heard, {}), ElementsAre("fold of 1, active", "load of 4, active"));
  ASSERT_TRUE(good(runner.value().run<1>(eight(0))));
  EXPECT_THAT(std::exchange(heard, {}), ElementsAre("run of 0, active"));
  const auto set_two = [&] {
    auto update = aoti::update_weights(runner.value());
    EXPECT_TRUE(good(update));
    EXPECT_TRUE(good(update.value().set("layer.w", eight(1))));
    EXPECT_TRUE(good(update.value().set("t", eight(1))));
    return std::move(update).value();
  };
  ASSERT_TRUE(good(set_two().stage()));
  EXPECT_THAT(std::exchange(heard, {}),
              ElementsAre("fold of 1, inactive", "update of 2, inactive"));
  ASSERT_TRUE(good(aoti::swap_weights(runner.value())));
  ASSERT_TRUE(good(aoti::free_inactive_weights(runner.value())));
  EXPECT_THAT(std::exchange(heard, {}), ElementsAre("swap of 0, active", "free of 0, inactive"));
  ASSERT_TRUE(good(set_two().commit()));
  EXPECT_EQ(heard.back(), "update of 2, active");
}

TEST_F(Observers, HearOfStagingSwappingAndFreeing) {
  auto runner = opened("two_sets.pt2");
  log.take();
  EXPECT_FALSE(aoti::swap_weights(runner));
  EXPECT_THAT(log.take(), ElementsAre("swap{", "swap! bad state"));
  auto update = aoti::update_weights(runner);
  ASSERT_TRUE(good(update));
  EXPECT_TRUE(good(update.value().set("layer.w", eight(10))));
  EXPECT_THAT(log.take(), ElementsAre());
  EXPECT_TRUE(good(update.value().stage()));
  EXPECT_THAT(log.take(), ElementsAre("update{", "fold{", "fold}", "update}"));
  EXPECT_TRUE(good(aoti::swap_weights(runner)));
  EXPECT_TRUE(good(aoti::free_inactive_weights(runner)));
  EXPECT_THAT(log.take(), ElementsAre("swap{", "swap}", "free{", "free}"));
  std::move(runner).unload();
  EXPECT_FALSE(aoti::free_inactive_weights(runner));  // NOLINT
  EXPECT_THAT(log.take(), ElementsAre("free{", "free! bad state"));
}

TEST_F(Observers, MayBringTheirClock) {
  Counter::Counts counts;
  auto runner = With<Counter>::open(package("add.pt2"), {}, {&counts});
  ASSERT_TRUE(good(runner));
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(good(runner.value().run<1>(a23(), b23())));
  EXPECT_EQ(counts.ended, 10);
  EXPECT_EQ(counts.nanoseconds, 10);
}

TEST_F(Observers, AreAssignedWithTheirRunner) {
  Log other;
  auto runner = opened("add.pt2");
  auto second = With<Recorder>::open(package("add.pt2"), {}, Recorder{&other});
  ASSERT_TRUE(good(second));
  log.take(), other.take();
  runner = std::move(second).value();
  EXPECT_TRUE(good(runner.run<1>(a23(), b23())));
  EXPECT_THAT(log.take(), ElementsAre());
  EXPECT_THAT(other.take(), ElementsAre("run{", "run}"));
}

TEST_F(Observers, HearOfSeveralThreads) {
  constexpr int threads = 4, runs = 300;
  using Shared = With<Counter, aoti::Options{.access = aoti::Access::shared}>;
  Counter::Counts counts;
  auto runner = Shared::open(package("two_sets.pt2"), {.instances = 2}, {&counts});
  ASSERT_TRUE(good(runner));
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) {
    all.emplace_back([&] {
      for (int run = 0; run < runs; ++run) {
        EXPECT_TRUE(good(runner.value().run<1>(eight(0))));
        EXPECT_FALSE(runner.value().run<1>());
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    auto update = aoti::update_weights(runner.value());
    ASSERT_TRUE(good(update));
    EXPECT_TRUE(good(update.value().commit()));
  }
  for (std::thread& thread : all) thread.join();
  EXPECT_EQ(counts.begun, 2 * threads * runs);
  EXPECT_EQ(counts.ended, 2 * threads * runs);
  EXPECT_EQ(counts.failed, threads * runs);
}

}  // namespace
}  // namespace aoti_test
