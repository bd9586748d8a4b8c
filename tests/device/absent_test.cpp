// The policies on torch's C interface in a process without its device functions.
#include <aoti/aoti.hpp>

#include <string>

#include "support/fake_runtime.hpp"
#include "support/support.hpp"

namespace aoti_test {
namespace {

template <class Device> class WithoutTorch : public testing::Test {};
using Devices = testing::Types<aoti::Cuda, aoti::Xpu, aoti::Mps>;
TYPED_TEST_SUITE(WithoutTorch, Devices);

TYPED_TEST(WithoutTorch, OpeningSaysWhatIsMissingAndWhatToDo) {
  const std::string key{TypeParam::key};
  for (const aoti::DeviceIndex index : {aoti::DeviceIndex{}, aoti::DeviceIndex{0}}) {
    expect_error(
        aoti::Runner<TypeParam, FakeRuntime>::open(fake("streams"), {.device = index}),
        aoti::Errc::device_unavailable,
        {key, "this process does not have aoti_torch_", "load a libtorch that is built for"});
  }
}

TYPED_TEST(WithoutTorch, WaitingFails) {
  const auto done = TypeParam::synchronize({});
  ASSERT_FALSE(done.has_value());
  EXPECT_THAT(done.error().message(), testing::HasSubstr(std::string{TypeParam::key}));
}

}  // namespace
}  // namespace aoti_test
