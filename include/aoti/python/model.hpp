// SPDX-License-Identifier: BSD-3-Clause
// The callable that aoti.load returns.
#pragma once

#include <ATen/Parallel.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aoti/load/native_needs.hpp"
#include "aoti/load/regions.hpp"
#include "aoti/python/runner.hpp"
#include "aoti/python/sources.hpp"

namespace aoti::inline AOTI_ABI::python {

namespace detail {

/// Sets how many threads an operator may use, in this thread only and for its lifetime; 0 changes
/// nothing. at::set_num_threads would also affect threads that start meanwhile.
class ThreadsGuard {
 public:
  explicit ThreadsGuard(int threads) : before_{threads > 0 ? at::get_num_threads() : 0} {
    if (before_ == threads) before_ = 0;
    if (before_ == 0) return;
    set(threads);
    if (mkl_ != nullptr) mkl_before_ = mkl_(threads);
  }
  ThreadsGuard(const ThreadsGuard&) = delete;
  ~ThreadsGuard() {
    if (before_ == 0) return;
    set(before_);
    if (mkl_ != nullptr) mkl_(mkl_before_);
  }

 private:
  // Functions of the libraries that torch uses; null if it uses none.
  inline static void (*const openmp_)(int) =
      reinterpret_cast<void (*)(int)>(Libtorch::import("omp_set_num_threads"));
  static void set(int threads) {
    openmp_ != nullptr ? openmp_(threads) : at::set_num_threads(threads);
  }

  inline static int (*const mkl_)(int) =
      reinterpret_cast<int (*)(int)>(Libtorch::import("MKL_Set_Num_Threads_Local"));

  int before_;
  int mkl_before_ = 0;
};

}  // namespace detail

/// A model that takes and returns what the exported one did. If its arguments are tensors, and it
/// returns a tensor, or a tuple or list of tensors, it is called directly. Otherwise the derived
/// Python class flattens and rebuilds the nested arguments and results, in `_nested(args, kwargs)`.
class Model : public BoundProgram {
 public:
  /// @param threads how many threads a run uses; 0 for torch's number
  Model(std::shared_ptr<Program> opened, int threads)
      : BoundProgram{{}, std::move(opened)}, threads_{threads} {
    auto texts = program->call_spec();
    if (!texts) return;
    texts_ = std::move(texts).value();
    auto spec = CallSpec::parse(texts_[0], texts_[1]);
    if (!spec) return;
    const auto [args, kwargs, result] = std::move(spec).value();
    plain_arguments_ = args.type == "builtins.tuple" && is_flat(args) && kwargs.children.empty() &&
                       args.children.size() == program->input_count();
    if (result.leaf_count() != program->output_count()) return;
    if (result.is_leaf()) {
      result_ = Form::one;
    } else if (is_flat(result) && result.type == "builtins.tuple") {
      result_ = Form::tuple;
    } else if (is_flat(result) && result.type == "builtins.list") {
      result_ = Form::list;
    }
  }

  const std::array<std::string, 2>& call_spec() const noexcept { return texts_; }

  /// Takes positional arguments and a dict of others, or null, as tp_call does.
  py::object call(py::handle self, py::handle args, PyObject* kwargs) const {
    const std::size_t expected = get().input_count();
    const auto count = static_cast<std::size_t>(PyTuple_GET_SIZE(args.ptr()));
    const bool plain = plain_arguments_ && result_ != Form::nested && count == expected &&
                       (kwargs == nullptr || PyDict_GET_SIZE(kwargs) == 0);
    if (!plain) {
      return self.attr("_nested")(args, kwargs != nullptr ? py::handle{kwargs} : py::dict{});
    }
    TensorBuffer inputs = tensors_of(args, "argument", get().mutated_inputs());
    TensorBuffer outputs = run(inputs);
    if (result_ == Form::one) return object_of(std::move(outputs.tensors()[0]));
    if (result_ == Form::list) return sequence_of<py::list>(outputs.tensors());
    return sequence_of<py::tuple>(outputs.tensors());
  }

  /// The same for a sequence of leaves; returns a list of leaves.
  py::list call_flat(const py::object& leaves) const {
    TensorBuffer inputs = tensors_of(leaves, "argument", get().mutated_inputs());
    TensorBuffer outputs = run(inputs);
    return sequence_of<py::list>(outputs.tensors());
  }

 private:
  enum class Form { nested, one, tuple, list };

  static bool is_flat(const TreeSpec& tree) noexcept {
    for (const TreeSpec& child : tree.children) {
      if (!child.is_leaf()) return false;
    }
    return true;
  }

  TensorBuffer run(TensorBuffer& inputs) const {
    TensorBuffer outputs{get().output_count()};
    without_gil([&] {
      const detail::ThreadsGuard guard{threads_};
      return program->run(inputs.tensors(), outputs.tensors(), nullptr);
    });
    return outputs;
  }

  int threads_;
  std::array<std::string, 2> texts_;
  bool plain_arguments_ = false;
  Form result_ = Form::nested;
};

namespace detail {

inline PyObject* call_model(PyObject* self, PyObject* args, PyObject* kwargs) noexcept {
  return guard_python([&] {
    const auto& model = py::cast<const Model&>(py::handle{self});
    return model.call(self, args, kwargs).release().ptr();
  });
}

/// For each model: (name, metadata, bytes of the image, bytes of weights beside it, why it does not
/// run here or None, whether it reports failed checks or None, operators, libraries that provide
/// some of them, those that the runtime without libtorch lacks). Without an image, the last three
/// are empty, empty and None. Runs nothing of the package.
template <DevicePolicy... Devices> py::list describe(const py::bytes& source, bool in_memory) {
  const std::string_view text = source;
  const Package package = without_gil([&] { return open_package(text, in_memory); });
  py::list models;
  for (const std::string& name : package.model_names()) {
    const PackagedModel model = value_or_raise(package.model(name));
    py::object refused = py::none();
    const auto fit = aoti::detail::with_policy_for<Devices...>(
        model, [&]<class Device>() { return preflight<Device, LibtorchWithOperators>(model); });
    if (!fit) refused = text_of(fit.error().message());
    py::object reports_checks = py::none();
    if (auto image = Image::parse(model.image, model.origin)) {
      reports_checks = py::bool_(reports_failed_checks(model, image.value()));
    }
    NativeNeeds needs;
    py::object missing = py::none();
    if (auto read = native_needs(model)) {
      needs = std::move(read).value();
      missing = py::cast(needs.missing);
    }
    models.append(py::make_tuple(text_of(name), dict_of(model.metadata), model.image.size(),
                                 model.weights.size(), refused, reports_checks, needs.operators,
                                 needs.libraries, missing));
  }
  return models;
}

/// (name, FQN, aliases, dtype, bytes, folded, shape or None) for each.
inline py::list list_of(const std::vector<Constant>& constants) {
  py::list list;
  for (const Constant& c : constants) {
    const py::object shape = c.described ? py::object{py::tuple(py::cast(c.shape))} : py::none();
    list.append(
        py::make_tuple(c.name, c.fqn, c.aliases, to_string(c.dtype), c.bytes, c.folded, shape));
  }
  return list;
}

}  // namespace detail

/// Adds the class Model for these devices to a module.
template <DevicePolicy... Devices> void bind_model(py::module_& module) {
  module.def("_describe", &detail::describe<Devices...>, py::arg("source"), py::arg("in_memory"));
  const auto open = [](const py::bytes& source, bool in_memory, std::string model,
                       const std::string& device_key, int device, int threads,
                       std::size_t instances, std::vector<std::string> libraries, int backing,
                       bool compile) {
    OpenOptions choice{.model = std::move(model),
                       .instances = instances,
                       .weights = PackagedWeights::optional,
                       .backing = static_cast<Backing>(backing),
                       .operator_libraries = std::move(libraries)};
    choice.device = detail::device_of(device);
    const std::string_view text = source;
    Package package = without_gil([&] { return open_package(text, in_memory); });
    if (choice.model.empty()) {
      for (const std::string& name : package.model_names()) {
        if (name == "model") choice.model = name;  // torch's default
      }
    }
    if (compile) package = open_compiled(text, in_memory, choice.model);
    auto program = without_gil([&]() -> Result<std::unique_ptr<Program>> {
      if (!device_key.empty()) {
        AOTI_TRY(auto found, package.model(choice.model));
        AOTI_TRY(auto compiled_for, aoti::detail::device_key(found));
        if (compiled_for != device_key) {
          return Error{
              Errc::invalid_argument, found.origin,
              aoti::detail::concat({"the model was compiled for ", compiled_for,
                                    ", but the device asked for is of kind ", device_key})};
        }
      }
      return open_program<Devices...>(package, choice);
    });
    return std::make_unique<Model>(std::move(program), threads);
  };
  const auto update = [](Model& self, const detail::Mapping& tensors, bool share, bool full) {
    detail::update(self.get(), tensors, false, full, share);
  };
  py::class_<Model>(module, "Model", py::module_local(),
                    py::custom_type_setup(
                        [](PyHeapTypeObject* type) { type->ht_type.tp_call = detail::call_model; }))
      .def(py::init(open), py::arg("source"), py::arg("in_memory"), py::arg("model"),
           py::arg("device_key"), py::arg("device"), py::arg("threads"), py::arg("instances"),
           py::arg("operator_libraries"), py::arg("backing"), py::arg("compile"))
      .def("_call_flat", &Model::call_flat)
      .def("_update", update)
      .def("_weights",
           [](Model& self) {
             return detail::dict_of(
                 without_gil([&] { return self.get().weights(WeightSet::active); }));
           })
      .def_property_readonly("_call_spec", &Model::call_spec)
      .def_property_readonly(
          "_constants", [](const Model& self) { return detail::list_of(self.get().constants()); })
      .def_property_readonly(
          "metadata", [](const Model& self) { return detail::dict_of(self.get().metadata()); },
          "The model's metadata: a dict of strings, including export's.")
      .def_property_readonly(
          "device", [](const Model& self) { return self.get().device_key(); },
          "The kind of device that it was compiled for, such as \"cpu\" or \"cuda\".");
}

}  // namespace aoti::inline AOTI_ABI::python
