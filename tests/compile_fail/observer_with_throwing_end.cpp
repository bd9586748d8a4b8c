// An observer may not throw.
// expected: an ObserverPolicy needs end.Event, const Completion&. const noexcept
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

struct Observer {
  void begin(aoti::Event) const noexcept {}
#ifdef COMPILE_FAIL
  void end(aoti::Event, const aoti::Completion&) const {}
#else
  void end(aoti::Event, const aoti::Completion&) const noexcept {}
#endif
};

using Runner = aoti::Runner<aoti::Cpu, aoti_test::FakeRuntime, aoti::Options{}, Observer>;

auto open() { return Runner::open("model.pt2"); }
