// An observer's clock returns nanoseconds as std::int64_t, and is static.
// expected: an ObserverPolicy that has now.. needs static std::int64_t now.. noexcept
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

struct Observer {
  void begin(aoti::Event) const noexcept {}
  void end(aoti::Event, const aoti::Completion&) const noexcept {}
#ifdef COMPILE_FAIL
  double now() const noexcept { return 0; }
#else
  static std::int64_t now() noexcept { return 0; }
#endif
};

using Runner = aoti::Runner<aoti::Cpu, aoti_test::FakeRuntime, aoti::Options{}, Observer>;

auto open() { return Runner::open("model.pt2"); }
