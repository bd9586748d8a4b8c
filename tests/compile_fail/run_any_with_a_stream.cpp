// A runner for any device takes no stream.
// expected: for a stream, call run.. on as<Device>
#include <aoti/aoti.hpp>

#include "../support/fake_runtime.hpp"

using Runner = aoti::AnyRunner<aoti_test::FakeRuntime>;
using aoti::Cuda;

#ifdef COMPILE_FAIL
auto run(const Runner& runner) { return runner.run<1>(Cuda::Stream{}, aoti_test::FakeTensor{}); }
#else
auto run(const Runner& runner) {
  return runner.as<Cuda>()->run<1>(Cuda::Stream{}, aoti_test::FakeTensor{});
}
#endif
