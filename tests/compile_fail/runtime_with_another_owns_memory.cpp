// Optional members of a tensor runtime must have the right type: else they would be ignored.
// expected: owns_memory of a TensorRuntime must be static bool owns_memory.const Tensor&.
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

struct Runtime : aoti_test::FakeRuntime {
#ifdef COMPILE_FAIL
  static bool owns_memory() { return true; }
#endif
};

using Runner = aoti::Runner<aoti::Cpu, Runtime>;

auto open() { return Runner::open("model.pt2"); }
