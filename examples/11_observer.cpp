// An observer counts runs and their time. A runner without one has no code for this.
#include <ATen/ATen.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string>

struct Metrics {
  std::atomic<std::int64_t> runs = 0, failed = 0, nanoseconds = 0;
};

// It is copied into the runner, and called by each thread that runs it.
struct Observer {
  Metrics* metrics;

  void begin(aoti::Event) const noexcept {}  // might return a token for `end`: a span, say
  void end(aoti::Event event, const aoti::Completion& completion) const noexcept {
    if (event != aoti::Event::run) return;
    metrics->runs += 1;
    metrics->failed += completion.error != nullptr;
    metrics->nanoseconds += completion.nanoseconds;
  }
};

using Runner = aoti::Runner<aoti::Cpu, aoti::Libtorch, aoti::Options{}, Observer>;

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  Metrics metrics;

  auto runner = Runner::open(folder + "/add.pt2", {}, Observer{&metrics});
  if (!runner) {
    std::fprintf(stderr, "%s\n", runner.error().message().c_str());
    return 1;
  }

  const at::Tensor a = at::arange(8, at::kFloat), b = at::ones({8});
  for (int i = 0; i < 1000; ++i) static_cast<void>(runner.value().run<1>(a, b));
  static_cast<void>(runner.value().run<1>(a));  // refused: it takes two inputs

  const auto runs = metrics.runs.load(), failed = metrics.failed.load();
  std::printf("%d runs, %d of them failed, %.0f ns each\n", static_cast<int>(runs),
              static_cast<int>(failed),
              static_cast<double>(metrics.nanoseconds) / static_cast<double>(runs));
  return runs == 1001 && failed == 1 && metrics.nanoseconds > 0 ? 0 : 1;
}
