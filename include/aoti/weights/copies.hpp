// SPDX-License-Identifier: BSD-3-Clause
// Copies of tensors in the form in which a model keeps its weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "aoti/weights/access.hpp"

namespace aoti::inline AOTI_ABI::detail {

[[gnu::cold]] inline Error wrong_weight(Errc code, const Constant& constant, std::string text) {
  return {code, concat({"weight '", constant.fqn, "'"}), std::move(text)};
}

/// Makes copies for a runner's model. The caller owns the handles that it returns.
template <class Runner> struct WeightCopies {
  using Runtime = typename Runner::TensorRuntime;
  using Device = typename Runner::DevicePolicy;

  WeightsAccess<Runner> access;

  /// Where the model keeps a constant.
  static DeviceType place(const Constant& constant) {
    return constant.device == DeviceType::cpu ? DeviceType::cpu : Device::type;
  }

  /// A new tensor on the constant's device, laid out as the compiled code assumes.
  /// @errors constant_layout (the constant was expanded, and the tensor's elements differ along an
  ///         expanded dimension), unsupported, out_of_memory, model_failed
  Result<AtenTensorHandle> copied(const Constant& constant, AtenTensorHandle source) const {
    bool is_expanded = false;
    for (std::size_t d = 0; d < constant.shape.size(); ++d) {
      is_expanded |= constant.strides[d] == 0 && constant.shape[d] > 1;
    }
    auto copy = is_expanded ? expanded(constant, source) : plain(constant, source);
    if (copy) freeze<Runtime>(constant.may_be_packed, copy.value());
    return copy;
  }

  /// Whether two tensors of a constant's shape and dtype are equal, bit by bit.
  Result<bool> are_same(const Constant& constant, AtenTensorHandle a, AtenTensorHandle b) const {
    const auto& imports = abi::ImportTable<Runtime>::get();
    AOTI_TRYV(abi::expect(access.origin(), imports.get_data_ptr));
    Constant dense = constant;
    dense.strides = row_major_strides(constant.shape);
    dense.device = DeviceType::cpu;
    OwnedHandles<Runtime> copies{2};
    void* data[2] = {};
    for (const bool second : {false, true}) {
      AtenTensorHandle& copy = copies.handles[second];
      AOTI_TRY(copy, plain(dense, second ? b : a));
      if (imports.get_data_ptr(copy, &data[second]) != 0) {
        return wrong_weight(Errc::unsupported, constant, "the tensor runtime cannot copy tensors");
      }
    }
    const std::int64_t size = extent(dense.shape, dense.strides, dense.dtype);
    return size <= 0 || std::memcmp(data[0], data[1], static_cast<std::size_t>(size)) == 0;
  }

 private:
  Result<AtenTensorHandle> plain(const Constant& constant, AtenTensorHandle source) const {
    const auto& imports = abi::ImportTable<Runtime>::get();
    AOTI_TRYV(abi::expect(access.origin(), imports.empty_strided, imports.copy_));
    AtenTensorHandle handle = nullptr;
    const DeviceType device = place(constant);
    const int status = source == nullptr ||
                       imports.empty_strided(
                           static_cast<std::int64_t>(constant.shape.size()), constant.shape.data(),
                           constant.strides.data(), static_cast<std::int32_t>(constant.dtype),
                           static_cast<std::int32_t>(device),
                           device == DeviceType::cpu ? 0 : access.model().device.value, &handle);
    if (status == 0 && imports.copy_(handle, source, 0) == 0) {
      // A copy within the device is only queued so far.
      if (device == DeviceType::cpu || Runtime::device(Runtime::peek(source)) == DeviceType::cpu) {
        return handle;
      }
      auto done = access.wait_for_stream();
      if (done) return handle;
      Runtime::destroy(handle);
      return std::move(done).error();
    }
    const std::string reason = Runtime::last_error();
    if (handle != nullptr) Runtime::destroy(handle);
    const bool memory = status != 0 || tells_of_memory(reason);
    return wrong_weight(memory ? Errc::out_of_memory : Errc::model_failed, constant,
                        concat({"copying the tensor: ", reason}));
  }

  /// Of an expanded dimension, the compiled code reads only one element.
  Result<AtenTensorHandle> expanded(const Constant& constant, AtenTensorHandle source) const {
    const auto& imports = abi::ImportTable<Runtime>::get();
    const auto& view = imports._reinterpret_tensor;
    AOTI_TRYV(abi::expect(access.origin(), view, imports.get_storage_offset));
    if (source == nullptr) return Error{Errc::out_of_memory};
    Constant kept = constant;
    for (std::size_t d = 0; d < kept.shape.size(); ++d) {
      if (kept.strides[d] == 0) kept.shape[d] = kept.strides[d] = 1;
    }
    const auto rank = static_cast<std::int64_t>(kept.shape.size());
    const auto strides = Runtime::strides(Runtime::peek(source));
    std::int64_t offset = 0;
    OwnedHandles<Runtime> made{3};  // one element of the source, its copy, and the expanded copy
    if (imports.get_storage_offset(source, &offset) != 0 ||
        view(source, rank, kept.shape.data(), strides.data(), offset, &made.handles[0]) != 0) {
      return Error{Errc::out_of_memory};
    }
    auto copy = plain(kept, made.handles[0]);
    if (!copy) return copy;
    made.handles[1] = copy.value();
    if (view(copy.value(), rank, constant.shape.data(), constant.strides.data(), 0,
             &made.handles[2]) != 0) {
      return Error{Errc::out_of_memory};
    }
    AOTI_TRY(const bool same, are_same(constant, made.handles[2], source));
    if (same) return std::exchange(made.handles[2], nullptr);
    return wrong_weight(Errc::constant_layout, constant,
                        "it was expanded when the model was compiled, but the tensor's elements "
                        "differ along an expanded dimension");
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
