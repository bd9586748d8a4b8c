// From the start of a process to the first result: start_… DIRECTORY, with add.pt2 in it. With
// START_LINKED, the model is part of the program.
#include <aoti/aoti.hpp>
#if defined(START_LIBTORCH)
#include <ATen/ATen.h>

#include <aoti/runtime/libtorch.hpp>
#else
#include <aoti/runtime/native.hpp>
#endif
#include <cstdio>
#include <string>

#if defined(START_LINKED)
#include "add.hpp"
#endif

#include "../../examples/digits/peak_memory.hpp"

namespace {

#if defined(START_LIBTORCH)
using Runner = aoti::Runner<aoti::Cpu>;
at::Tensor tensor(float* data) { return at::from_blob(data, {8}); }
float last(const at::Tensor& tensor) { return tensor.data_ptr<float>()[7]; }
#else
using Runner = aoti::Runner<aoti::Cpu, aoti::Native>;
aoti::Tensor tensor(float* data) { return aoti::Tensor::borrow(data, {8}).value(); }
float last(const aoti::Tensor& tensor) { return static_cast<const float*>(tensor.data())[7]; }
#endif

}  // namespace

int main(int argc, char** argv) {
#if defined(START_LINKED)
  const auto runner = Runner::open(aoti::linked<add>());
  static_cast<void>(argc), static_cast<void>(argv);
#else
  const auto runner = Runner::open((argc > 1 ? argv[1] : std::string{"."}) + "/add.pt2");
#endif
  if (!runner) {
    std::fprintf(stderr, "%s\n", runner.error().message().c_str());
    return 1;
  }
  float a[8] = {0, 1, 2, 3, 4, 5, 6, 7}, b[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  const auto sum = runner.value().run<1>(tensor(a), tensor(b));
  if (!sum || last(sum.value()[0]) != 8) return 1;
  std::printf("%.1f MB of memory\n", peak_memory_mb());
  return 0;
}
