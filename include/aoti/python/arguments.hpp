// SPDX-License-Identifier: BSD-3-Clause
// Checks and converts arguments from Python other than the inputs of a run: maps of weights,
// numbers, devices and capsules.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "aoti/python/program.hpp"
#include "aoti/python/tensors.hpp"

namespace aoti::inline AOTI_ABI::python {

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

/// A mapping. If an argument is not one, pybind11 tries another overload.
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

/// The number of instances. An int or unsigned, almost as in torch: numbers outside their range
/// raise a TypeError.
template <class Number> std::size_t instances_of(Number number) {
  if (number < 1) {
    raise(Error{Errc::invalid_argument, "instances",
                aoti::detail::concat({"found ", number, ", expected 1 or more"})});
  }
  return static_cast<std::size_t>(number);
}

/// Running on a single thread requires exactly one instance.
inline void expect_one(bool single_threaded, bool is_one, const char* name) {
  if (!single_threaded || is_one) return;
  raise(Error{Errc::invalid_argument, "run_single_threaded",
              aoti::detail::concat({"expected ", name, " to be 1"})});
}

inline DeviceIndex device_of(int index) {
  if (index < -1) {
    raise(Error{Errc::invalid_argument, "device_index",
                aoti::detail::concat({"found ", index, ", expected 0 or more, or -1"})});
  }
  return index < 0 ? DeviceIndex::current() : DeviceIndex{index};
}

inline WeightSet weight_set(bool inactive) noexcept {
  return inactive ? WeightSet::inactive : WeightSet::active;
}

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI::python

/// Its name in docstrings.
template <> struct pybind11::detail::handle_type_name<aoti::python::detail::Mapping> {
  static constexpr auto name = const_name("collections.abc.Mapping[str, torch.Tensor]");
};
