// A custom device policy: the processor, with the calling thread pinned to one core while it is
// inside a model. The device index is the core's number, and there are no streams.
#include <ATen/ATen.h>
#include <sched.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

struct Core : aoti::Cpu {  // the rest is inherited from Cpu
  struct Restore {
    void operator()(cpu_set_t* cores) const {
      ::sched_setaffinity(0, sizeof *cores, cores);
      delete cores;
    }
  };
  using Guard = std::unique_ptr<cpu_set_t, Restore>;

  static aoti::DeviceIndex resolve(aoti::DeviceIndex index) {
    return index.is_current() ? aoti::DeviceIndex{::sched_getcpu()} : index;
  }
  static aoti::Result<Guard> enter(aoti::DeviceIndex index, Stream) {
    const int core = resolve(index).value;
    cpu_set_t before, only;
    CPU_ZERO(&only);
    CPU_SET(static_cast<unsigned>(core), &only);
    if (::sched_getaffinity(0, sizeof before, &before) != 0 ||
        ::sched_setaffinity(0, sizeof only, &only) != 0) {
      return aoti::Error{aoti::Errc::device_unavailable, "core " + std::to_string(core),
                         "this process may not run there"};
    }
    return Guard{new cpu_set_t{before}};
  }
  static AOTInductorStreamHandle native(const Guard&) { return nullptr; }
  static aoti::Result<void> check(aoti::DeviceIndex index) {
    auto guard = enter(index, {});
    if (!guard) return std::move(guard).error();
    return aoti::success();
  }
};

int main(int argc, char** argv) {
  const std::string path = (argc > 1 ? std::string{argv[1]} : ".") + "/add.pt2";
  auto absent = aoti::Runner<Core>::open(path, {.device = {1000}});
  if (absent) return 1;
  std::printf("%s\n", absent.error().message().c_str());

  auto runner = aoti::Runner<Core>::open(path);
  if (!runner) return 1;
  const at::Tensor a = at::ones({8});
  auto outputs = runner.value().run<1>(a, a);
  return outputs && outputs.value()[0].equal(a + a) ? 0 : 1;
}
