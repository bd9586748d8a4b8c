// The tensor runtime on libtorch: at::Tensor in and out, without a copy of data.
#pragma once

#include <ATen/core/Tensor.h>
#include <dlfcn.h>

#include <new>
#include <utility>
#include <vector>

#include "aoti/runtime/runtime.hpp"

extern "C" AOTITorchError aoti_torch_delete_tensor_object(AtenTensorHandle tensor);

namespace aoti {

/// Models run on libtorch's functions, and tensors are at::Tensor. The program needs libtorch_cpu
/// and libc10, for CUDA models libtorch_cuda too; the empty libtorch.so need not be there.
struct Libtorch {
  using Tensor = at::Tensor;

  static bool is_defined(const at::Tensor& tensor) noexcept { return tensor.defined(); }
  static bool is_strided(const at::Tensor& tensor) noexcept {
    return tensor.layout() == at::kStrided && !tensor.is_nested();
  }
  static TensorView view(const at::Tensor& tensor) {
    const at::IntArrayRef sizes = tensor.sizes(), strides = tensor.strides();
    const at::Device device = tensor.device();
    return {static_cast<DType>(tensor.scalar_type()),
            static_cast<DeviceType>(device.type()),
            device.index(),
            {sizes.data(), sizes.size()},
            {strides.data(), strides.size()}};
  }

  // A handle is an at::Tensor* made by new: torch's shim deletes it so.
  static AtenTensorHandle share(const at::Tensor& tensor) {
    return reinterpret_cast<AtenTensorHandle>(new (std::nothrow) at::Tensor(tensor));
  }
  static AtenTensorHandle give(at::Tensor&& tensor) {
    return reinterpret_cast<AtenTensorHandle>(new (std::nothrow) at::Tensor(std::move(tensor)));
  }
  static at::Tensor take(AtenTensorHandle handle) noexcept {
    auto* owned = reinterpret_cast<at::Tensor*>(handle);
    at::Tensor tensor = std::move(*owned);
    delete owned;
    return tensor;
  }
  static const at::Tensor& peek(AtenTensorHandle handle) noexcept {
    return *reinterpret_cast<const at::Tensor*>(handle);
  }
  static void destroy(AtenTensorHandle handle) noexcept {
    delete reinterpret_cast<at::Tensor*>(handle);
  }

  static at::Tensor reordered(const at::Tensor& tensor, std::span<const int> order) {
    if (order.empty()) return tensor.contiguous();
    const std::vector<std::int64_t> outer(order.begin(), order.end());
    std::vector<std::int64_t> inverse(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      inverse[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
    }
    return tensor.permute(outer).contiguous().permute(inverse);
  }

  /// Looks among the process's global symbols, then in the libtorch that this code was linked to,
  /// which a plugin may hold privately.
  static void* import(const char* symbol) noexcept {
    if (void* address = ::dlsym(RTLD_DEFAULT, symbol)) return address;
    static void* const torch = [] {
      Dl_info info{};
      const auto inside = reinterpret_cast<const void*>(&aoti_torch_delete_tensor_object);
      return ::dladdr(inside, &info) != 0 ? ::dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD)
                                          : nullptr;
    }();
    return torch != nullptr ? ::dlsym(torch, symbol) : nullptr;
  }

  static std::string last_error() {
    using What = const char*();
    static const auto what =
        reinterpret_cast<What*>(import("torch_exception_get_what_without_backtrace"));
    const char* text = what != nullptr ? what() : nullptr;
    return text != nullptr ? text : "";
  }
};

static_assert(TensorRuntime<Libtorch>);

}  // namespace aoti
