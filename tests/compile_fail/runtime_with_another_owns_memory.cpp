// A member that a tensor runtime may have must have its type where it has one: else it would be
// ignored. expected: owns_memory of a TensorRuntime must be static bool owns_memory.const Tensor&.
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

struct Runtime : aoti_test::FakeRuntime {
#ifdef COMPILE_FAIL
  static bool owns_memory() { return true; }
#endif
};

using Runner = aoti::Runner<aoti::Cpu, Runtime>;

auto open() { return Runner::open("model.pt2"); }
