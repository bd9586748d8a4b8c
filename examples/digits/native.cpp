// Classifies scikit-learn's held-out digits without libtorch, with the model that train.py
// compiled: digits_native DIRECTORY [first]   (first: only the first of them)
// With DIGITS_LINKED, the model is part of the program.
#include <aoti/aoti.hpp>
#include <aoti/runtime/native.hpp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#if defined(DIGITS_LINKED)
#include "digits.hpp"
#endif
#include "peak_memory.hpp"

namespace {

int fail(const aoti::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
#if defined(DIGITS_LINKED)
  auto runner = aoti::Runner<aoti::Cpu, aoti::Native>::open(aoti::linked<digits>());
#else
  auto runner = aoti::Runner<aoti::Cpu, aoti::Native>::open(folder + "/digits.pt2");
#endif
  if (!runner) return fail(runner.error());
  auto file = aoti::Mapping::open(folder + "/digits.bin");
  if (!file) return fail(file.error());

  // The number of images, the images, their labels, and eager PyTorch's predictions.
  const std::byte* data = file.value().bytes().data();
  std::uint32_t count = 0;
  std::memcpy(&count, data, sizeof count);
  const auto* images = reinterpret_cast<const float*>(data + sizeof count);
  const auto* labels = reinterpret_cast<const std::uint8_t*>(images + std::size_t{count} * 64);
  const auto* eager = labels + count;
  if (argc > 2 && argv[2] == std::string_view{"first"}) count = 1;

  std::uint32_t right = 0, as_eager = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto image = aoti::Tensor::borrow(images + std::size_t{i} * 64, {1, 1, 8, 8});
    if (!image) return fail(image.error());
    auto outputs = runner.value().run<1>(image.value());
    if (!outputs) return fail(outputs.error());
    auto scores = outputs.value()[0].elements<float>();
    if (!scores) return fail(scores.error());
    std::uint8_t best = 0;
    for (std::uint8_t k = 1; k < scores.value().size(); ++k) {
      if (scores.value()[k] > scores.value()[best]) best = k;
    }
    right += best == labels[i] ? 1 : 0;
    as_eager += best == eager[i] ? 1 : 0;
  }
  std::printf("without libtorch: %u right of %u, %u as eager PyTorch; %.1f MB of memory\n", right,
              count, as_eager, peak_memory_mb());
  return as_eager == count ? 0 : 1;
}
