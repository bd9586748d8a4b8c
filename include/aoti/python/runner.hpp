// SPDX-License-Identifier: BSD-3-Clause
// The classes of torch._C._aoti: a container runner per device, and the package loader.
#pragma once

#include <pybind11/stl.h>
#include <torch/csrc/jit/python/pybind_utils.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/python/program.hpp"
#include "aoti/python/sources.hpp"
#include "aoti/python/tensors.hpp"

namespace aoti::python {

namespace detail {

/// The pointer in a capsule without a name; null for None.
inline void* pointer_in(py::handle capsule, const char* what) {
  if (capsule.is_none()) return nullptr;
  if (!PyCapsule_CheckExact(capsule.ptr())) {
    throw py::type_error(aoti::detail::concat(
        {what, ": expected a capsule; found ", Py_TYPE(capsule.ptr())->tp_name}));
  }
  void* pointer = PyCapsule_GetPointer(capsule.ptr(), nullptr);
  if (pointer == nullptr) {
    PyErr_Clear();
    throw py::type_error(aoti::detail::concat({what, ": expected a capsule without a name"}));
  }
  return pointer;
}

/// What has keys; pybind11 looks for another overload where an argument is none.
class __attribute__((visibility("hidden"))) Mapping : public py::object {
 public:
  PYBIND11_OBJECT(Mapping, py::object, is_mapping)
  static bool is_mapping(PyObject* object) {
    return PyMapping_Check(object) != 0 && PyObject_HasAttrString(object, "keys") != 0;
  }
};

inline NamedTensors named(const Mapping& mapping) {
  NamedTensors tensors;
  const py::dict map{mapping};
  for (const auto& [key, value] : map) {
    if (!PyUnicode_Check(key.ptr())) {
      throw py::type_error(aoti::detail::concat(
          {"expected the name of a weight; found ", Py_TYPE(key.ptr())->tp_name}));
    }
    Py_ssize_t size = 0;
    const char* const text = PyUnicode_AsUTF8AndSize(key.ptr(), &size);
    if (text == nullptr) throw py::error_already_set{};
    const std::string name{text, static_cast<std::size_t>(size)};
    const std::string what = aoti::detail::concat({"weight '", name, "'"});
    if (!THPVariable_Check(value.ptr())) {
      throw py::type_error(aoti::detail::concat(
          {what, ": expected a torch.Tensor; found ", Py_TYPE(value.ptr())->tp_name}));
    }
    tensors.emplace_back(name, THPVariable_Unpack(value.ptr()));
    if (const char* why = unreadable(tensors.back().second)) {
      raise(Error{Errc::constant_layout, what, why});
    }
  }
  return tensors;
}

/// How many instances there are to be. An int or unsigned, as torch nearly has it: a TypeError for
/// numbers that it does not hold.
template <class Number> std::size_t instances_of(Number number) {
  if (number < 1) {
    raise(Error{Errc::invalid_argument, "instances",
                aoti::detail::concat({"found ", number, ", expected 1 or more"})});
  }
  return static_cast<std::size_t>(number);
}

/// One instance is what a single thread uses.
inline void expect_one(bool single_threaded, bool is_one, const char* name) {
  if (!single_threaded || is_one) return;
  raise(Error{Errc::invalid_argument, "run_single_threaded",
              aoti::detail::concat({"it is for one runner; ", name, " is another number"})});
}

/// "", "cuda" or "cuda:1".
inline DeviceIndex device_of(std::string_view key, const std::string& text) {
  std::string_view rest = text;
  if (rest.starts_with(key)) rest.remove_prefix(key.size());
  if (rest.empty()) return DeviceIndex::current();
  int index = -1;
  if (rest.front() == ':' && rest.size() > 1) {
    const auto [end, failed] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), index);
    if (failed != std::errc{} || end != rest.data() + rest.size()) index = -1;
  }
  if (index < 0 || rest.size() == text.size()) {
    raise(
        Error{Errc::invalid_argument, "device_str",
              aoti::detail::concat({"found '", text, "', expected '", key, "' or '", key, ":0'"})});
  }
  return {index};
}
inline DeviceIndex device_of(int index) {
  if (index < -1) {
    raise(Error{Errc::invalid_argument, "device_index",
                aoti::detail::concat({"found ", index, ", expected one from 0, or -1"})});
  }
  return index < 0 ? DeviceIndex::current() : DeviceIndex{index};
}

inline py::dict dict_of(NamedTensors tensors) {
  py::dict dict;
  for (auto& [name, tensor] : tensors) dict[py::str(name)] = object_of(std::move(tensor));
  return dict;
}

/// As Program::lend_weights; none where there is no second set, as torch has it.
inline py::dict shared_weights(Program& program, Buffer buffer) {
  return dict_of(without_gil([&]() -> Result<NamedTensors> {
    auto found = program.lend_weights(buffer);
    if (!found && buffer == Buffer::inactive && found.error().code() == Errc::bad_state) {
      return NamedTensors{};
    }
    return found;
  }));
}

/// The list is empty afterwards: nothing here keeps the inputs alive.
inline py::list boxed_run(const Program& program, py::list inputs, py::handle stream) {
  TensorBuffer buffer = tensors_of(inputs, "input", program.mutated_inputs());
  void* const handle = pointer_in(stream, "stream_handle");
  if (PyList_SetSlice(inputs.ptr(), 0, PyList_GET_SIZE(inputs.ptr()), nullptr) != 0) {
    throw py::error_already_set{};
  }
  Tensors outputs = without_gil([&] { return program.boxed_run(buffer.tensors(), handle); });
  return sequence_of<py::list>(outputs);
}

inline Buffer buffer(bool inactive) noexcept {
  return inactive ? Buffer::inactive : Buffer::active;
}

/// As torch has it: tensors that the model uses themselves cannot be copied to its device.
inline void expect_one_owner(bool user_managed, bool copy) {
  if (!user_managed || !copy) return;
  raise(Error{Errc::invalid_argument, "load_constants",
              "user_managed and allow_h2d_copy exclude each other"});
}

inline void update(Program& program, const Mapping& map, bool inactive, bool full, bool share) {
  const NamedTensors tensors = named(map);
  without_gil([&] { return program.update(tensors, {buffer(inactive), full, share}); });
}

inline std::vector<std::string> call_spec(const Program& program) {
  auto texts = without_gil([&] { return program.call_spec(); });
  return {std::move(texts[0]), std::move(texts[1])};
}

inline py::dict dict_of(const Metadata& metadata) {
  py::dict dict;
  for (const auto& [key, value] : metadata.items) dict[text_of(key)] = text_of(value);
  return dict;
}

}  // namespace detail
}  // namespace aoti::python

/// How docstrings name it.
template <> struct pybind11::detail::handle_type_name<aoti::python::detail::Mapping> {
  static constexpr auto name = const_name("collections.abc.Mapping[str, torch.Tensor]");
};

namespace aoti::python {

/// What the classes of all devices and the package loader have in common.
struct BoundProgram : Zeroed {
  std::shared_ptr<Program> program;

  Program& get() const {
    if (program == nullptr) throw py::type_error("the object was made without its __init__");
    return *program;
  }
};
template <class Device> struct BoundRunner : BoundProgram {
  bool given_constants = false;  // when it was made, in the place of the package's
};
struct BoundLoader : BoundProgram {};

namespace detail {

/// run(inputs, stream_handle=None): a sequence of tensors to a list of tensors. Called as CPython
/// calls its own functions, since pybind11's way takes longer than a small model.
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
        throw py::type_error("run: an argument that is not known, or given twice");
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

/// Adds the base class to a module that has none. Local to it, as the others are: another extension
/// may be built from another version.
inline void bind_base(py::module_& module) {
  if (py::hasattr(module, "_Program")) return;
  const auto update = [](BoundProgram& self, const Mapping& map, bool inactive, bool full,
                         bool share) { detail::update(self.get(), map, inactive, full, share); };
  py::class_<BoundProgram> base{module, "_Program", py::module_local()};
  base.def(
          "get_call_spec", [](const BoundProgram& self) { return call_spec(self.get()); },
          "The trees of the arguments and of the results, as two JSON texts.")
      .def("update_constant_buffer", update, py::arg("tensor_map"), py::arg("use_inactive"),
           py::arg("validate_full_updates"), py::arg("user_managed") = false,
           "Replaces weights by name: all of the map, or none where this raises.");
  static PyMethodDef method{"run", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run)),
                            METH_FASTCALL | METH_KEYWORDS,
                            "run($self, inputs, stream_handle=None)\n--\n\nRuns on a sequence of "
                            "tensors and returns a list."};
  base.attr("run") = py::reinterpret_steal<py::object>(
      PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(base.ptr()), &method));
}

}  // namespace detail

/// Adds a class to a module that is to a device policy what AOTIModelContainerRunnerCpu of
/// torch._C._aoti is to the CPU, with the same methods and arguments:
/// `bind_runner<MyDevice>(module, "AOTIModelContainerRunnerMyDevice")`.
///
/// Runs and loading release the GIL. Any number of threads may use an object; `num_models` of them
/// run at once. Beyond what torch's class checks, updates are checked as WeightsUpdate says, and
/// happen as a whole or not at all. Exceptions are those of aoti.errors, all of them RuntimeErrors.
template <DevicePolicy Device> void bind_runner(py::module_& module, const char* name) {
  using Self = BoundRunner<Device>;
  detail::bind_base(module);
  const auto open = [](const std::string& path, int count, const std::string& device,
                       const std::string& kernels,
                       PackagedWeights weights = PackagedWeights::optional) {
    const OpenOptions choice{.instances = detail::instances_of(count),
                             .device = detail::device_of(Device::key, device),
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
          "The weights' dtypes, in torch's numbers, by their names in the compiled code.")
      .def(
          "extract_constants_map",
          [](Self& self, bool inactive) {
            return detail::shared_weights(self.get(), detail::buffer(inactive));
          },
          py::arg("use_inactive"),
          "The weights by name: tensors in the model's memory, which they keep alive.")
      .def(
          "update_constant_buffer_from_cpu",
          [](Self& self, const detail::Mapping& map, bool inactive, bool full) {
            detail::update(self.get(), map, inactive, full, false);
          },
          py::arg("tensor_map"), py::arg("use_inactive"), py::arg("validate_full_updates"),
          "As update_constant_buffer, of tensors on the CPU.")
      .def(
          "update_constant_buffer_from_blob",
          [](Self& self, const std::string& path) {
            without_gil([&] { return self.get().update_from_blob(checked_path(path)); });
            self.given_constants = false;
          },
          py::arg("weights_path"),
          "Replaces all weights by those of a file, as they lie beside a model's image.")
      .def(
          "swap_constant_buffer",
          [](Self& self) { without_gil([&] { return self.get().swap_weights(); }); },
          "Uses the other set of weights from the next run on. RunError where there is none.")
      .def(
          "free_inactive_constant_buffer",
          [](Self& self) { without_gil([&] { return self.get().free_inactive_weights(); }); },
          "Frees the set of weights that is not in use.")
      .def(
          "did_call_load_constants",
          [](const Self& self) {
            return !self.given_constants && self.get().weights_state() != WeightsState::none;
          },
          "Whether the model has weights, and can run; False where it was made with constants.");
}

/// Adds AOTIModelPackageLoader, as torch._C._aoti has it, for the devices named.
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
          "Like run, and empties the list of inputs, so that they can be freed during the run.")
      .def(
          "get_metadata", [](const Self& self) { return detail::dict_of(self.get().metadata()); },
          "What the package says of the model.")
      .def_static(
          "load_metadata_from_package",
          [](const std::string& path, const std::string& name) {
            return detail::dict_of(without_gil([&]() -> Result<Metadata> {
              auto package = Package::open(checked_path(path));
              if (!package) return std::move(package).error();
              auto model = package.value().model(name);
              if (!model) return std::move(model).error();
              return std::move(model.value().metadata);
            }));
          },
          py::arg("model_package_path"), py::arg("model_name"),
          "What a package says of a model, which is not loaded.")
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
          "The custom objects that the model gives to operators, by name.")
      .def("load_constants", load, py::arg("constants_map"), py::arg("use_inactive"),
           py::arg("check_full_update"), py::arg("user_managed") = false,
           py::arg("allow_h2d_copy") = false,
           "As update_constant_buffer; tensors on the CPU are copied to the device in any case.");
}

}  // namespace aoti::python
