// Weights of models for devices other than the CPU, tested with a stand-in for torch's functions.
#include <aoti/device/cuda.hpp>
#include <aoti/device/mps.hpp>
#include <aoti/device/xpu.hpp>
#include <aoti/weights.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/fake_runtime.hpp"
#include "support/fake_shim.hpp"
#include "support/support.hpp"

namespace aoti_test {
namespace {

/// What reached the model: a fold, a swap or a free.
struct Heard {
  std::string what;
  AOTInductorStreamHandle stream;
  AOTIProxyExecutorHandle proxy;
  int current_device, queued, waits;
};
std::vector<Heard> heard;
bool is_xpu = false;

using CudaShim = FakeShim<FakeCuda>;
using XpuShim = FakeShim<FakeXpu>;

}  // namespace
}  // namespace aoti_test

// Called by the fake `two_sets`.
extern "C" {
__attribute__((used)) AOTIRuntimeError on_created(const char* device) {
  using namespace aoti_test;
  const std::string_view name = device;  // the real containers also leave it current
  if (name.starts_with("cuda")) CudaShim::state.device = 1;
  if (name.starts_with("xpu")) XpuShim::state.device = 1;
  return 0;
}
__attribute__((used)) void on_weights(const char* what, AOTInductorStreamHandle stream,
                                      AOTIProxyExecutorHandle proxy) {
  using namespace aoti_test;
  if (std::string_view{what}.starts_with("fold")) ++queued;
  heard.push_back({what, stream, proxy, is_xpu ? XpuShim::state.device : CudaShim::state.device,
                   queued, CudaShim::waits});
}
}

namespace aoti_test {
namespace {

using aoti::Cuda;
using aoti::DeviceType;
using aoti::Errc;
using aoti::Mps;
using aoti::Waited;
using aoti::WeightSet;
using aoti::Xpu;

template <class Device> class DeviceWeights : public testing::Test {
 protected:
  using Runner = aoti::Runner<Device, FakeRuntime>;
  using Update = aoti::WeightsUpdate<Runner>;
  static constexpr bool has_streams = !std::is_same_v<Device, Mps>;
  static constexpr bool waits = std::is_same_v<Device, Cuda>;
  static constexpr int index = has_streams ? 1 : 0;

  DeviceWeights() {
    CudaShim::state = {};
    XpuShim::state = {};
    queued = 0;
    is_xpu = std::is_same_v<Device, Xpu>;
  }
  ~DeviceWeights() override {
    EXPECT_TRUE(CudaShim::state == CudaShim::State{});
    EXPECT_TRUE(XpuShim::state == XpuShim::State{});
    EXPECT_EQ(CudaShim::guards + XpuShim::guards, 0) << "guards leaked";
    EXPECT_EQ(live_handles, 0) << "handles leaked";
    EXPECT_EQ(live_storages, 0) << "tensors leaked";
    heard.clear();
  }

  static Runner opened() {
    auto runner = Runner::open(fake("two_sets"), {.device = {index}});
    EXPECT_TRUE(good(runner));
    return std::move(runner).value();
  }
  static Update begun(Runner& runner) {
    auto update = aoti::update_weights(runner);
    EXPECT_TRUE(good(update));
    return std::move(update).value();
  }
  static typename Device::Stream a_stream() {
    if constexpr (has_streams) {
      return typename Device::Stream{stream_at(0x77)};
    } else {
      return {};
    }
  }
  /// On the runner's device, or another of its kind.
  static FakeTensor there(float value, int at = index) {
    FakeTensor tensor = eight(value);
    tensor.device = Device::type;
    tensor.index = at;
    return tensor;
  }
  static FakeTensor eight(float value) { return tensor<float>({8}, std::vector<float>(8, value)); }
  static float output(const Runner& runner) {
    auto result = runner.template run<1>(there(0));
    EXPECT_TRUE(good(result));
    return elements<float>(result.value()[0])[0];
  }
  static constexpr float y(float w, float b, float t) { return 3 * w + b + t; }

  static std::vector<std::string> names() {
    std::vector<std::string> names;
    for (const Heard& it : heard) names.push_back(it.what);
    return names;
  }
  static void expect_fold(const Heard& it, const char* what, void* stream) {
    EXPECT_EQ(it.what, what);
    EXPECT_EQ(it.stream, reinterpret_cast<AOTInductorStreamHandle>(has_streams ? stream : nullptr));
    EXPECT_EQ(it.proxy, nullptr);
    if (has_streams) {
      EXPECT_EQ(it.current_device, 1);
    }
  }
};

using Devices = testing::Types<Cuda, Xpu, Mps>;
TYPED_TEST_SUITE(DeviceWeights, Devices);

TYPED_TEST(DeviceWeights, ComeFromTheCpuAndGoWhenTheDeviceIsDone) {
  auto runner = TestFixture::opened();
  ASSERT_EQ(heard.size(), 1u);
  TestFixture::expect_fold(heard[0], "fold",
                           is_xpu ? XpuShim::state.streams[1] : stream_at(0x1001));
  heard.clear();
  auto update = TestFixture::begun(runner);
  ASSERT_TRUE(good(update.set("layer.w", TestFixture::eight(10))));
  ASSERT_TRUE(good(update.set("layer.b", TestFixture::eight(20))));
  ASSERT_TRUE(good(update.set("t", TestFixture::eight(30))));
  ASSERT_TRUE(good(update.commit(TestFixture::a_stream())));
  TestFixture::expect_fold(heard[0], "fold inactive", stream_at(0x77));
  EXPECT_EQ(heard[1].what, "swap");
  EXPECT_EQ(heard[1].queued, 0) << "swapped in before it was there";
  EXPECT_EQ(TestFixture::output(runner), TestFixture::y(10, 20, 30));
  const auto weights = aoti::weights(runner);
  ASSERT_TRUE(good(weights));
  for (const std::size_t i : {0u, 2u}) {
    EXPECT_EQ(weights.value()[i].tensor.device, TypeParam::type);
    EXPECT_EQ(weights.value()[i].tensor.index, TestFixture::index);
  }
  EXPECT_EQ(weights.value()[1].tensor.device, DeviceType::cpu);
  if (TestFixture::waits) {
    ASSERT_EQ(TestFixture::names(), (std::vector<std::string>{"fold inactive", "swap", "free"}));
    EXPECT_GT(heard[2].waits, heard[1].waits);
    return;
  }
  ASSERT_EQ(heard.size(), 2u);
  expect_error(aoti::free_inactive_weights(runner), Errc::unsupported, {"cannot wait"});
  ASSERT_EQ(heard.size(), 2u);
  ASSERT_TRUE(good(aoti::free_inactive_weights(runner, Waited::by_caller)));
  EXPECT_EQ(heard.back().what, "free");
  EXPECT_EQ(TestFixture::output(runner), TestFixture::y(10, 20, 30));
}

TYPED_TEST(DeviceWeights, OfTheDeviceAreThereWhenTheyAreSet) {
  auto runner = TestFixture::opened();
  auto update = TestFixture::begun(runner);
  ASSERT_TRUE(good(update.set("layer.w", TestFixture::there(10))));
  EXPECT_EQ(queued, 0);
  ASSERT_TRUE(good(update.set("layer.b", TestFixture::there(20))));  // the model has it on the CPU
  ASSERT_TRUE(good(update.stage()));
  EXPECT_EQ(queued, 0);
  const auto staged = aoti::weights(runner, WeightSet::inactive);
  ASSERT_TRUE(good(staged));
  EXPECT_EQ(staged.value()[1].tensor.device, DeviceType::cpu);
  ASSERT_TRUE(good(aoti::swap_weights(runner)));
  EXPECT_EQ(TestFixture::output(runner), TestFixture::y(10, 20, 3));
}

TYPED_TEST(DeviceWeights, AreSharedWhereTheModelKeepsThem) {
  auto runner = TestFixture::opened();
  auto update = TestFixture::begun(runner);
  const std::string name{TypeParam::key};
  expect_error(update.share("layer.w", TestFixture::eight(10)), Errc::constant_device,
               {"'layer.w'", "on cpu, expected one on " + name});
  expect_error(update.share("layer.b", TestFixture::there(10)), Errc::constant_device,
               {"on " + name + ", expected one on cpu"});
  expect_error(update.share("layer.w", TestFixture::there(10, 5)), Errc::constant_device,
               {"on " + name + ":5, expected one on " + name + ":"});
  ASSERT_TRUE(good(update.share("layer.w", TestFixture::there(10))));
  ASSERT_TRUE(good(update.share("layer.b", TestFixture::eight(20))));
  ASSERT_TRUE(good(update.commit()));
  EXPECT_EQ(TestFixture::output(runner), TestFixture::y(10, 20, 3));
}

TYPED_TEST(DeviceWeights, ThatCannotBeFoldedChangeNothing) {
  auto runner = TestFixture::opened();
  auto update = TestFixture::begun(runner);
  ASSERT_TRUE(good(update.set("layer.w", TestFixture::eight(666))));
  expect_error(update.commit(TestFixture::a_stream()), Errc::model_failed, {"666"});
  EXPECT_EQ(TestFixture::output(runner), TestFixture::y(1, 2, 3));
}

TYPED_TEST(DeviceWeights, AreFoldedOnAStream) {
  auto runner = TestFixture::opened();
  heard.clear();
  ASSERT_TRUE(good(aoti::fold_weights(runner, WeightSet::active, TestFixture::a_stream())));
  TestFixture::expect_fold(heard.back(), "fold", stream_at(0x77));
  expect_error(aoti::fold_weights(runner, WeightSet::inactive), Errc::bad_state, {"no second set"});
  FakeTensor mine = TestFixture::there(10);
  auto update = TestFixture::begun(runner);
  ASSERT_TRUE(good(update.share("layer.w", mine)));
  ASSERT_TRUE(good(update.set("t", TestFixture::eight(30))));
  ASSERT_TRUE(good(update.stage(TestFixture::a_stream())));
  TestFixture::expect_fold(heard.back(), "fold inactive", stream_at(0x77));
  for (int i = 0; i < 8; ++i) static_cast<float*>(mine.data())[i] = 11;
  ASSERT_TRUE(good(aoti::fold_weights(runner, WeightSet::inactive, TestFixture::a_stream())));
  TestFixture::expect_fold(heard.back(), "fold inactive", stream_at(0x77));
  EXPECT_EQ(queued, 0);
  EXPECT_EQ(TestFixture::output(runner), TestFixture::y(1, 2, 3));
  ASSERT_TRUE(good(aoti::swap_weights(runner)));
  EXPECT_EQ(TestFixture::output(runner), TestFixture::y(11, 2, 30));
}

TYPED_TEST(DeviceWeights, InputsMustLieOnTheRunnersDevice) {
  const auto runner = TestFixture::opened();
  expect_error(runner.template run<1>(TestFixture::there(0, 5)), Errc::input_device,
               {"input 0", ":5, expected one on ", std::string{TypeParam::key} + ":"});
  EXPECT_TRUE(good(runner.template run<1>(TestFixture::there(0))));
  EXPECT_TRUE(good(runner.template run<1>(TestFixture::eight(0))));  // models may accept those, too
}

}  // namespace
}  // namespace aoti_test
