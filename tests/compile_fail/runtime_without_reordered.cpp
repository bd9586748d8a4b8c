// A tensor runtime must have all members.
// expected: a TensorRuntime needs static Tensor reordered.const Tensor&, std::span<const int>.
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

struct Runtime : aoti_test::FakeRuntime {
#ifdef COMPILE_FAIL
  static void reordered();
#endif
};

using Runner = aoti::Runner<aoti::Cpu, Runtime>;

auto open() { return Runner::open("model.pt2"); }
