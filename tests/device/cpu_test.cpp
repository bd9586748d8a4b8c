#include <aoti/device/cpu.hpp>

#include <type_traits>

#include "device/battery.hpp"
#include "device/recording.hpp"

namespace aoti_test {

template <> struct DeviceCase<aoti::Cpu> {
  static aoti::DeviceIndex there() { return {0}; }
  static aoti::DeviceIndex absent() { return {1}; }
  static std::string expected_string() { return "cpu"; }
  static int state() { return 0; }
  static void disturb() {}
  static AOTInductorStreamHandle current_handle() { return nullptr; }
};

// The battery itself is tried on a policy that has something to restore.
template <> struct DeviceCase<Recording> {
  static aoti::DeviceIndex there() { return {1}; }
  static aoti::DeviceIndex absent() { return {2}; }
  static std::string expected_string() { return "cpu:1"; }
  static Recording::State state() { return Recording::state; }
  static void disturb() { Recording::state = {7, 7}; }
  static AOTInductorStreamHandle current_handle() { return Recording::handle(41); }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Cpu, DeviceBattery, aoti::Cpu);
INSTANTIATE_TYPED_TEST_SUITE_P(Recording, DeviceBattery, Recording);

TEST(DeviceIndex, IsCurrentUnlessNamed) {
  static_assert(aoti::DeviceIndex{}.is_current());
  static_assert(aoti::DeviceIndex::current().is_current());
  static_assert(!aoti::DeviceIndex{0}.is_current());
}

// A policy that lacks a member, or whose member returns another type, is not one.
struct LacksGuard {
  static constexpr std::string_view key = "cpu";
  static constexpr aoti::DeviceType type = aoti::DeviceType::cpu;
  struct Stream {};
  static aoti::Result<void> check(aoti::DeviceIndex);
  static aoti::DeviceIndex resolve(aoti::DeviceIndex);
  static std::string device_string(aoti::DeviceIndex);
  static aoti::Result<void> synchronize(aoti::DeviceIndex);
};
struct HasNoCurrentStream : aoti::Cpu {
  struct Stream {
    explicit Stream(int);
  };
  static aoti::Result<Guard> enter(aoti::DeviceIndex, Stream);
};
struct ChecksWithoutReason : aoti::Cpu {
  static bool check(aoti::DeviceIndex);
};
static_assert(!aoti::DevicePolicy<LacksGuard>);
static_assert(!aoti::DevicePolicy<HasNoCurrentStream>);
static_assert(!aoti::DevicePolicy<ChecksWithoutReason>);
static_assert(std::is_empty_v<aoti::Cpu::Stream> && std::is_empty_v<aoti::Cpu::Guard>);
static_assert(!aoti::DevicePolicy<int>);

}  // namespace aoti_test
