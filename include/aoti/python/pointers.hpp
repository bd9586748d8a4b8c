// SPDX-License-Identifier: BSD-3-Clause
// Capsules with tensors as the handles that compiled models take: the four functions of
// torch._C._aoti.
#pragma once

#include <pybind11/stl.h>

#include <utility>
#include <vector>

#include "aoti/python/tensors.hpp"

namespace aoti::inline AOTI_ABI::python {

namespace detail {

inline char stolen_mark = 0;  // its address becomes the context of an emptied capsule

inline py::capsule capsule_of(const at::Tensor& tensor) {
  return py::capsule{static_cast<const void*>(new at::Tensor(tensor))};
}

/// The handle in a capsule, which is marked as empty.
inline at::Tensor* mark_stolen(py::handle capsule) {
  void* pointer = nullptr;
  if (PyCapsule_CheckExact(capsule.ptr())) {
    pointer = PyCapsule_GetPointer(capsule.ptr(), nullptr);
  }
  if (pointer == nullptr) {
    PyErr_Clear();
    throw py::type_error(aoti::detail::concat(
        {"expected a capsule with a tensor's handle; found ", Py_TYPE(capsule.ptr())->tp_name}));
  }
  if (PyCapsule_GetContext(capsule.ptr()) == &stolen_mark) {
    throw py::value_error("the tensor was already taken from this capsule");
  }
  PyCapsule_SetContext(capsule.ptr(), &stolen_mark);
  return static_cast<at::Tensor*>(pointer);
}

inline py::object take(at::Tensor* handle) {
  py::object tensor = object_of(std::move(*handle));
  delete handle;
  return tensor;
}

}  // namespace detail

/// Adds unsafe_alloc_void_ptr_from_tensor, …_ptrs_from_tensors, and
/// alloc_tensor_by_stealing_from_void_ptr, …tensors…ptrs.
///
/// A handle that is never taken leaks its tensor: hence "unsafe". Taking a tensor twice from one
/// capsule raises a ValueError. Taking it from two capsules with the same pointer, or taking
/// anything but a tensor's handle from an unnamed capsule, goes undetected and may crash the
/// process.
inline void bind_pointers(py::module_& module) {
  module.def(
      "unsafe_alloc_void_ptr_from_tensor",
      [](const at::Tensor& tensor) { return detail::capsule_of(tensor); },
      "A capsule with the address of a new handle of the tensor, which leaks unless it is taken "
      "back.");
  module.def(
      "unsafe_alloc_void_ptrs_from_tensors",
      [](const std::vector<at::Tensor>& tensors) {
        py::list capsules;
        for (const at::Tensor& tensor : tensors) capsules.append(detail::capsule_of(tensor));
        return capsules;
      },
      "As unsafe_alloc_void_ptr_from_tensor, for each of a sequence.");
  module.def(
      "alloc_tensor_by_stealing_from_void_ptr",
      [](const py::object& capsule) { return detail::take(detail::mark_stolen(capsule)); },
      "The tensor of such a capsule, once: a ValueError if it was taken already, a TypeError for "
      "anything but a capsule.");
  module.def(
      "alloc_tensors_by_stealing_from_void_ptrs",
      [](const py::iterable& capsules) {
        const py::list list{capsules};
        std::vector<at::Tensor*> handles;
        try {
          for (const py::handle capsule : list) handles.push_back(detail::mark_stolen(capsule));
        } catch (...) {  // then none is taken
          for (std::size_t i = 0; i < handles.size(); ++i) {
            PyCapsule_SetContext(py::handle{list[i]}.ptr(), nullptr);
          }
          throw;
        }
        py::list tensors;
        for (at::Tensor* handle : handles) tensors.append(detail::take(handle));
        return tensors;
      },
      "As alloc_tensor_by_stealing_from_void_ptr, for each of an iterable; all or none.");
}

}  // namespace aoti::inline AOTI_ABI::python
