// A member of a device policy must have its type.
// expected: a DevicePolicy needs static Result<void> check.DeviceIndex.
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

struct Device : aoti::Cpu {
#ifdef COMPILE_FAIL
  static bool check(aoti::DeviceIndex) { return true; }
#endif
};

using Runner = aoti::Runner<Device, aoti_test::FakeRuntime>;

auto open() { return Runner::open("model.pt2"); }
