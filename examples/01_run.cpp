// Opens a package and runs its model.
#include <ATen/ATen.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";

  auto runner = aoti::Runner<aoti::Cpu>::open(folder + "/add.pt2");
  if (!runner) {
    std::fprintf(stderr, "%s\n", runner.error().message().c_str());
    return 1;
  }

  const at::Tensor a = at::arange(8, at::kFloat);
  const at::Tensor b = at::ones({8});
  auto outputs = runner.value().run<1>(a, b);  // one output: a std::array of one tensor
  if (!outputs) {
    std::fprintf(stderr, "%s\n", outputs.error().message().c_str());
    return 1;
  }

  const at::Tensor sum = outputs.value()[0];
  std::printf("0 + 1 = %g, …, 7 + 1 = %g\n", sum[0].item<double>(), sum[7].item<double>());
  return sum.equal(a + b) ? 0 : 1;
}
