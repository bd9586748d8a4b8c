// Several threads: a runner for each, which is fastest, or one shared runner.
#include <ATen/ATen.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

using Exclusive = aoti::Runner<aoti::Cpu>;
using Shared =
    aoti::Runner<aoti::Cpu, aoti::Libtorch, aoti::Options{.access = aoti::Access::shared}>;

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  const at::Tensor a = at::arange(8, at::kFloat), b = at::ones({8}), sum = a + b;
  std::atomic<int> right = 0;

  // A runner for each thread. If two threads use one by mistake, the second gets bad_state.
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      auto runner = Exclusive::open(folder + "/add.pt2");
      for (int run = 0; runner && run < 1000; ++run) {
        auto outputs = runner.value().run<1>(a, b);
        right += outputs && outputs.value()[0].equal(sum);
      }
    });
  }

  // One runner for two threads: `instances` runs proceed at once on one set of weights.
  auto shared = Shared::open(folder + "/add.pt2", {.instances = 2});
  if (!shared) return 1;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (int run = 0; run < 1000; ++run) {
        auto outputs = shared.value().run<1>(a, b);
        right += outputs && outputs.value()[0].equal(sum);
      }
    });
  }

  for (std::thread& thread : threads) thread.join();
  std::printf("%d of 4000 runs were right\n", right.load());
  return right == 4000 ? 0 : 1;
}
