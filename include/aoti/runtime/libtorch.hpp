// SPDX-License-Identifier: BSD-3-Clause
// The tensor runtime on libtorch: at::Tensor in and out, without a copy of data.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <dlfcn.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "aoti/error.hpp"
#include "aoti/runtime/libtorch/state.hpp"
#include "aoti/runtime/runtime.hpp"

extern "C" AOTITorchError aoti_torch_delete_tensor_object(AtenTensorHandle tensor);

namespace aoti::inline AOTI_ABI {

/// Models run on libtorch's functions, and tensors are at::Tensor. The program needs libtorch_cpu
/// and libc10, and for CUDA models libtorch_cuda; it does not need the empty libtorch.so.
struct Libtorch {
  using Tensor = at::Tensor;

  /// Runs never record gradients. In inference mode their outputs are inference tensors, like those
  /// of torch's functions.
  class Running {
   public:
    [[gnu::always_inline]] Running() {
      if (detail::dispatches_otherwise() && !detail::only_leaves_autograd_out()) [[unlikely]]
        defaults_.emplace();
    }

   private:
    std::optional<detail::TorchDefaults> defaults_;
  };
  using Preparing = detail::TorchDefaults;

  [[gnu::always_inline]] static bool is_defined(const at::Tensor& tensor) noexcept {
    return tensor.defined();
  }
  [[gnu::always_inline]] static bool is_strided(const at::Tensor& tensor) noexcept {
    return has_key(tensor, c10::DispatchKey::Dense);
  }
  [[gnu::always_inline]] static bool is_strided_on(const at::Tensor& tensor, DeviceType type) {
    if (type == DeviceType::cpu) [[likely]]
      return has_key(tensor, c10::DispatchKey::CPU);
    return is_strided(tensor) && device(tensor) == type;
  }
  [[gnu::cold]] static std::string describe_layout(const at::Tensor& tensor) {
    const auto expected = [](const char* found, const char* way_out) {
      return detail::concat({"found a ", found, " tensor, expected a plain strided one, such as ",
                             way_out, " returns"});
    };
    if (tensor.is_conj() && tensor.is_neg()) {
      return expected("lazily conjugated and negated", ".resolve_conj().resolve_neg()");
    }
    if (tensor.is_conj()) return expected("lazily conjugated", ".resolve_conj()");
    if (tensor.is_neg()) return expected("lazily negated", ".resolve_neg()");
    if (tensor._is_zerotensor()) return expected("memoryless zero", ".contiguous()");
    if (tensor.is_nested()) return expected("nested", ".to_padded_tensor(0)");
    if (tensor.is_quantized()) return expected("quantized", ".dequantize()");
    if (tensor.is_mkldnn()) return expected("oneDNN", ".to_dense()");
    if (tensor.layout() != at::kStrided) return expected("sparse", ".to_dense()");
    return "found a tensor without memory of its own, expected a plain strided one";
  }
  [[gnu::always_inline]] static DType dtype(const at::Tensor& tensor) {
    return static_cast<DType>(tensor.scalar_type());
  }
  static DeviceType device(const at::Tensor& tensor) {
    return static_cast<DeviceType>(tensor.device().type());
  }
  static int device_index(const at::Tensor& tensor) { return tensor.device().index(); }
  [[gnu::always_inline]] static std::span<const std::int64_t> sizes(const at::Tensor& tensor) {
    return {tensor.sizes().data(), tensor.sizes().size()};
  }
  static std::span<const std::int64_t> strides(const at::Tensor& tensor) {
    return {tensor.strides().data(), tensor.strides().size()};
  }
  [[gnu::always_inline]] static bool is_row_major(const at::Tensor& tensor) {
    return tensor.is_contiguous();
  }

  static const void* data(const at::Tensor& tensor) { return tensor.const_data_ptr(); }

  /// The same memory without its autograd state, which a copy would inherit.
  static at::Tensor detached(const at::Tensor& tensor) { return tensor.variable_data(); }

  /// The tensor; or, if only inference mode may write to it, another tensor on the same memory.
  static at::Tensor writable(const at::Tensor& tensor) {
    if (!tensor.is_inference()) return tensor;
    const c10::TensorImpl& from = *tensor.unsafeGetTensorImpl();
    auto made = at::detail::make_tensor<c10::TensorImpl>(c10::Storage{from.storage()},
                                                         from.key_set(), from.dtype());
    made.unsafeGetTensorImpl()->set_sizes_and_strides(from.sizes(), from.strides(),
                                                      from.storage_offset());
    return made;
  }

  // A handle is an at::Tensor* made by new: torch's shim deletes it that way.
  [[gnu::always_inline]] static AtenTensorHandle share(const at::Tensor& tensor) {
    return reinterpret_cast<AtenTensorHandle>(new at::Tensor(tensor));
  }
  [[gnu::always_inline]] static AtenTensorHandle give(at::Tensor&& tensor) {
    return reinterpret_cast<AtenTensorHandle>(new at::Tensor(std::move(tensor)));
  }
  [[gnu::always_inline]] static at::Tensor take(AtenTensorHandle handle) noexcept {
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

  static bool owns_memory(const at::Tensor& tensor) {
    return !tensor.has_storage() || tensor.storage().data_ptr().get_context() != nullptr ||
           tensor.storage().data() == nullptr;
  }
  static AtenTensorHandle adopt(DType dtype, void* data, std::span<const std::int64_t> sizes,
                                std::span<const std::int64_t> strides, void (*release)(void*),
                                void* context) {
    return give(at::for_blob(data, at::IntArrayRef{sizes.data(), sizes.size()})
                    .strides(at::IntArrayRef{strides.data(), strides.size()})
                    .context(context, release)
                    .options(at::TensorOptions{static_cast<at::ScalarType>(dtype)})
                    .make_tensor());
  }

  static at::Tensor reordered(const at::Tensor& tensor, std::span<const int> order) {
    const Preparing preparing;
    if (order.empty()) return tensor.clone(at::MemoryFormat::Contiguous);
    std::array<std::int64_t, 64> outer, inverse;  // torch's limit of dimensions
    for (std::size_t i = 0; i < order.size(); ++i) {
      outer[i] = order[i];
      inverse[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
    }
    return tensor.permute({outer.data(), order.size()})
        .clone(at::MemoryFormat::Contiguous)
        .permute({inverse.data(), order.size()});
  }

  /// Looks among the process's global symbols, then in the libtorch that this code was linked to,
  /// which may be private to a plugin.
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

 private:
  /// Torch's dispatch keys tell in one load what a tensor is: a sparse, quantized, nested or
  /// undefined tensor lacks the key Dense, and on the CPU Dense is called CPU. The memory of a
  /// lazily conjugated or negated tensor does not hold its values.
  [[gnu::always_inline]] static bool has_key(const at::Tensor& tensor,
                                             c10::DispatchKey key) noexcept {
    constexpr c10::DispatchKeySet lazy{c10::DispatchKey::Conjugate, c10::DispatchKey::Negative,
                                       c10::DispatchKey::ZeroTensor};
    const c10::DispatchKeySet wanted{key};
    return (tensor.key_set() & (wanted | lazy)) == wanted;
  }
};

static_assert(TensorRuntime<Libtorch>);

}  // namespace aoti::inline AOTI_ABI
