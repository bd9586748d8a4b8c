// Streams: a model's work is queued on the caller's stream, and two runners overlap on two streams.
#include <ATen/ATen.h>
#include <dlfcn.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <cstdio>
#include <string>

using Runner = aoti::Runner<aoti::Cuda>;
using Stream = aoti::Cuda::Stream;

namespace {

/// A new stream from the CUDA runtime, which programs with CUDA's headers call directly.
Stream new_stream() {
  auto* const create = reinterpret_cast<int (*)(void**)>(::dlsym(RTLD_DEFAULT, "cudaStreamCreate"));
  void* stream = nullptr;
  return create != nullptr && create(&stream) == 0 ? Stream{stream} : Stream{};
}

int failed(const aoti::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string path = (argc > 1 ? std::string{argv[1]} : ".") + "/add_cuda.pt2";
  if (auto there = aoti::Cuda::check({}); !there) {
    std::printf("%s\n", there.error().message().c_str());
    return 0;  // a machine without a GPU
  }

  auto first = Runner::open(path), second = Runner::open(path, {.device = {0}});
  if (!first && first.error().code() == aoti::Errc::not_found) {
    std::printf("%s\n", first.error().message().c_str());
    return 0;  // compile_models.py --only add_cuda writes it
  }
  if (!first) return failed(first.error());
  if (!second) return failed(second.error());
  const at::Tensor a = at::arange(8, at::kFloat).cuda(), b = at::ones({8}).cuda();
  if (auto ready = aoti::Cuda::synchronize({}); !ready) return failed(ready.error());

  // Each call only queues its work, so the two overlap. {} would be the current stream,
  // Stream::device_default() the device's default one.
  auto x = first.value().run<1>(new_stream(), a, b);
  auto y = second.value().run<1>(new_stream(), b, b);
  if (!x) return failed(x.error());
  if (!y) return failed(y.error());
  if (auto done = aoti::Cuda::synchronize({}); !done) return failed(done.error());

  std::printf("7 + 1 = %g, 1 + 1 = %g\n", x.value()[0][7].item<double>(),
              y.value()[0][7].item<double>());
  return x.value()[0].equal(a + b) && y.value()[0].equal(b + b) ? 0 : 1;
}
