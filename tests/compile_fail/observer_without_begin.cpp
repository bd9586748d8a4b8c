// An observer must have all members.
// expected: an ObserverPolicy needs begin.Event. const noexcept
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

struct Observer {
#ifndef COMPILE_FAIL
  void begin(aoti::Event) const noexcept {}
#endif
  void end(aoti::Event, const aoti::Completion&) const noexcept {}
};

using Runner = aoti::Runner<aoti::Cpu, aoti_test::FakeRuntime, aoti::Options{}, Observer>;

auto open() { return Runner::open("model.pt2"); }
