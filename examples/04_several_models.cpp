// One package with several models, opened once; and a file that the package carries along.
#include <ATen/ATen.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  auto package = aoti::Package::open(folder + "/pair.pt2");
  if (!package) {
    std::fprintf(stderr, "%s\n", package.error().message().c_str());
    return 1;
  }

  const at::Tensor a = at::full({8}, 5.0), b = at::full({8}, 3.0);
  for (const std::string& name : package.value().model_names()) {
    auto runner = aoti::Runner<aoti::Cpu>::open(package.value(), {.model = name});
    if (!runner) {
      std::fprintf(stderr, "%s\n", runner.error().message().c_str());
      return 1;
    }
    auto outputs = runner.value().run<1>(a, b);
    if (!outputs) return 1;
    std::printf("%s(5, 3) = %g\n", name.c_str(), outputs.value()[0][0].item<double>());
  }

  auto notes = package.value().file("extra/notes.txt");
  if (!notes) return 1;
  std::printf("notes.txt: %.*s\n", static_cast<int>(notes.value().size()),
              reinterpret_cast<const char*>(notes.value().data()));
  return 0;
}
