// Opens packages whose device is known only at run time.
#include <ATen/ATen.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <cstdio>
#include <string>
#include <vector>

int failed(const aoti::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 1;
}

int main(int argc, char** argv) {
  const std::string path = (argc > 1 ? std::string{argv[1]} : ".") + "/add.pt2";

  auto opened = aoti::open_any(path);  // Cpu, Cuda, Xpu or Mps, as the package says
  if (!opened) return failed(opened.error());
  const auto& any = opened.value();
  const at::Device device{std::string{any.device_key()}};
  auto outputs = any.run(std::vector{at::ones({8}, device), at::ones({8}, device)});
  if (!outputs) return failed(outputs.error());

  // The typed runner, for what differs from device to device: streams, say.
  if (const auto* runner = any.as<aoti::Cuda>()) {
    auto done = runner->run<1>(aoti::Cuda::Stream::device_default(), outputs.value()[0],
                               outputs.value()[0]);
    if (!done) return failed(done.error());
  }

  // A program's own choice of policies, to which it can add its own.
  auto registry = aoti::Registry<>::of<aoti::Cpu>();
  registry.add<aoti::Cuda>();
  if (auto again = registry.open(path); !again) return failed(again.error());
  return outputs.value()[0].cpu().equal(at::full({8}, 2)) ? 0 : 1;
}
