// How the batteries make tensors on libtorch and look into them.
#pragma once

#include "libtorch/models.hpp"
#include "runtime/runtime_case.hpp"

namespace aoti_test {

template <> struct RuntimeCase<aoti::Libtorch> {
  template <class T>
  static at::Tensor make(const Sizes& sizes, const std::vector<T>& elements,
                         const Sizes& strides = {}) {
    at::Tensor rows = at::empty(sizes, c10::CppTypeToScalarType<T>::value);
    T* to = rows.data_ptr<T>();
    for (const T element : elements) *to++ = element;
    if (strides.empty()) return rows;
    at::Tensor tensor = at::empty_strided(sizes, strides, rows.scalar_type());
    return tensor.copy_(rows);
  }
  template <class T> static std::vector<T> elements(const at::Tensor& tensor) {
    const at::Tensor rows = tensor.contiguous();
    return std::vector<T>(rows.data_ptr<T>(), rows.data_ptr<T>() + rows.numel());
  }
  static const void* data(const at::Tensor& tensor) { return tensor.data_ptr(); }
};

}  // namespace aoti_test
