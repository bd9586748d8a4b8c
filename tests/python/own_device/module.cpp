// A user's extension: a device policy that counts its calls, and its Python class.
#include <aoti/device/cpu.hpp>
#include <aoti/python/runner.hpp>

namespace {

struct Counting : aoti::Cpu {
  static inline int calls = 0;

  static aoti::Result<Guard> enter(aoti::DeviceIndex index, Stream stream) {
    ++calls;
    return aoti::Cpu::enter(index, stream);
  }
};

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  aoti::python::bind_runner<Counting>(module, "AOTIModelContainerRunnerCounting");
  module.def("calls", [] { return Counting::calls; });
}
