// SPDX-License-Identifier: BSD-3-Clause
// One call of a model, as the model sees it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "aoti/abi/handles.hpp"
#include "aoti/device/device.hpp"
#include "aoti/model/tensor.hpp"
#include "aoti/package/constants.hpp"

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

/// The tensors that a call of `run` or `fold` works on. It belongs to the thread that runs the
/// model, and lives until the call returns. Indices are those of the model's declarations and are
/// not checked.
class Call {
 public:
  /// An input, which the caller may still use: do not write to it unless that is agreed upon.
  const Tensor& input(std::size_t i) const noexcept { return inputs_[i]; }
  /// All its elements. @errors input_dtype, input_layout (not row-major)
  template <class T> Result<std::span<const T>> input(std::size_t i) const {
    return inputs_[i].template elements<const T>(input_names_[i]);
  }
  /// Takes an input over, to return it as an output or to free it early.
  Tensor take_input(std::size_t i) noexcept { return std::move(inputs_[i]); }

  /// Makes a row-major output, and returns its elements, which the model must set.
  /// @errors out_of_memory
  template <class T> Result<std::span<T>> output(std::size_t i, Sizes sizes) {
    AOTI_TRY(outputs_[i], Tensor::empty(dtype_of<T>, sizes, device_, index_));
    return std::span<T>{static_cast<T*>(outputs_[i].data()), outputs_[i].element_count()};
  }
  /// Returns a tensor as an output. Each output must be set, unless the call fails.
  void set_output(std::size_t i, Tensor&& tensor) noexcept { outputs_[i] = std::move(tensor); }

  /// A constant of the set that this call works on.
  const Tensor& constant(std::size_t i) const noexcept { return constants_[i]; }
  /// All its elements, of the declared type and shape. A buffer's may be changed by a run; the
  /// model then makes sure that concurrent runs do not interfere. Those of folded constants are
  /// set by `fold`. @errors input_dtype (T is not the declared type), input_layout
  template <class T> Result<std::span<T>> constant(std::size_t i) const {
    return constants_[i].template elements<T>(declared_[i].name);
  }

  /// The device to make tensors on.
  DeviceType device() const noexcept { return device_; }
  std::int32_t device_index() const noexcept { return index_; }
  /// Where the work is to be queued: a cudaStream_t, a sycl::queue*; null on the CPU, and for the
  /// device's default stream.
  void* stream() const noexcept { return stream_; }
  /// Runs operators of the host; null if the model was packaged without any.
  AOTIProxyExecutorHandle proxy_executor() const noexcept { return proxy_; }

  Call(std::span<Tensor> inputs, std::span<Tensor> outputs, const char* const* input_names,
       std::span<Tensor> constants, const Constant* declared, DeviceType device, std::int32_t index,
       AOTInductorStreamHandle stream, AOTIProxyExecutorHandle proxy) noexcept
      : inputs_{inputs.data()},
        outputs_{outputs.data()},
        constants_{constants.data()},
        input_names_{input_names},
        declared_{declared},
        device_{device},
        index_{index},
        stream_{stream},
        proxy_{proxy} {}

 private:
  Tensor* inputs_;
  Tensor* outputs_;
  const Tensor* constants_;
  const char* const* input_names_;
  const Constant* declared_;
  DeviceType device_;
  std::int32_t index_;
  void* stream_;
  AOTIProxyExecutorHandle proxy_;
};

}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
