// Runs a package without libtorch when asked to: zoo_native PACKAGE INPUTS OUTPUTS
// INPUTS and OUTPUTS are the tensors' elements, row-major, one tensor after the other. Each line
// "N" on standard input is answered by the seconds that N runs took.
#include <aoti/aoti.hpp>
#include <aoti/runtime/onednn.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "../value.hpp"

namespace {

using bench::value;

std::size_t bytes_of(const aoti::Tensor& tensor) {
  return static_cast<std::size_t>(tensor.numel()) * aoti::element_size(tensor.dtype());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return std::fputs("usage: zoo_native PACKAGE INPUTS OUTPUTS\n", stderr), 2;
  constexpr aoti::Options options{.flush_denormals = true};
  const auto runner = value(aoti::Runner<aoti::Cpu, aoti::NativeOnednn, options>::open(argv[1]));
  std::ifstream file{argv[2], std::ios::binary};
  std::vector<char> bytes{std::istreambuf_iterator<char>{file}, {}};
  std::vector<aoti::Tensor> inputs;
  std::size_t used = 0;
  for (const aoti::TensorSpec& input : runner.spec()->inputs) {
    std::vector<std::int64_t> sizes;
    for (const aoti::Dimension& dimension : input.shape) sizes.push_back(dimension.min);
    inputs.push_back(value(aoti::Tensor::empty(input.dtype, sizes)));
    const std::size_t size = bytes_of(inputs.back());
    if (used + size > bytes.size()) break;
    std::memcpy(inputs.back().data(), bytes.data() + used, size);
    used += size;
  }
  if (used != bytes.size())
    return std::fputs("the inputs are not those of the package\n", stderr), 1;

  std::ofstream out{argv[3], std::ios::binary};
  for (const aoti::Tensor& output : value(runner.run(inputs))) {
    const aoti::Tensor rows = value(output.clone());
    out.write(static_cast<const char*>(rows.data()), static_cast<std::streamsize>(bytes_of(rows)));
  }
  out.close();
  std::puts("ready");
  std::fflush(stdout);
  for (int count = 0; std::scanf("%d", &count) == 1;) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) value(runner.run(inputs));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    std::printf("%.9f\n", taken.count());
    std::fflush(stdout);
  }
}
