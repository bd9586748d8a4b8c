// What every device policy must do. A file for one policy specialises DeviceCase and says
//   INSTANTIATE_TYPED_TEST_SUITE_P(Name, DeviceBattery, Policy);
#pragma once

#include <aoti/device/device.hpp>

#include <string>
#include <string_view>
#include <utility>

#include "support/support.hpp"

namespace aoti_test {

/// What a test must know about a policy's machine:
///   static DeviceIndex there();                 a device that exists
///   static DeviceIndex absent();                one that does not
///   static std::string expected_string();       the device string of there()
///   static auto state();                        the current device and stream, comparable
///   static void disturb();                      changes what state() returns
///   static AOTInductorStreamHandle current_handle();   the current stream on there()
/// and, if the machine may lack the device,
///   static std::string reason_to_skip();        empty if it exists
template <class Policy> struct DeviceCase;

template <class Policy> class DeviceBattery : public testing::Test {
 protected:
  void SetUp() override {
    if constexpr (requires { DeviceCase<Policy>::reason_to_skip(); }) {
      const std::string reason = DeviceCase<Policy>::reason_to_skip();
      if (!reason.empty()) GTEST_SKIP() << reason;
    }
  }
};
TYPED_TEST_SUITE_P(DeviceBattery);

TYPED_TEST_P(DeviceBattery, IsAPolicyWithAName) {
  static_assert(aoti::DevicePolicy<TypeParam>);
  EXPECT_FALSE(std::string_view{TypeParam::key}.empty());
  EXPECT_EQ(to_string(TypeParam::type), std::string_view{TypeParam::key});
}

TYPED_TEST_P(DeviceBattery, TellsWhichDevicesAreThere) {
  using Case = DeviceCase<TypeParam>;
  EXPECT_TRUE(good(TypeParam::check(Case::there())));
  EXPECT_TRUE(good(TypeParam::check(aoti::DeviceIndex::current())));
  expect_error(TypeParam::check(Case::absent()), aoti::Errc::device_unavailable,
               {std::string{TypeParam::key} + ":" + std::to_string(Case::absent().value)});
}

TYPED_TEST_P(DeviceBattery, NamesDevicesAsModelsDo) {
  using Case = DeviceCase<TypeParam>;
  EXPECT_EQ(TypeParam::device_string(Case::there()), Case::expected_string());
  EXPECT_TRUE(TypeParam::device_string(aoti::DeviceIndex::current()).starts_with(TypeParam::key));
}

TYPED_TEST_P(DeviceBattery, StaysOnOneDevice) {
  using Case = DeviceCase<TypeParam>;
  EXPECT_EQ(TypeParam::resolve(Case::there()).value, Case::there().value);
  EXPECT_TRUE(good(TypeParam::check(TypeParam::resolve(aoti::DeviceIndex::current()))));
}

TYPED_TEST_P(DeviceBattery, EntersTheCurrentStreamUnlessToldOtherwise) {
  using Case = DeviceCase<TypeParam>;
  const auto guard = TypeParam::enter(Case::there(), typename TypeParam::Stream{});
  ASSERT_TRUE(good(guard));
  EXPECT_EQ(TypeParam::native(guard.value()), Case::current_handle());
}

TYPED_TEST_P(DeviceBattery, RestoresWhatItEntered) {
  using Case = DeviceCase<TypeParam>;
  const auto before = Case::state();
  {
    auto guard = TypeParam::enter(Case::there(), typename TypeParam::Stream{});
    ASSERT_TRUE(good(guard));
    const auto moved = std::move(guard).value();  // only the guard that was moved to restores
    Case::disturb();
    EXPECT_EQ(TypeParam::native(moved), Case::current_handle());
  }
  EXPECT_TRUE(Case::state() == before);
}

TYPED_TEST_P(DeviceBattery, WaitsOrSaysThatItCannot) {
  using Case = DeviceCase<TypeParam>;
  const auto before = Case::state();
  const auto done = TypeParam::synchronize(Case::there());
  if (!done) expect_error(done, aoti::Errc::unsupported, {std::string{TypeParam::key}});
  EXPECT_TRUE(Case::state() == before);
}

REGISTER_TYPED_TEST_SUITE_P(DeviceBattery, IsAPolicyWithAName, TellsWhichDevicesAreThere,
                            NamesDevicesAsModelsDo, StaysOnOneDevice,
                            EntersTheCurrentStreamUnlessToldOtherwise, RestoresWhatItEntered,
                            WaitsOrSaysThatItCannot);

}  // namespace aoti_test
