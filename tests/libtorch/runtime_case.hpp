// How the batteries make tensors on libtorch and read them.
#pragma once

#include <ATen/ATen.h>
#include <torch/version.h>

#include <aoti/runtime/libtorch.hpp>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/models.hpp"
#include "runtime/runtime_case.hpp"

namespace aoti_test {

/// For derived runtimes, too.
template <std::derived_from<aoti::Libtorch> Runtime> struct RuntimeCase<Runtime> {
  using Sizes = std::vector<std::int64_t>;

  static constexpr bool has_operators = true;

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

  static at::Tensor empty(const Sizes& sizes, aoti::DType dtype) {
    return at::empty(sizes, static_cast<at::ScalarType>(dtype));
  }
  template <class T> static at::Tensor view(T* data, const Sizes& sizes, const Sizes& strides) {
    return at::from_blob(data, sizes, strides, c10::CppTypeToScalarType<T>::value);
  }
  static std::size_t owners(const at::Tensor& tensor) { return tensor.use_count(); }

  /// For functions that only a later libtorch has.
  static bool needs_later_torch(const aoti::Error& error) {
    return error.code() == aoti::Errc::missing_import &&
           error.text().find("does not provide aoti_torch_") != std::string_view::npos &&
           !compiled_before(TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR + 1);
  }

  static std::string refused_product() {
    return aoti::Libtorch::import("torch_exception_get_what_without_backtrace") != nullptr
               ? "mat1 and mat2 shapes cannot be multiplied (4x63 and 64x32)"
               : "API call failed";
  }
};

}  // namespace aoti_test
