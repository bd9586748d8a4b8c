// Bound runs are for aoti's own tensors, not for libtorch's.
// expected: a BoundRun needs a runner on a runtime without libtorch, such as Runner<Cpu, Native>
#include <aoti/bound_run.hpp>
#include <aoti/device/cpu.hpp>
#include <aoti/runtime/native.hpp>

#include "../support/fake_runtime.hpp"

#ifdef COMPILE_FAIL
using Runner = aoti::Runner<aoti::Cpu, aoti_test::FakeRuntime>;
#else
using Runner = aoti::Runner<aoti::Cpu, aoti::Native>;
#endif

auto bind(const Runner& runner) { return aoti::BoundRun<Runner>::make(runner, {}, {}); }
