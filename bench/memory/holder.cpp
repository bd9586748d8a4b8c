// Opens a package COUNT times, runs each model once, prints how long opening took, and waits to be
// measured: holder aoti|torch PACKAGE COUNT. The input is one image of 224 x 224.
#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace {

using Runner = aoti::Runner<aoti::Cpu>;
using Loader = torch::inductor::AOTIModelPackageLoader;

/// Prints the milliseconds of each opening, in one line.
template <class Open> auto opened(int count, Open open) {
  std::vector<decltype(open())> models;
  for (int i = 0; i < count; ++i) {
    const auto start = std::chrono::steady_clock::now();
    models.push_back(open());
    const std::chrono::duration<double, std::milli> passed =
        std::chrono::steady_clock::now() - start;
    std::printf("%.3f ", passed.count());
  }
  return models;
}

Runner open(const std::string& path) {
  auto runner = Runner::open(path);
  if (runner) return std::move(runner).value();
  std::fprintf(stderr, "%s\n", runner.error().message().c_str());
  std::exit(1);
}

void wait_for_the_watcher() {
  std::printf("\n");
  std::fflush(stdout);
  std::getchar();
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 2;
  const std::string who = arguments[1], path = arguments[2];
  const int models = std::atoi(arguments[3]);
  at::globalContext().setBenchmarkCuDNN(false);  // loads libtorch in every case
  const at::Tensor image = at::ones({1, 3, 224, 224});
  if (who == "aoti") {
    const auto runners = opened(models, [&] { return open(path); });
    for (const Runner& runner : runners) {
      if (!runner.run<1>(image)) return 1;
    }
    wait_for_the_watcher();
  } else {
    const auto loaders = opened(models, [&] { return std::make_unique<Loader>(path); });
    for (const auto& loader : loaders) loader->run({image});
    wait_for_the_watcher();
  }
}
