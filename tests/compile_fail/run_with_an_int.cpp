// Inputs are tensors.
// expected: inputs are tensors of the runtime, passed by reference or by std::move, after a
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

using Runner = aoti::Runner<aoti::Cpu, aoti_test::FakeRuntime>;

#ifdef COMPILE_FAIL
auto run(const Runner& runner) { return runner.run<1>(3); }
#else
auto run(const Runner& runner) { return runner.run<1>(aoti_test::FakeTensor{}); }
#endif
