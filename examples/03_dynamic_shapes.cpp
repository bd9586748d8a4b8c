// Dynamic shapes: what the package says about them, and how each size is checked before a run.
#include <ATen/ATen.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  auto opened = aoti::Runner<aoti::Cpu>::open(folder + "/mlp.pt2");
  if (!opened) {
    std::fprintf(stderr, "%s\n", opened.error().message().c_str());
    return 1;
  }
  const auto& runner = opened.value();

  const aoti::ModelSpec& spec =
      *runner.spec();  // null for a package that aoti.export did not write
  for (const aoti::TensorSpec& input : spec.inputs) {
    std::printf("%s: %s", input.name.c_str(), std::string{aoti::to_string(input.dtype)}.c_str());
    for (const aoti::Dimension& size : input.shape) {
      if (size.min == size.max) {
        std::printf("  %ld", static_cast<long>(size.min));
      } else {
        std::printf("  %s from %ld to %ld",
                    spec.symbols[static_cast<std::size_t>(size.symbol)].c_str(),
                    static_cast<long>(size.min), static_cast<long>(size.max));
      }
    }
    std::puts("");
  }

  for (const long batch : {1, 7, 1024, 1025}) {
    // An input whose memory is not row-major is copied for the model: this one is a transposed
    // view.
    const at::Tensor input = at::rand({64, batch}).t();
    auto outputs = runner.run<1>(input);
    if (!outputs) {
      std::printf("batch %ld: %s\n", batch, outputs.error().message().c_str());
      return batch == 1025 ? 0 : 1;
    }
    std::printf("batch %ld: %ld rows of results\n", batch,
                static_cast<long>(outputs.value()[0].size(0)));
  }
  return 1;
}
