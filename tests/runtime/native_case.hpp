// How the batteries make tensors without libtorch and read them.
#pragma once

#include <aoti/runtime/native.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/runtime_case.hpp"

namespace aoti_test {

template <class... Providers> struct RuntimeCase<aoti::NativeWith<Providers...>> {
  using Numbers = std::vector<std::int64_t>;

  static constexpr bool has_operators = sizeof...(Providers) != 0;

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

  static aoti::Tensor empty(const Numbers& sizes, aoti::DType dtype) {
    return aoti::Tensor::empty(dtype, sizes).value();
  }
  template <class T>
  static aoti::Tensor view(T* data, const Numbers& sizes, const Numbers& strides) {
    return aoti::Tensor::borrow(aoti::dtype_of<T>, data, sizes, strides).value();
  }
  static std::size_t owners(const aoti::Tensor& tensor) {
    const aoti::detail::TensorBody* body = aoti::detail::TensorAccess::body_of(tensor);
    return body->references.load() + body->storage->references.load() - 1;
  }
  static bool needs_later_torch(const aoti::Error&) { return false; }
  static std::string refused_product() { return "addmm_out: the sizes do not match"; }
};

}  // namespace aoti_test
