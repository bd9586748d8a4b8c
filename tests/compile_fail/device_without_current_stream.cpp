// A registered type must be a device policy; its default stream is the current one.
// expected: a DevicePolicy needs a type Stream, copyable and default-constructible
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

struct Device : aoti::Cpu {
#ifdef COMPILE_FAIL
  struct Stream {
    explicit Stream(int) {}
  };
  static aoti::Result<Guard> enter(aoti::DeviceIndex, Stream) { return Guard{}; }
#endif
};

auto registry() { return aoti::Registry<aoti_test::FakeRuntime>::of<aoti::Cpu, Device>(); }
