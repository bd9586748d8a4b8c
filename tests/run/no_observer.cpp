// Every form of run, on runners without an observer, for no_observer.py to inspect.
#include <aoti/device/cpu.hpp>
#include <aoti/runner.hpp>

#include <cstddef>
#include <span>
#include <utility>

#include "support/fake_runtime.hpp"

namespace aoti_test {

template <aoti::Options options> using Of = aoti::Runner<aoti::Cpu, FakeRuntime, options>;
using Checked = Of<aoti::Options{}>;
using Shared = Of<aoti::Options{.access = aoti::Access::shared}>;
using Unchecked = Of<aoti::Options{.check_inputs = false, .detect_concurrent_use = false}>;

template <class R> struct Forms {
  static auto array(const R& runner, FakeTensor& a, FakeTensor& b) {
    return runner.template run<1>(a, b);
  }
  static auto moved(const R& runner, FakeTensor& a, FakeTensor& b) {
    return runner.template run<2>(a, std::move(b));
  }
  static auto on_stream(const R& runner, typename R::Stream stream, FakeTensor& a) {
    return runner.template run<1>(stream, a);
  }
  static auto into(const R& runner, std::span<const FakeTensor> in, std::span<FakeTensor> out) {
    return runner.run_into(in, out);
  }
  static auto span(const R& runner, std::span<const FakeTensor> in) { return runner.run(in); }
  static auto boxed(const R& runner, std::span<FakeTensor> in) { return runner.boxed_run(in); }
  static auto handles(const R& runner, std::span<AtenTensorHandle> in,
                      std::span<AtenTensorHandle> out) {
    return runner.run_handles(in, out);
  }
  static R move(R& runner) { return std::move(runner); }
  static void assign(R& to, R& from) { to = std::move(from); }
  static std::size_t size() { return sizeof(R); }
};
template struct Forms<Checked>;
template struct Forms<Shared>;
template struct Forms<Unchecked>;

}  // namespace aoti_test
