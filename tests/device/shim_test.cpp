// The policies on torch's C interface, tested with a stand-in for it.
#include <aoti/device/cuda.hpp>
#include <aoti/device/mps.hpp>
#include <aoti/device/xpu.hpp>
#include <aoti/runner.hpp>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "device/battery.hpp"
#include "fakes/trouble.hpp"
#include "support/fake_runtime.hpp"
#include "support/fake_shim.hpp"

namespace aoti_test {
namespace {

using aoti::Errc;

/// What last reached the model on this thread, and what was current while it ran.
struct Seen {
  std::string device;
  AOTInductorStreamHandle stream = nullptr;
  int current_device = -1;
  void* current_stream = nullptr;
  int runs = 0;
};
thread_local Seen seen;
thread_local bool creation_fails = false;

AOTInductorStreamHandle handle(void* stream) {
  return static_cast<AOTInductorStreamHandle>(stream);
}

}  // namespace
}  // namespace aoti_test

// Called by the fake `streams`.
extern "C" {
__attribute__((used)) AOTIRuntimeError on_created(const char* device) {
  using namespace aoti_test;
  seen.device = device;
  // As the real containers do, without restoring it.
  FakeShim<FakeCuda>::state.device = 1;
  FakeShim<FakeXpu>::state.device = 1;
  return creation_fails;
}
__attribute__((used)) void on_run(AOTInductorStreamHandle stream) {
  using namespace aoti_test;
  seen.stream = stream;
  const auto note = [](const auto& state) {
    seen.current_device = state.device;
    seen.current_stream = state.streams[static_cast<std::size_t>(state.device)];
  };
  if (seen.device.starts_with("cuda")) note(FakeShim<FakeCuda>::state);
  if (seen.device.starts_with("xpu")) note(FakeShim<FakeXpu>::state);
  ++seen.runs;
}
}

namespace aoti_test {

template <class Kind> struct ShimCase {
  static aoti::DeviceIndex there() { return {1}; }
  static aoti::DeviceIndex absent() { return {2}; }
  static auto state() { return FakeShim<Kind>::state; }
  static void disturb() { FakeShim<Kind>::state = {0, {stream_at(7), stream_at(7)}}; }
  static AOTInductorStreamHandle current_handle() { return handle(Kind::streams()[1]); }
};
template <> struct DeviceCase<aoti::Cuda> : ShimCase<FakeCuda> {
  using Shim = FakeShim<FakeCuda>;
  static std::string expected_string() { return "cuda:1"; }
};
template <> struct DeviceCase<aoti::Xpu> : ShimCase<FakeXpu> {
  using Shim = FakeShim<FakeXpu>;
  static std::string expected_string() { return "xpu:1"; }
};
template <> struct DeviceCase<aoti::Mps> {
  static aoti::DeviceIndex there() { return {0}; }
  static aoti::DeviceIndex absent() { return {1}; }
  static std::string expected_string() { return "mps"; }
  static int state() { return 0; }
  static void disturb() {}
  static AOTInductorStreamHandle current_handle() { return nullptr; }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, DeviceBattery, aoti::Cuda);
INSTANTIATE_TYPED_TEST_SUITE_P(Xpu, DeviceBattery, aoti::Xpu);
INSTANTIATE_TYPED_TEST_SUITE_P(Mps, DeviceBattery, aoti::Mps);

namespace {

static_assert(!std::is_constructible_v<aoti::Cuda::Stream, std::nullptr_t>);
static_assert(!std::is_constructible_v<aoti::Cuda::Stream, int>);
static_assert(!std::is_convertible_v<void*, aoti::Cuda::Stream>);
static_assert(!std::is_same_v<aoti::Cuda::Stream, aoti::Xpu::Stream>);
static_assert(aoti::Cuda::Stream{} != aoti::Cuda::Stream::device_default());
static_assert(aoti::Cuda::Stream{static_cast<void*>(nullptr)} ==
              aoti::Cuda::Stream::device_default());

FakeTensor one(float value) { return tensor<float>({1}, {value}); }
FakeTensor one(Trouble trouble) { return one(static_cast<float>(trouble)); }

/// Runs the fake `streams`, and expects that nothing remains changed.
template <class Device> class Streams : public testing::Test {
 protected:
  using Runner = aoti::Runner<Device, FakeRuntime>;
  using Shim = typename DeviceCase<Device>::Shim;
  using State = typename Shim::State;

  Streams() {
    seen = {};
    Shim::state = {};
  }
  ~Streams() override {
    Shim::devices = 2;
    Shim::refused = {};
    Shim::state = {};
    creation_fails = false;
    EXPECT_EQ(Shim::guards, 0) << "guards leaked";
    EXPECT_EQ(live_handles, 0) << "handles leaked";
  }

  static aoti::Result<Runner> open(aoti::DeviceIndex index = {}) {
    return Runner::open(fake("streams"), {.device = index});
  }
  static Runner opened(aoti::DeviceIndex index = {}) {
    auto runner = open(index);
    EXPECT_TRUE(good(runner));
    return std::move(runner).value();
  }
  /// What was current during a run on a device, and the stream that the model was given.
  static void expect_seen(int device, void* stream) {
    EXPECT_EQ(seen.stream, handle(stream));
    EXPECT_EQ(seen.current_device, device);
    EXPECT_EQ(seen.current_stream, stream);
  }
};

using ShimDevices = testing::Types<aoti::Cuda, aoti::Xpu>;
TYPED_TEST_SUITE(Streams, ShimDevices);

TYPED_TEST(Streams, AreTheCurrentOneUnlessToldOtherwise) {
  const auto runner = TestFixture::opened({1});
  ASSERT_TRUE(good(runner.template run<2>(one(0), one(1))));
  TestFixture::expect_seen(1, TestFixture::Shim::state.streams[1]);
  // "Current" means current when the run begins, on the runner's device.
  TestFixture::Shim::state.streams = {stream_at(8), stream_at(9)};
  ASSERT_TRUE(good(runner.template run<2>({}, one(0), one(1))));
  TestFixture::expect_seen(1, stream_at(9));
}

TYPED_TEST(Streams, CanBeGiven) {
  const auto runner = TestFixture::opened({1});
  const typename TypeParam::Stream stream{stream_at(0x77)};
  ASSERT_TRUE(good(runner.template run<2>(stream, one(0), one(1))));
  TestFixture::expect_seen(1, stream_at(0x77));
  EXPECT_TRUE(TestFixture::Shim::state == typename TestFixture::State{});
}

TYPED_TEST(Streams, CanBeTheDevicesDefault) {
  const auto runner = TestFixture::opened({1});
  const auto done = runner.template run<2>(TypeParam::Stream::device_default(), one(0), one(1));
  if constexpr (std::is_same_v<TypeParam, aoti::Xpu>) {
    expect_error(done, Errc::unsupported, {"xpu:1", "default stream"});
    EXPECT_EQ(seen.runs, 0);
  } else {
    ASSERT_TRUE(good(done));
    TestFixture::expect_seen(1, nullptr);
  }
}

TYPED_TEST(Streams, ReachTheModelByEveryFormOfRun) {
  const auto runner = TestFixture::opened();
  const typename TypeParam::Stream stream{stream_at(0x55)};
  std::vector<FakeTensor> inputs{one(0), one(1)}, outputs(2);
  ASSERT_TRUE(good(runner.run_into(inputs, outputs, stream)));
  TestFixture::expect_seen(0, stream_at(0x55));
  seen.stream = nullptr;
  ASSERT_TRUE(good(runner.run(inputs, stream)));
  TestFixture::expect_seen(0, stream_at(0x55));
  seen.stream = nullptr;
  AtenTensorHandle in[]{FakeRuntime::share(inputs[0]), FakeRuntime::share(inputs[1])}, out[2];
  ASSERT_TRUE(good(runner.run_handles(in, out, stream)));
  TestFixture::expect_seen(0, stream_at(0x55));
  for (AtenTensorHandle handle : out) FakeRuntime::destroy(handle);
  seen.stream = nullptr;
  ASSERT_TRUE(good(runner.boxed_run(inputs, stream)));
  TestFixture::expect_seen(0, stream_at(0x55));
  EXPECT_EQ(seen.runs, 4);
}

TYPED_TEST(Streams, AreRestoredOnEveryPath) {
  const auto runner = TestFixture::opened({1});
  const struct {
    Trouble trouble;
    Errc code;
  } cases[] = {
    {Trouble::none, Errc::none},
    {Trouble::fails, Errc::model_failed},
    {Trouble::fails_late, Errc::model_failed},
    {Trouble::few_outputs, Errc::model_failed},
#if defined(__cpp_exceptions)
    {Trouble::throws_late, Errc::model_threw},
    {Trouble::throws_int, Errc::model_threw},
#endif
  };
  for (const auto& [trouble, code] : cases) {
    for (const auto stream :
         {typename TypeParam::Stream{}, typename TypeParam::Stream{stream_at(0x66)}}) {
      const auto done = runner.template run<2>(stream, one(trouble), one(1));
      if (code == Errc::none) {
        EXPECT_TRUE(good(done));
      } else {
        expect_error(done, code);
      }
      EXPECT_EQ(TestFixture::Shim::guards, 0);
      EXPECT_TRUE(TestFixture::Shim::state == typename TestFixture::State{});
    }
  }
  // A refused call does not reach the model.
  const int runs = seen.runs;
  expect_error(runner.template run<2>(one(0)), Errc::input_count);
  expect_error(runner.template run<2>(one(0), FakeTensor{}), Errc::undefined_tensor);
  EXPECT_EQ(seen.runs, runs);
  EXPECT_TRUE(TestFixture::Shim::state == typename TestFixture::State{});
}

TYPED_TEST(Streams, ThatCannotBeEnteredAreAnError) {
  const auto runner = TestFixture::opened({1});
  const std::string name = DeviceCase<TypeParam>::expected_string();
  for (const char* refused : {"create_guard", "current_stream"}) {
    TestFixture::Shim::refused = refused;
    std::vector<FakeTensor> inputs{one(0), one(1)};
    expect_error(runner.boxed_run(inputs), Errc::device_unavailable,
                 {name, "failed: invalid device ordinal"});
    EXPECT_TRUE(FakeRuntime::is_defined(inputs[0]) && FakeRuntime::is_defined(inputs[1]));
    expect_error(TestFixture::open({1}), Errc::device_unavailable, {name});
    EXPECT_EQ(TestFixture::Shim::guards, 0);
  }
  TestFixture::Shim::refused = "create_stream_guard";
  const typename TypeParam::Stream stream{stream_at(0x77)};
  expect_error(runner.template run<2>(stream, one(0), one(1)), Errc::device_unavailable,
               {name, "stream_guard failed: invalid device ordinal"});
  EXPECT_EQ(seen.runs, 0);
  EXPECT_TRUE(TestFixture::Shim::state == typename TestFixture::State{});
}

TYPED_TEST(Streams, NeedAnIndexWhereTorchTellsNone) {
  TestFixture::Shim::refused = "current_device";
  const auto runner = TestFixture::opened();
  EXPECT_EQ(seen.device, TypeParam::key);
  EXPECT_TRUE(good(runner.template run<2>(one(0), one(1))));
  const typename TypeParam::Stream stream{stream_at(0x77)};
  expect_error(runner.template run<2>(stream, one(0), one(1)), Errc::unsupported, {"index"});
}

TYPED_TEST(Streams, OfDifferentThreadsDoNotMix) {
  std::vector<std::thread> threads;
  for (const int i : {0, 1}) {
    threads.emplace_back([i] {
      const auto runner = TestFixture::opened({i});
      for (int run = 0; run < 100; ++run) {
        const auto mine = stream_at(0x100u + static_cast<unsigned>(i));
        EXPECT_TRUE(good(runner.template run<2>(typename TypeParam::Stream{mine}, one(0), one(1))));
        TestFixture::expect_seen(i, mine);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TYPED_TEST(Streams, OpeningRestoresTheDevice) {
  const auto before = TestFixture::Shim::state;
  TestFixture::opened({0});
  EXPECT_EQ(seen.device, std::string{TypeParam::key} + ":0");
  EXPECT_TRUE(TestFixture::Shim::state == before);
  creation_fails = true;
  expect_error(TestFixture::open({0}), Errc::model_failed);
  EXPECT_TRUE(TestFixture::Shim::state == before);
}

TYPED_TEST(Streams, OfARunnerAreOnItsDevice) {
  TestFixture::Shim::state.device = 1;
  const auto runner = TestFixture::opened();
  EXPECT_EQ(seen.device, DeviceCase<TypeParam>::expected_string());
  TestFixture::Shim::state.device = 0;
  ASSERT_TRUE(good(runner.template run<2>(one(0), one(1))));
  TestFixture::expect_seen(1, TestFixture::Shim::state.streams[1]);
  EXPECT_EQ(TestFixture::Shim::state.device, 0);
}

TYPED_TEST(Streams, NeedADevice) {
  const std::string key{TypeParam::key};
  expect_error(TestFixture::open({2}), Errc::device_unavailable, {key + ":2"});
  expect_error(TestFixture::open({257}), Errc::device_unavailable, {key + ":257"});
  TestFixture::Shim::devices = 0;
  expect_error(TestFixture::open({0}), Errc::device_unavailable, {key + ":0"});
  expect_error(TestFixture::open(), Errc::device_unavailable, {key});
  EXPECT_TRUE(seen.device.empty()) << "a model was created";
}

TEST(Cuda, TellsHowManyDevicesThereAre) {
  using Shim = FakeShim<FakeCuda>;
  expect_error(aoti::Cuda::check({2}), Errc::device_unavailable,
               {"cuda:2", "found 2 CUDA devices"});
  Shim::devices = 1;
  expect_error(aoti::Cuda::check({1}), Errc::device_unavailable, {"found 1 CUDA device"});
  Shim::devices = 0;
  expect_error(aoti::Cuda::check({}), Errc::device_unavailable,
               {"no CUDA-capable device is detected"});
  Shim::devices = 2;
}

TEST(Cuda, Waits) {
  const int waits = FakeShim<FakeCuda>::waits;
  EXPECT_TRUE(good(aoti::Cuda::synchronize({1})));
  EXPECT_EQ(FakeShim<FakeCuda>::waits, waits + 1);
}

TEST(Mps, HasOneDeviceWithOneName) {
  EXPECT_EQ(aoti::Mps::device_string({}), "mps");
  const auto runner = aoti::Runner<aoti::Mps, FakeRuntime>::open(fake("streams"));
  ASSERT_TRUE(good(runner));
  EXPECT_EQ(seen.device, "mps");
  ASSERT_TRUE(good(runner.value().run<2>(one(0), one(1))));
  EXPECT_EQ(seen.stream, nullptr);
  mps_is_there = false;
  expect_error(aoti::Mps::check({}), Errc::device_unavailable, {"mps"});
  mps_is_there = true;
}

}  // namespace
}  // namespace aoti_test
