// SPDX-License-Identifier: BSD-3-Clause
// What the Python classes of all devices and the package loader have in common: the base class
// _Program with its methods.
#pragma once

#include <pybind11/stl.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aoti/python/arguments.hpp"
#include "aoti/python/program.hpp"
#include "aoti/python/tensors.hpp"

namespace aoti::inline AOTI_ABI::python {

/// What the classes of all devices and the package loader have in common.
struct BoundProgram : Zeroed {
  std::shared_ptr<Program> program;

  Program& get() const {
    if (program == nullptr) throw py::type_error("the object was made without calling __init__");
    return *program;
  }
};

namespace detail {

inline py::dict dict_of(NamedTensors tensors) {
  py::dict dict;
  for (auto& [name, tensor] : tensors) dict[py::str(name)] = object_of(std::move(tensor));
  return dict;
}

inline py::dict dict_of(const Metadata& metadata) {
  py::dict dict;
  for (const auto& [key, value] : metadata.items) dict[text_of(key)] = text_of(value);
  return dict;
}

inline void update(Program& program, const Mapping& map, bool inactive, bool full, bool share) {
  const NamedTensors tensors = named(map);
  without_gil([&] { return program.update(tensors, {weight_set(inactive), full, share}); });
}

inline std::vector<std::string> call_spec(const Program& program) {
  auto texts = without_gil([&] { return program.call_spec(); });
  return {std::move(texts[0]), std::move(texts[1])};
}

/// run(inputs, stream_handle=None): takes a sequence of tensors, returns a list of tensors. Called
/// by CPython's own protocol, since pybind11's takes longer than a small model.
inline PyObject* run(PyObject* self, PyObject* const* args, Py_ssize_t given, PyObject* names) {
  return guard_python([&] {
    std::array<py::handle, 2> values{nullptr, Py_None};
    constexpr std::array<const char*, 2> known{"inputs", "stream_handle"};
    if (given > 2) throw py::type_error("run: expected inputs and stream_handle; found more");
    for (Py_ssize_t i = 0; i < given; ++i) values[static_cast<std::size_t>(i)] = args[i];
    for (Py_ssize_t i = 0; names != nullptr && i < PyTuple_GET_SIZE(names); ++i) {
      PyObject* const name = PyTuple_GET_ITEM(names, i);
      const bool second = PyUnicode_CompareWithASCIIString(name, known[1]) == 0;
      if ((!second && PyUnicode_CompareWithASCIIString(name, known[0]) != 0) ||
          given > static_cast<Py_ssize_t>(second)) {
        throw py::type_error("run: found an unknown argument, or one given twice");
      }
      values[second] = args[given + i];
    }
    if (!values[0]) throw py::type_error("run: expected inputs, a sequence of tensors");
    const Program& program = py::cast<const BoundProgram&>(py::handle{self}).get();
    TensorBuffer inputs = tensors_of(values[0], "input", program.mutated_inputs());
    void* const handle = pointer_in(values[1], "stream_handle");
    TensorBuffer outputs{program.output_count()};
    without_gil([&] { return program.run(inputs.tensors(), outputs.tensors(), handle); });
    return sequence_of<py::list>(outputs.tensors()).release().ptr();
  });
}

/// Adds the base class to a module without one. It is module-local, like the others: another
/// extension may be built with another version.
inline void bind_base(py::module_& module) {
  if (py::hasattr(module, "_Program")) return;
  const auto update = [](BoundProgram& self, const Mapping& map, bool inactive, bool full,
                         bool share) { detail::update(self.get(), map, inactive, full, share); };
  py::class_<BoundProgram> base{module, "_Program", py::module_local()};
  base.def(
          "get_call_spec", [](const BoundProgram& self) { return call_spec(self.get()); },
          "The trees of the arguments and of the results, as two JSON strings.")
      .def("update_constant_buffer", update, py::arg("tensor_map"), py::arg("use_inactive"),
           py::arg("validate_full_updates"), py::arg("user_managed") = false,
           "Replaces weights by name: all of the map, or none if this raises.");
  static PyMethodDef method{"run", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run)),
                            METH_FASTCALL | METH_KEYWORDS,
                            "run($self, inputs, stream_handle=None)\n--\n\nRuns on a sequence of "
                            "tensors and returns a list."};
  base.attr("run") = py::reinterpret_steal<py::object>(
      PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(base.ptr()), &method));
}

}  // namespace detail

}  // namespace aoti::inline AOTI_ABI::python
