// The Operators of a tensor runtime must be complete.
// expected: Operators of a TensorRuntime need handle.., begin_run..
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

struct Runtime : aoti_test::FakeRuntime {
#ifdef COMPILE_FAIL
  struct Operators {
    AOTIProxyExecutorHandle handle() const { return nullptr; }
  };
#endif
};

using Runner = aoti::Runner<aoti::Cpu, Runtime>;

auto open() { return Runner::open("model.pt2"); }
