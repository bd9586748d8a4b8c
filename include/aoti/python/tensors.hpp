// SPDX-License-Identifier: BSD-3-Clause
// Converts between Python's and C++'s torch tensors, without a copy.
#pragma once

#include <ATen/EmptyTensor.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include <array>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "aoti/python/errors.hpp"

namespace aoti::inline AOTI_ABI::python {

/// Whether a tensor's storage is smaller than the tensor, as after
/// `tensor.untyped_storage().resize_(0)`, which frees its memory.
inline bool is_freed(const at::Tensor& tensor) {
  if (!tensor.has_storage() || tensor.is_nested() || tensor.numel() == 0) return false;
  const auto offset = static_cast<std::size_t>(tensor.storage_offset());
  const std::size_t needed =
      tensor.is_contiguous()
          ? (offset + static_cast<std::size_t>(tensor.numel())) * tensor.itemsize()
          : at::detail::computeStorageNbytes(tensor.sizes(), tensor.strides(), tensor.itemsize(),
                                             offset);
  return tensor.storage().nbytes() < needed;
}

/// Why a tensor's memory cannot be read: it was freed, or there is none, as with fake tensors. Null
/// if it can be read.
inline const char* unreadable(const at::Tensor& tensor) {
  if (tensor.key_set().has(c10::DispatchKey::Python)) [[unlikely]]
    return "it is a tensor of a class in Python that has no memory of its own";
  if (tensor.key_set().has_any(c10::functorch_transforms_ks)) [[unlikely]]
    return "it stands for others inside vmap, grad or jvp, which cannot look into a compiled model";
  if (is_freed(tensor)) [[unlikely]]
    return "its memory was freed: its storage is smaller than the tensor";
  return nullptr;
}

/// The tensor in a Python object, or a tensor on the memory of an object with __dlpack__.
/// @param what the object's name in the TypeError for anything else, and in the InputError for a
///        tensor without memory
inline at::Tensor tensor_of(py::handle object, const char* what, std::size_t index) {
  if (THPVariable_Check(object.ptr())) [[likely]] {
    const at::Tensor& tensor = THPVariable_Unpack(object.ptr());
    if (const char* why = unreadable(tensor)) [[unlikely]] {
      raise(Error{Errc::undefined_tensor, detail::concat({what, " ", index}), why});
    }
    return tensor;
  }
  if (py::hasattr(object, "__dlpack__")) {
    try {
      const py::object tensor = py::module_::import("torch").attr("from_dlpack")(object);
      return THPVariable_Unpack(tensor.ptr());
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_Exception)) throw;
      py::raise_from(
          error, PyExc_TypeError,
          detail::concat({what, " ", index, ": no tensor can be made in the memory of a ",
                          Py_TYPE(object.ptr())->tp_name})
              .c_str());
      throw py::error_already_set{};
    }
  }
  throw py::type_error(
      detail::concat({what, " ", index, ": expected a tensor, or an object with __dlpack__; found ",
                      Py_TYPE(object.ptr())->tp_name}));
}

/// A number of tensors, stored in place if they are few.
class TensorBuffer {
 public:
  explicit TensorBuffer(std::size_t size) : size_{size}, many_(size > few ? size : 0) {}

  std::span<at::Tensor> tensors() noexcept {
    return {size_ > few ? many_.data() : few_.data(), size_};
  }

 private:
  static constexpr std::size_t few = 8;

  std::size_t size_;
  std::array<at::Tensor, few> few_;
  std::vector<at::Tensor> many_;
};

/// As tensor_of, for each of a sequence. A TypeError if it is a tensor, whose items would be its
/// rows.
inline TensorBuffer tensors_of(py::handle sequence, const char* what) {
  if (!PyList_Check(sequence.ptr()) && !PyTuple_Check(sequence.ptr()) &&
      py::hasattr(sequence, "__dlpack__")) {
    throw py::type_error(detail::concat(
        {"expected a sequence of tensors; found a ", Py_TYPE(sequence.ptr())->tp_name}));
  }
  auto items = py::reinterpret_steal<py::object>(
      PySequence_Fast(sequence.ptr(), "expected a sequence of tensors"));
  if (!items) throw py::error_already_set{};
  const auto at = [&](std::size_t i) { return PySequence_Fast_ITEMS(items.ptr())[i]; };
  const auto size = static_cast<std::size_t>(PySequence_Fast_GET_SIZE(items.ptr()));
  for (std::size_t i = 0; i < size; ++i) {
    if (THPVariable_Check(at(i))) continue;
    // Python code will run, which may change the list.
    items = py::reinterpret_steal<py::object>(PySequence_Tuple(items.ptr()));
    if (!items) throw py::error_already_set{};
    break;
  }
  TensorBuffer buffer{static_cast<std::size_t>(PySequence_Fast_GET_SIZE(items.ptr()))};
  for (std::size_t i = 0; i < buffer.tensors().size(); ++i) {
    buffer.tensors()[i] = tensor_of(at(i), what, i);
  }
  return buffer;
}

/// As above; a TypeError if one of `mutated` is memory that must not be written to, such as that of
/// a read-only numpy array.
inline TensorBuffer tensors_of(py::handle sequence, const char* what,
                               std::span<const std::size_t> mutated) {
  for (const std::size_t i : mutated) {
    const auto item = py::reinterpret_steal<py::object>(
        PySequence_GetItem(sequence.ptr(), static_cast<Py_ssize_t>(i)));
    if (!item) PyErr_Clear();  // reported below
    if (!item || THPVariable_Check(item.ptr()) || !py::hasattr(item, "flags")) continue;
    if (py::bool_(py::getattr(item.attr("flags"), "writeable", py::bool_(true)))) continue;
    throw py::type_error(detail::concat({what, " ", i, ": the model writes to it; found a ",
                                         Py_TYPE(item.ptr())->tp_name, " that is not writeable"}));
  }
  return tensors_of(sequence, what);
}

/// A Python tensor; None for an undefined one.
inline py::object object_of(at::Tensor tensor) {
  return py::reinterpret_steal<py::object>(THPVariable_Wrap(std::move(tensor)));
}

/// A list or a tuple of Python tensors.
template <class Sequence> Sequence sequence_of(std::span<at::Tensor> tensors) {
  Sequence sequence{tensors.size()};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    PyObject* const item = object_of(std::move(tensors[i])).release().ptr();
    if constexpr (std::is_same_v<Sequence, py::list>) {
      PyList_SET_ITEM(sequence.ptr(), static_cast<Py_ssize_t>(i), item);
    } else {
      PyTuple_SET_ITEM(sequence.ptr(), static_cast<Py_ssize_t>(i), item);
    }
  }
  return sequence;
}

}  // namespace aoti::inline AOTI_ABI::python
