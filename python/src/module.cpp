// The compiled part of the Python package.
#include <aoti/device/cuda.hpp>
#include <aoti/device/mps.hpp>
#include <aoti/device/xpu.hpp>
#include <aoti/python/model.hpp>
#include <aoti/python/pointers.hpp>
#include <aoti/python/runner.hpp>

PYBIND11_MODULE(_C, module) {
  using namespace aoti;
  python::bind_runner<Cpu>(module, "AOTIModelContainerRunnerCpu");
  python::bind_runner<Cuda>(module, "AOTIModelContainerRunnerCuda");
  python::bind_runner<Xpu>(module, "AOTIModelContainerRunnerXpu");
  python::bind_runner<Mps>(module, "AOTIModelContainerRunnerMps");
  python::bind_loader<Cpu, Cuda, Xpu, Mps>(module);
  python::bind_pointers(module);
  python::bind_model<Cpu, Cuda, Xpu, Mps>(module);
}
