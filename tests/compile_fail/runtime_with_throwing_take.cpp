// A member of a tensor runtime must have its type, and be noexcept if that is required.
// expected: a TensorRuntime needs static Tensor take.AtenTensorHandle. noexcept
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

struct Runtime : aoti_test::FakeRuntime {
#ifdef COMPILE_FAIL
  static Tensor take(AtenTensorHandle handle) { return FakeRuntime::take(handle); }
#endif
};

using Runner = aoti::AnyRunner<Runtime>;

auto open() { return Runner::open("model.pt2"); }
