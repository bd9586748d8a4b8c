#include <ATen/ATen.h>

#include <aoti/runtime/libtorch.hpp>
#include <aoti/version.hpp>
#include <cstdio>

int main() {
  std::printf("aoti %s with libtorch: %g\n", aoti::version, at::ones({2, 3}).sum().item<double>());
}
