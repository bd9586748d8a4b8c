#include <aoti/runtime/runtime.hpp>

#include "runtime/battery.hpp"
#include "support/fake_runtime.hpp"

namespace aoti_test {

template <> struct RuntimeCase<FakeRuntime> {
  template <class T>
  static FakeTensor make(Sizes sizes, const std::vector<T>& elements, Sizes strides = {}) {
    return tensor<T>(std::move(sizes), elements, std::move(strides));
  }
  template <class T> static std::vector<T> elements(const FakeTensor& tensor) {
    return aoti_test::elements<T>(tensor);
  }
  static const void* data(const FakeTensor& tensor) { return tensor.data(); }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Fake, RuntimeBattery, FakeRuntime);

TEST(FakeRuntime, CountsWhatIsAlive) {
  EXPECT_EQ(live_storages, 0);
  {
    const auto one = tensor<float>({2}, {1, 2});
    EXPECT_EQ(live_storages, 1);
    const AtenTensorHandle handle = FakeRuntime::share(one);
    EXPECT_EQ(live_handles, 1);
    EXPECT_EQ(live_storages, 1);
    FakeRuntime::destroy(handle);
  }
  EXPECT_EQ(live_handles, 0);
  EXPECT_EQ(live_storages, 0);
}

TEST(FakeRuntime, FailsTheAllocationThatItIsToldTo) {
  const auto one = tensor<float>({1}, {1});
  allocations_left = 1;
  const AtenTensorHandle first = FakeRuntime::share(one), second = FakeRuntime::share(one);
  const AtenTensorHandle third = FakeRuntime::share(one);
  EXPECT_NE(first, nullptr);
  EXPECT_EQ(second, nullptr);
  EXPECT_NE(third, nullptr);
  FakeRuntime::destroy(first);
  FakeRuntime::destroy(third);
}

// A type that lacks a member is not a runtime; an incomplete one is not examined.
struct LacksPeek : FakeRuntime {
  static void peek();
};
struct TakesWithExceptions : FakeRuntime {
  static FakeTensor take(AtenTensorHandle);
};
static_assert(!aoti::TensorRuntime<LacksPeek>);
static_assert(!aoti::TensorRuntime<TakesWithExceptions>);

}  // namespace aoti_test
