// How the batteries make tensors without libtorch and look into them.
#pragma once

#include <aoti/runtime/native.hpp>

#include "runtime/runtime_case.hpp"

namespace aoti_test {

template <class... Providers> struct RuntimeCase<aoti::NativeWith<Providers...>> {
  using Numbers = std::vector<std::int64_t>;

  template <class T>
  static aoti::Tensor make(const Numbers& sizes, const std::vector<T>& elements,
                           const Numbers& strides = {}) {
    const aoti::Tensor rows = aoti::Tensor::empty(aoti::dtype_of<T>, sizes).value();
    T* to = static_cast<T*>(rows.data());
    for (const T element : elements) *to++ = element;
    if (strides.empty()) return rows;
    aoti::Tensor tensor = aoti::Tensor::empty(aoti::dtype_of<T>, sizes, strides).value();
    aoti::detail::copy_elements(*aoti::detail::TensorAccess::body_of(tensor),
                                *aoti::detail::TensorAccess::body_of(rows));
    return tensor;
  }
  template <class T> static std::vector<T> elements(const aoti::Tensor& tensor) {
    const aoti::Tensor rows = tensor.clone().value();
    const std::span<T> span = rows.elements<T>().value();
    return std::vector<T>(span.begin(), span.end());
  }
  static const void* data(const aoti::Tensor& tensor) { return tensor.data(); }
};

}  // namespace aoti_test
