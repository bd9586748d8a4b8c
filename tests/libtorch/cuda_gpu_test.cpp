// The CUDA policy on a real GPU, and a model that runs on it. Skipped, with the reason, if there is
// none.
#include <aoti/device/cuda.hpp>
#include <aoti/weights.hpp>

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "device/battery.hpp"
#include "libtorch/models.hpp"

namespace aoti_test {
namespace {

using aoti::Cuda;
using aoti::Errc;
using Stream = Cuda::Stream;
using CudaRunner = aoti::Runner<Cuda>;

// The CUDA functions that the tests need, looked up as the policy does.
struct StreamCreate {
  using type = int(void**);
  static constexpr const char* symbol = "cudaStreamCreate";
};
struct StreamQuery {
  using type = int(void*);
  static constexpr const char* symbol = "cudaStreamQuery";
};
struct LaunchHostFunction {
  using type = int(void*, void (*)(void*), void*);
  static constexpr const char* symbol = "cudaLaunchHostFunc";
};
struct SetCurrentStream {
  using type = AOTITorchError(void*, std::int32_t);
  static constexpr const char* symbol = "torch_set_current_cuda_stream";
};

template <class Function, class... Arguments> int call(Arguments... arguments) {
  auto* const function = aoti::detail::function<Function, aoti::detail::CudaShim>();
  EXPECT_NE(function, nullptr) << Function::symbol;
  return function != nullptr ? function(arguments...) : -1;
}

void* new_stream() {
  void* stream = nullptr;
  EXPECT_EQ(call<StreamCreate>(&stream), 0);
  return stream;
}

void* current_stream() {
  void* stream = nullptr;
  EXPECT_EQ(call<aoti::abi::imported::get_current_cuda_stream>(-1, &stream), 0);
  return stream;
}

std::string why_no_gpu() {
  auto there = Cuda::check({});
  return there ? std::string{} : there.error().message();
}

}  // namespace

template <> struct DeviceCase<Cuda> {
  static std::string reason_to_skip() { return why_no_gpu(); }
  static aoti::DeviceIndex there() { return {0}; }
  static aoti::DeviceIndex absent() { return {99}; }
  static std::string expected_string() { return "cuda:0"; }
  static std::pair<int, void*> state() { return {Cuda::resolve({}).value, current_stream()}; }
  static void disturb() { EXPECT_EQ(call<SetCurrentStream>(new_stream(), 0), 0); }
  static AOTInductorStreamHandle current_handle() { return nullptr; }
};
INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, DeviceBattery, Cuda);

namespace {

class OnGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = why_no_gpu(); !reason.empty()) GTEST_SKIP() << reason;
    auto runner = CudaRunner::open(model_path("add_cuda"), {.device = {0}});
    if (!runner && runner.error().code() == Errc::not_found) {
      GTEST_SKIP() << runner.error().message() << "; compile_models.py --only add_cuda writes it";
    }
    runner_.push_back(value_of(std::move(runner)));
    a_ = at::arange(8, at::kFloat).cuda();
    b_ = at::ones({8}).cuda();
    ASSERT_TRUE(good(Cuda::synchronize({})));
  }
  const CudaRunner& runner() const { return runner_.front(); }

  at::Tensor a_, b_;

 private:
  std::vector<CudaRunner> runner_;
};

TEST_F(OnGpu, AddsOnEachKindOfStream) {
  for (const Stream stream : {Stream{}, Stream::device_default(), Stream{new_stream()}}) {
    const auto before = DeviceCase<Cuda>::state();
    auto outputs = runner().run<1>(stream, a_, b_);
    ASSERT_TRUE(good(outputs));
    EXPECT_TRUE(DeviceCase<Cuda>::state() == before);
    ASSERT_TRUE(good(Cuda::synchronize({0})));
    EXPECT_TRUE(same(outputs.value()[0].cpu(), (a_ + b_).cpu()));
  }
}

// A blocked stream blocks the model, and no other stream does.
TEST_F(OnGpu, QueuesItsWorkOnTheStream) {
  void* const native = new_stream();
  ASSERT_TRUE(good(runner().run<1>(Stream{native}, a_, b_)));  // loads the kernels
  ASSERT_TRUE(good(Cuda::synchronize({0})));

  std::atomic<bool> held = true;
  const auto hold = [](void* flag) {
    while (static_cast<std::atomic<bool>*>(flag)->load()) {
    }
  };
  ASSERT_EQ(call<LaunchHostFunction>(native, hold, &held), 0);
  auto held_up = runner().run<1>(Stream{native}, a_, b_);
  void* const other = new_stream();
  auto free = runner().run<1>(Stream{other}, a_, b_);
  while (call<StreamQuery>(other) == 600) {  // not ready
  }
  EXPECT_EQ(call<StreamQuery>(native), 600);
  held = false;
  ASSERT_TRUE(good(Cuda::synchronize({0})));
  ASSERT_TRUE(good(held_up));
  ASSERT_TRUE(good(free));
  EXPECT_TRUE(same(held_up.value()[0].cpu(), (a_ + b_).cpu()));
}

TEST_F(OnGpu, RefusesInputsAsOnTheProcessor) {
  const auto before = DeviceCase<Cuda>::state();
  expect_error(runner().run<1>(a_), Errc::input_count);
  expect_error(runner().run<1>(a_, b_.cpu()), Errc::input_device);
  EXPECT_TRUE(DeviceCase<Cuda>::state() == before);
}

// Weights from the CPU and from the GPU, compared with the same model on the CPU.
TEST(OnGpuWeights, ChangeAsOnTheProcessor) {
  if (const std::string reason = why_no_gpu(); !reason.empty()) GTEST_SKIP() << reason;
  auto opened_on_gpu = CudaRunner::open(model_path("linear_cuda"), {.device = {0}});
  if (!opened_on_gpu && opened_on_gpu.error().code() == Errc::not_found) {
    GTEST_SKIP() << opened_on_gpu.error().message()
                 << "; compile_models.py --only linear_cuda writes it";
  }
  CudaRunner runner = value_of(std::move(opened_on_gpu));
  Runner expected = opened("linear_beside");
  const at::Tensor x = at::randn({4, 16});
  const auto expect_close = [&] {
    const at::Tensor on_gpu = x.cuda();
    ASSERT_TRUE(good(Cuda::synchronize({0})));
    const auto found = runner.run<1>(on_gpu);
    ASSERT_TRUE(good(found));
    EXPECT_TRUE(close(found.value()[0].cpu(), value_of(expected.run<1>(x))[0]));
  };
  expect_close();
  for (const bool from_gpu : {false, true}) {
    const auto before = DeviceCase<Cuda>::state();
    auto update = value_of(aoti::update_weights(runner));
    auto other = value_of(aoti::update_weights(expected));
    for (const auto& [name, tensor] : value_of(aoti::weights(expected))) {
      const at::Tensor changed = at::randn_like(tensor);
      expect_error(update.share(name, changed), Errc::constant_device);
      ASSERT_TRUE(good(update.set(name, from_gpu ? changed.cuda() : changed)));
      ASSERT_TRUE(good(other.set(name, changed)));
    }
    ASSERT_TRUE(good(update.commit(Stream{new_stream()})));
    ASSERT_TRUE(good(other.commit()));
    EXPECT_TRUE(DeviceCase<Cuda>::state() == before);
    expect_close();
    for (const auto& [name, tensor] : value_of(aoti::weights(runner))) {
      EXPECT_TRUE(tensor.is_cuda()) << name;
    }
  }
  ASSERT_TRUE(good(aoti::free_inactive_weights(runner)));
  expect_close();
}

TEST_F(OnGpu, NeedsADeviceThatIsThere) {
  expect_error(CudaRunner::open(model_path("add_cuda"), {.device = {99}}), Errc::device_unavailable,
               {"cuda:99", "CUDA device"});
}

}  // namespace
}  // namespace aoti_test
