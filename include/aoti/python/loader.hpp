// SPDX-License-Identifier: BSD-3-Clause
// The package loader of torch._C._aoti.
#pragma once

#include <pybind11/stl.h>
#include <torch/csrc/jit/python/pybind_utils.h>

#include <string>
#include <utility>
#include <vector>

#include "aoti/python/arguments.hpp"
#include "aoti/python/base.hpp"
#include "aoti/python/program.hpp"
#include "aoti/python/sources.hpp"
#include "aoti/python/tensors.hpp"

namespace aoti::inline AOTI_ABI::python {

struct BoundLoader : BoundProgram {};

namespace detail {

/// Empties the list, so that nothing here keeps the inputs alive.
inline py::list boxed_run(const Program& program, py::list inputs, py::handle stream) {
  TensorBuffer buffer = tensors_of(inputs, "input", program.mutated_inputs());
  void* const handle = pointer_in(stream, "stream_handle");
  if (PyList_SetSlice(inputs.ptr(), 0, PyList_GET_SIZE(inputs.ptr()), nullptr) != 0) {
    throw py::error_already_set{};
  }
  Tensors outputs = without_gil([&] { return program.boxed_run(buffer.tensors(), handle); });
  return sequence_of<py::list>(outputs);
}

/// As in torch: tensors that the model uses without a copy cannot be copied to its device.
inline void expect_one_owner(bool user_managed, bool copy) {
  if (!user_managed || !copy) return;
  raise(Error{Errc::invalid_argument, "load_constants",
              "user_managed and allow_h2d_copy exclude each other"});
}

}  // namespace detail

/// Adds torch._C._aoti's AOTIModelPackageLoader for these devices.
template <DevicePolicy... Devices> void bind_loader(py::module_& module) {
  using Self = BoundLoader;
  detail::bind_base(module);
  const auto load = [](Self& self, const detail::Mapping& map, bool inactive, bool full, bool share,
                       bool copy) {
    detail::expect_one_owner(share, copy);
    detail::update(self.get(), map, inactive, full, share);
  };
  py::class_<Self, BoundProgram>(module, "AOTIModelPackageLoader", py::module_local())
      .def(py::init([](const std::string& path, const std::string& model, bool single_threaded,
                       unsigned runners, int index, bool affinity) {
             detail::expect_one(single_threaded, runners == 1, "num_runners");
             const OpenOptions choice{.model = model,
                                      .instances = detail::instances_of(runners),
                                      .device = detail::device_of(index),
                                      .stream_affinity = affinity,
                                      .weights = PackagedWeights::optional};
             const Package package = open_compiled(checked_path(path), false, model);
             Self self;
             self.program = without_gil([&] { return open_program<Devices...>(package, choice); });
             return self;
           }),
           py::arg("model_package_path"), py::arg("model_name") = "model",
           py::arg("run_single_threaded") = false, py::arg("num_runners") = 1,
           py::arg("device_index") = -1, py::arg("use_stream_affinity") = false)
      .def(
          "boxed_run",
          [](const Self& self, py::list inputs, const py::object& stream) {
            return detail::boxed_run(self.get(), std::move(inputs), stream);
          },
          py::arg("inputs"), py::arg("stream_handle") = py::none(),
          "Like run, but empties the list of inputs, so that they can be freed during the run.")
      .def(
          "get_metadata", [](const Self& self) { return detail::dict_of(self.get().metadata()); },
          "The model's metadata in the package.")
      .def_static(
          "load_metadata_from_package",
          [](const std::string& path, const std::string& name) {
            return detail::dict_of(without_gil([&]() -> Result<Metadata> {
              AOTI_TRY(auto package, Package::open(checked_path(path)));
              AOTI_TRY(auto model, package.model(name));
              return std::move(model.metadata);
            }));
          },
          py::arg("model_package_path"), py::arg("model_name"),
          "A model's metadata in a package, without loading the model.")
      .def(
          "get_constant_fqns",
          [](const Self& self) {
            std::vector<std::string> fqns;
            for (const Constant& c : self.get().constants()) fqns.push_back(c.fqn);
            return fqns;
          },
          "The weights' names in the exported module.")
      .def(
          "get_custom_objs",
          [](const Self& self) {
            py::dict objects;
            for (const auto& [name, value] : self.get().custom_objects()) {
              objects[py::str(name)] = torch::jit::toPyObject(value);
            }
            return objects;
          },
          "The custom objects that the model passes to operators, by name.")
      .def("load_constants", load, py::arg("constants_map"), py::arg("use_inactive"),
           py::arg("check_full_update"), py::arg("user_managed") = false,
           py::arg("allow_h2d_copy") = false,
           "As update_constant_buffer; tensors on the CPU are always copied to the device.");
}

}  // namespace aoti::inline AOTI_ABI::python
