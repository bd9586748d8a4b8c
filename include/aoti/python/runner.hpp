// SPDX-License-Identifier: BSD-3-Clause
// The classes of torch._C._aoti: a container runner per device, and, from python/loader.hpp, the
// package loader.
#pragma once

#include <pybind11/stl.h>

#include <cstdint>
#include <map>
#include <string>

#include "aoti/python/arguments.hpp"
#include "aoti/python/base.hpp"
#include "aoti/python/loader.hpp"
#include "aoti/python/program.hpp"

namespace aoti::inline AOTI_ABI::python {

template <class Device> struct BoundRunner : BoundProgram {
  bool given_constants = false;  // at construction, instead of the package's
};

namespace detail {

/// As Program::lend_weights; empty if there is no second set, as in torch.
inline py::dict shared_weights(Program& program, WeightSet set) {
  return dict_of(without_gil([&]() -> Result<NamedTensors> {
    auto found = program.lend_weights(set);
    if (!found && set == WeightSet::inactive && found.error().code() == Errc::bad_state) {
      return NamedTensors{};
    }
    return found;
  }));
}

}  // namespace detail

/// Adds a class to a module that is for a device policy what torch._C._aoti's
/// AOTIModelContainerRunnerCpu is for the CPU, with the same methods and arguments:
/// `bind_runner<MyDevice>(module, "AOTIModelContainerRunnerMyDevice")`.
///
/// Runs and loading release the GIL. Any number of threads may use an object; `num_models` of them
/// run at once. Beyond what torch's class checks, updates are checked as in WeightsUpdate, and
/// happen as a whole or not at all. Exceptions are those of aoti.errors, all of them RuntimeErrors.
template <DevicePolicy Device> void bind_runner(py::module_& module, const char* name) {
  using Self = BoundRunner<Device>;
  detail::bind_base(module);
  const auto open = [](const std::string& path, int count, const std::string& device,
                       const std::string& kernels,
                       PackagedWeights weights = PackagedWeights::optional) {
    auto index = parse_device_index(Device::key, device);
    if (!index) raise(std::move(index).error());
    const OpenOptions choice{.instances = detail::instances_of(count),
                             .device = index.value(),
                             .weights = weights,
                             .kernel_folder = kernels};
    Self self;
    self.program = without_gil([&] { return open_program_on<Device>(checked_path(path), choice); });
    return self;
  };
  const auto open_with = [open](const std::string& path, int count, const std::string& device,
                                const std::string& kernels, const detail::Mapping& constants) {
    const NamedTensors tensors = detail::named(constants);
    Self self = open(path, count, device, kernels, PackagedWeights::ignored);
    without_gil([&] { return self.program->update(tensors, {.share = true}); });
    self.given_constants = true;
    return self;
  };
  py::class_<Self, BoundProgram>(module, name, py::module_local())
      .def(py::init([open](const std::string& path, int count, const std::string& device,
                           const std::string& kernels, bool single_threaded) {
             detail::expect_one(single_threaded, count == 1, "num_models");
             return open(path, count, device, kernels);
           }),
           py::arg("model_so_path"), py::arg("num_models"), py::arg("device_str") = "",
           py::arg("cubin_dir") = "", py::arg("run_single_threaded") = false)
      .def(py::init(
               [open_with](const std::string& path, int count, const detail::Mapping& constants) {
                 return open_with(path, count, {}, {}, constants);
               }),
           py::arg("model_so_path"), py::arg("num_models"), py::arg("constants"))
      .def(py::init([open_with](const std::string& path, int count, const std::string& device,
                                const std::string& kernels, const detail::Mapping& constants) {
             return open_with(path, count, device, kernels, constants);
           }),
           py::arg("model_so_path"), py::arg("num_models"), py::arg("device_str"),
           py::arg("cubin_dir"), py::arg("constants"))
      .def(
          "get_constant_names_to_original_fqns",
          [](const Self& self) {
            std::map<std::string, std::string> names;
            for (const Constant& c : self.get().constants()) names.emplace(c.name, c.fqn);
            return names;
          },
          "The weights' names in the exported module, by those in the compiled code.")
      .def(
          "get_constant_names_to_dtypes",
          [](const Self& self) {
            std::map<std::string, std::int32_t> dtypes;
            for (const Constant& c : self.get().constants()) {
              dtypes.emplace(c.name, static_cast<std::int32_t>(c.dtype));
            }
            return dtypes;
          },
          "The weights' dtypes, as torch's numbers, by their names in the compiled code.")
      .def(
          "extract_constants_map",
          [](Self& self, bool inactive) {
            return detail::shared_weights(self.get(), detail::weight_set(inactive));
          },
          py::arg("use_inactive"),
          "The weights by name: tensors in the model's memory, which they keep alive.")
      .def(
          "update_constant_buffer_from_cpu",
          [](Self& self, const detail::Mapping& map, bool inactive, bool full) {
            detail::update(self.get(), map, inactive, full, false);
          },
          py::arg("tensor_map"), py::arg("use_inactive"), py::arg("validate_full_updates"),
          "As update_constant_buffer, for tensors on the CPU.")
      .def(
          "update_constant_buffer_from_blob",
          [](Self& self, const std::string& path) {
            without_gil([&] { return self.get().update_from_blob(checked_path(path)); });
            self.given_constants = false;
          },
          py::arg("weights_path"),
          "Replaces all weights by those of a file like the one beside a model's image.")
      .def(
          "swap_constant_buffer",
          [](Self& self) { without_gil([&] { return self.get().swap_weights(); }); },
          "Uses the other set of weights from the next run on. RunError if there is none.")
      .def(
          "free_inactive_constant_buffer",
          [](Self& self) { without_gil([&] { return self.get().free_inactive_weights(); }); },
          "Frees the inactive set of weights.")
      .def(
          "did_call_load_constants",
          [](const Self& self) {
            return !self.given_constants && self.get().weights_state() != WeightsState::none;
          },
          "Whether the model has weights and can run; False if it was constructed with constants.");
}

}  // namespace aoti::inline AOTI_ABI::python
