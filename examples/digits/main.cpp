// Classifies scikit-learn's held-out digits with the model that train.py compiled, draws a few of
// them, and measures the time per image: digits DIRECTORY [first]   (first: only the first of
// them)
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <algorithm>
#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "peak_memory.hpp"

namespace {

struct Digits {
  at::Tensor images;       // float32 [count, 1, 8, 8], from 0 to 1
  at::Tensor labels;       // uint8 [count]
  at::Tensor predictions;  // uint8 [count], by eager PyTorch
};

/// Reads what train.py wrote; the tensors share the mapping's bytes.
Digits read(const aoti::Mapping& file) {
  std::uint32_t count = 0;
  std::memcpy(&count, file.bytes().data(), sizeof count);
  auto* images = const_cast<std::byte*>(file.bytes().data()) + sizeof count;
  auto* labels = images + std::size_t{count} * 64 * sizeof(float);
  return {at::from_blob(images, {count, 1, 8, 8}, at::kFloat),
          at::from_blob(labels, {count}, at::kByte),
          at::from_blob(labels + count, {count}, at::kByte)};
}

void draw(const Digits& digits, const at::Tensor& predictions, int count) {
  constexpr const char* shades[] = {"  ", "░░", "▒▒", "▓▓", "██"};
  const auto pixels = digits.images.accessor<float, 4>();
  for (int row = 0; row < 8; ++row) {
    for (int i = 0; i < count; ++i) {
      for (int column = 0; column < 8; ++column) {
        std::fputs(shades[static_cast<int>(pixels[i][0][row][column] * 4)], stdout);
      }
      std::fputs("  ", stdout);
    }
    std::puts("");
  }
  for (int i = 0; i < count; ++i) {
    std::printf("     predicted %d  ", predictions[i].item<int>());
  }
  std::puts("\n");
}

/// Nanoseconds per call of each of the functions, measured in turns: the median of many rounds.
template <class... Run> std::array<double, sizeof...(Run)> measure(Run&&... run) {
  using Clock = std::chrono::steady_clock;
  std::array<std::vector<double>, sizeof...(Run)> times;
  const auto time = [](auto& one, int calls) {
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) one();
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / calls;
  };
  for (int round = 0; round < 60; ++round) {
    std::size_t which = 0;
    ((times[which++].push_back(time(run, 50))), ...);
  }
  std::array<double, sizeof...(Run)> medians;
  for (std::size_t i = 0; i < medians.size(); ++i) {
    std::nth_element(times[i].begin(), times[i].begin() + 30, times[i].end());
    medians[i] = times[i][30];
  }
  return medians;
}

int fail(const aoti::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  at::set_num_threads(1);
  const c10::InferenceMode inference;

  auto opened = aoti::Runner<aoti::Cpu>::open(folder + "/digits.pt2");
  if (!opened) return fail(opened.error());
  const auto& runner = opened.value();
  const auto file = aoti::Mapping::open(folder + "/digits.bin");
  if (!file) return fail(file.error());
  const Digits digits = read(file.value());
  if (argc > 2 && argv[2] == std::string_view{"first"}) {
    auto scores = runner.run<1>(digits.images.slice(0, 0, 1));
    if (!scores) return fail(scores.error());
    const bool same = scores.value()[0].argmax().item<int>() == digits.predictions[0].item<int>();
    std::printf("with libtorch: %d of 1 as eager PyTorch; %.1f MB of memory\n", same,
                peak_memory_mb());
    return same ? 0 : 1;
  }
  const auto text = aoti::Mapping::open(folder + "/digits.json");
  if (!text) return fail(text.error());
  const auto report = aoti::Json::parse(
      {reinterpret_cast<const char*>(text.value().bytes().data()), text.value().bytes().size()},
      "digits.json");
  if (!report) return fail(report.error());

  auto scores = runner.run<1>(digits.images);
  if (!scores) return fail(scores.error());
  const at::Tensor predictions = scores.value()[0].argmax(1).to(at::kByte);
  const auto percent = [&](const at::Tensor& labels) {
    return 100 * labels.eq(digits.labels).to(at::kFloat).mean().item<double>();
  };
  std::puts("");
  draw(digits, predictions, 5);
  std::printf("%ld held-out images      PyTorch %.2f %% right      C++ %.2f %% right\n",
              static_cast<long>(digits.labels.size(0)), percent(digits.predictions),
              percent(predictions));
  if (!predictions.equal(digits.predictions)) {
    std::fprintf(stderr, "the predictions in C++ differ from PyTorch's\n");
    return 1;
  }

  // torch's own loader finds libtorch.so only if the program has loaded it, with all that it needs
  // for GPUs.
  if (::dlopen("libtorch.so", RTLD_NOW) == nullptr) {
    std::fprintf(stderr, "%s\n", ::dlerror());
    return 1;
  }
  torch::inductor::AOTIModelPackageLoader loader{folder + "/digits.pt2"};
  std::array<std::array<double, 3>, 2> table{};
  const std::array batches{1, 64};
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const at::Tensor images = digits.images.slice(0, 0, batches[i]);
    const std::vector inputs{images};
    const auto [torch, ours] =
        measure([&] { loader.run(inputs); }, [&] { runner.run<1>(images).value(); });
    table[i] = {report.value()["eager_ns_per_image"][std::to_string(batches[i])].number,
                torch / batches[i], ours / batches[i]};
  }
  std::puts("\nmicroseconds per image      batch 1   batch 64");
  const std::array names{"eager PyTorch, in Python", "AOTIModelPackageLoader", "aoti::Runner"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::printf("%-26s %8.2f   %8.2f\n", names[i], table[0][i] / 1000, table[1][i] / 1000);
  }
}
