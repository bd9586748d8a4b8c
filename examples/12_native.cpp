// Runs a model without libtorch: the same package, tensors in the program's own memory, and a
// program of a few hundred kilobytes.
#include <aoti/aoti.hpp>
#include <aoti/bound_run.hpp>
#include <aoti/runtime/native.hpp>
#include <array>
#include <cstdio>
#include <string>
#include <vector>

namespace {

int fail(const aoti::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  using Runner = aoti::Runner<aoti::Cpu, aoti::Native>;
  auto runner = Runner::open(folder + "/add.pt2");
  if (!runner) return fail(runner.error());

  std::array<float, 8> a{0, 1, 2, 3, 4, 5, 6, 7}, b{1, 1, 1, 1, 1, 1, 1, 1}, sum{};
  auto x = aoti::Tensor::borrow(a.data(), {8});  // no copy
  auto y = aoti::Tensor::borrow(b.data(), {8});
  if (!x || !y) return fail(x ? y.error() : x.error());
  auto outputs = runner.value().run<1>(x.value(), y.value());
  if (!outputs) return fail(outputs.error());
  auto elements = outputs.value()[0].elements<float>();
  if (!elements) return fail(elements.error());
  std::printf("0 + 1 = %g, …, 7 + 1 = %g\n", elements.value()[0], elements.value()[7]);

  // Many runs on the same memory: inputs and outputs are bound once, and results are written where
  // they are wanted.
  auto z = aoti::Tensor::borrow(sum.data(), {8});
  if (!z) return fail(z.error());
  auto bound = aoti::BoundRun<Runner>::make(runner.value(), std::vector{x.value(), y.value()},
                                            {&z.value(), 1});
  if (!bound) return fail(bound.error());
  for (int i = 0; i < 3; ++i) {
    b[0] = static_cast<float>(10 * i);
    if (auto done = bound.value().run(); !done) return fail(done.error());
    std::printf("0 + %g = %g\n", b[0], sum[0]);
  }
  return sum[0] == 20 && sum[7] == 8 ? 0 : 1;
}
