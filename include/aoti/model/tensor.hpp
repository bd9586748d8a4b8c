// SPDX-License-Identifier: BSD-3-Clause
// Tensors as a model sees them, on whatever runtime its host has.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "aoti/abi/types.hpp"
#include "aoti/model/imports.hpp"
#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

/// Sizes or strides, in elements.
using Sizes = std::span<const std::int64_t>;

/// The most dimensions of a tensor that this side of the boundary makes or declares.
inline constexpr std::size_t max_rank = 8;

namespace detail {

/// The strides of a row-major tensor.
struct RowMajor {
  std::array<std::int64_t, max_rank> strides{};

  constexpr explicit RowMajor(Sizes sizes) noexcept {
    std::int64_t step = 1;
    for (std::size_t d = sizes.size(); d-- > 0; step *= sizes[d] > 0 ? sizes[d] : 1) {
      strides[d] = step;
    }
  }
};

[[gnu::cold]] inline Error import_failed(const char* symbol, std::string about) {
  return {Errc::model_failed, symbol, std::move(about) + ": the host's function failed"};
}

}  // namespace detail

/// Owns a tensor handle, or is empty. Accessors of an empty tensor must not be called. Wraps the
/// functions aoti_torch_get_…; none of them allocates.
class Tensor {
 public:
  Tensor() noexcept = default;
  /// Takes the handle over.
  explicit Tensor(AtenTensorHandle handle) noexcept : handle_{handle} {}
  Tensor(Tensor&& other) noexcept : handle_{std::exchange(other.handle_, nullptr)} {}
  Tensor& operator=(Tensor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Tensor() {
    if (handle_ != nullptr) aoti_torch_delete_tensor_object(handle_);
  }

  /// A new tensor, uninitialised. Wraps aoti_torch_empty_strided.
  /// @param strides empty for row-major ones
  /// @errors out_of_memory, invalid_argument (row-major, with more than 8 dimensions)
  static Result<Tensor> empty(DType dtype, Sizes sizes, DeviceType device = DeviceType::cpu,
                              std::int32_t index = 0, Sizes strides = {}) {
    if (strides.empty() && sizes.size() > max_rank) {
      return Error{Errc::invalid_argument, "model::Tensor::empty",
                   aoti::detail::concat(
                       {"found ", sizes.size(), " dimensions, expected at most ", max_rank})};
    }
    const detail::RowMajor row_major{strides.empty() ? sizes : Sizes{}};
    const std::int64_t* const steps = strides.empty() ? row_major.strides.data() : strides.data();
    AtenTensorHandle handle = nullptr;
    if (aoti_torch_empty_strided(static_cast<std::int64_t>(sizes.size()), sizes.data(), steps,
                                 static_cast<std::int32_t>(dtype),
                                 static_cast<std::int32_t>(device), index, &handle) != 0)
        [[unlikely]] {
      return Error{Errc::out_of_memory, "aoti_torch_empty_strided",
                   aoti::detail::concat({"making a tensor of sizes [", aoti::detail::join(sizes),
                                         "] and dtype ", to_string(dtype)})};
    }
    return Tensor{handle};
  }

  /// A tensor in memory that must outlive it. Wraps aoti_torch_create_tensor_from_blob.
  /// @errors model_failed
  static Result<Tensor> borrow(DType dtype, void* data, Sizes sizes, Sizes strides,
                               DeviceType device = DeviceType::cpu, std::int32_t index = 0) {
    AtenTensorHandle handle = nullptr;
    if (aoti_torch_create_tensor_from_blob(
            data, static_cast<std::int64_t>(sizes.size()), sizes.data(), strides.data(), 0,
            static_cast<std::int32_t>(dtype), static_cast<std::int32_t>(device), index,
            &handle) != 0) {
      return detail::import_failed("aoti_torch_create_tensor_from_blob", "making a tensor");
    }
    return Tensor{handle};
  }

  explicit operator bool() const noexcept { return handle_ != nullptr; }
  AtenTensorHandle handle() const noexcept { return handle_; }
  AtenTensorHandle release() noexcept { return std::exchange(handle_, nullptr); }

  /// Another handle to the same tensor. Wraps aoti_torch_new_tensor_handle. @errors model_failed
  Result<Tensor> share() const {
    AtenTensorHandle handle = nullptr;
    if (aoti_torch_new_tensor_handle(handle_, &handle) != 0) {
      return detail::import_failed("aoti_torch_new_tensor_handle", "sharing a tensor");
    }
    return Tensor{handle};
  }

  /// Copies the elements of a tensor of the same sizes, whatever its strides. Wraps
  /// aoti_torch_copy_. @errors model_failed
  Result<void> copy_from(const Tensor& source) {
    if (aoti_torch_copy_(handle_, source.handle_, 0) != 0) {
      return detail::import_failed("aoti_torch_copy_", "copying a tensor");
    }
    return success();
  }

  DType dtype() const noexcept {
    std::int32_t number = -1;
    aoti_torch_get_dtype(handle_, &number);
    return static_cast<DType>(number);
  }
  DeviceType device() const noexcept {
    std::int32_t number = -1;
    aoti_torch_get_device_type(handle_, &number);
    return static_cast<DeviceType>(number);
  }
  std::size_t rank() const noexcept {
    std::int64_t rank = 0;
    aoti_torch_get_dim(handle_, &rank);
    return static_cast<std::size_t>(rank);
  }
  /// The views are valid until the tensor is changed or destroyed.
  Sizes sizes() const noexcept {
    std::int64_t* sizes = nullptr;
    aoti_torch_get_sizes(handle_, &sizes);
    return {sizes, sizes != nullptr ? rank() : 0};
  }
  Sizes strides() const noexcept {
    std::int64_t* strides = nullptr;
    aoti_torch_get_strides(handle_, &strides);
    return {strides, strides != nullptr ? rank() : 0};
  }
  std::size_t element_count() const noexcept {
    std::int64_t count = 0;
    aoti_torch_get_numel(handle_, &count);
    return static_cast<std::size_t>(count);
  }
  bool is_row_major() const noexcept {
    const Sizes all = sizes(), steps = strides();
    if (element_count() == 0) return true;
    std::int64_t step = 1;
    for (std::size_t d = all.size(); d-- > 0; step *= all[d]) {
      if (all[d] != 1 && steps[d] != step) return false;
    }
    return true;
  }
  /// The first element.
  void* data() const noexcept {
    void* data = nullptr;
    aoti_torch_get_data_ptr(handle_, &data);
    return data;
  }

  /// All elements of a row-major tensor of that type, in memory of the tensor.
  /// @param name the tensor's, in errors
  /// @errors input_dtype, input_layout (not row-major)
  template <class T> Result<std::span<T>> elements(std::string_view name = "a tensor") const {
    constexpr DType expected = dtype_of<std::remove_const_t<T>>;
    if (const DType found = dtype(); found != expected) [[unlikely]] {
      return Error{
          Errc::input_dtype, std::string{name},
          aoti::detail::concat({"found ", to_string(found), ", expected ", to_string(expected)})};
    }
    if (!is_row_major()) [[unlikely]] {
      return Error{Errc::input_layout, std::string{name},
                   aoti::detail::concat({"found the strides [", aoti::detail::join(strides()),
                                         "] of the sizes [", aoti::detail::join(sizes()),
                                         "], expected a row-major tensor; call contiguous() on "
                                         "it"})};
    }
    return std::span<T>{static_cast<T*>(data()), element_count()};
  }

 private:
  AtenTensorHandle handle_ = nullptr;
};

}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
