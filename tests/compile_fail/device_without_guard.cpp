// A device policy must have all members.
// expected: a DevicePolicy needs static Result<Guard> enter.DeviceIndex, Stream.
#include <aoti/runner.hpp>

#include "../support/fake_runtime.hpp"

struct Device {
  static constexpr std::string_view key = "mine";
  static constexpr aoti::DeviceType type = aoti::DeviceType::privateuse1;
  struct Stream {};
  struct Guard {};
  static aoti::Result<void> check(aoti::DeviceIndex) { return aoti::success(); }
  static std::string device_string(aoti::DeviceIndex) { return "mine"; }
  static aoti::DeviceIndex resolve(aoti::DeviceIndex index) { return index; }
  static AOTInductorStreamHandle native(Guard) { return nullptr; }
  static aoti::Result<void> synchronize(aoti::DeviceIndex) { return aoti::success(); }
#ifndef COMPILE_FAIL
  static aoti::Result<Guard> enter(aoti::DeviceIndex, Stream) { return Guard{}; }
#endif
};

using Runner = aoti::Runner<Device, aoti_test::FakeRuntime>;

auto open() { return Runner::open("model.pt2"); }
