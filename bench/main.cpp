#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>

int main(int argc, char** argv) {
  // Comparisons need a fixed number of threads, which OpenMP reads before main.
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    setenv("OMP_NUM_THREADS", "1", 1);
    execv("/proc/self/exe", argv);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
