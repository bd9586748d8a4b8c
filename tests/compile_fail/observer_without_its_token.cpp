// The result of begin is passed to end.
// expected: with a third parameter for what begin returns, unless that is void
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

struct Observer {
  int begin(aoti::Event) const noexcept { return 1; }
#ifdef COMPILE_FAIL
  void end(aoti::Event, const aoti::Completion&) const noexcept {}
#else
  void end(aoti::Event, const aoti::Completion&, int) const noexcept {}
#endif
};

using Runner = aoti::Runner<aoti::Cpu, aoti_test::FakeRuntime, aoti::Options{}, Observer>;

auto open() { return Runner::open("model.pt2"); }
