// SPDX-License-Identifier: BSD-3-Clause
// The functions that models import, without libtorch: all except operators.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "aoti/abi/imports.hpp"
#include "aoti/runtime/native/tensor_copy.hpp"
#include "aoti/runtime/tensor.hpp"

namespace aoti::inline AOTI_ABI {

/// A model's imports on aoti::Tensor. Each function of the C shim has the name of its row in
/// abi/imports.inc, and does the same as torch's function, for strided tensors on the CPU.
struct NativeFunctions {
  using Handle = AtenTensorHandle;
  using Code = AOTITorchError;

  /// The return value of an imported function that failed. Both texts are string literals;
  /// last_error() joins them.
  [[gnu::cold]] static Code fail(const char* function, const char* reason) noexcept {
    detail::run_state.failed_function = function;
    detail::run_state.failure = reason;
    return 1;
  }

  /// Why such a function last failed on this thread since it began to run a model, or an empty
  /// text; clears the reason.
  static std::string last_error() {
    detail::RunState& state = detail::run_state;
    if (state.failure == nullptr) return {};
    return detail::concat({state.failed_function, ": ", std::exchange(state.failure, nullptr)});
  }

  template <auto value> static std::int32_t number() noexcept {
    return static_cast<std::int32_t>(value);
  }

  static std::size_t dtype_element_size(std::int32_t dtype) noexcept {
    return element_size(static_cast<DType>(dtype));
  }

  // There are no gradients.
  static bool grad_mode_is_enabled() noexcept { return false; }
  static void grad_mode_set_enabled(bool) noexcept {}

  static Code empty_strided(std::int64_t rank, const std::int64_t* sizes,
                            const std::int64_t* strides, std::int32_t dtype, std::int32_t device,
                            std::int32_t, Handle* out) noexcept {
    constexpr const char* name = abi::imported::empty_strided::symbol;
    if (const char* wrong = refused(rank, device)) [[unlikely]]
      return fail(name, wrong);
    const char* reason = nullptr;
    return give(name, reason,
                Body::make_result(static_cast<std::size_t>(rank), sizes, strides,
                                  static_cast<DType>(dtype), reason),
                out);
  }

  static Code create_tensor_from_blob(void* data, std::int64_t rank, const std::int64_t* sizes,
                                      const std::int64_t* strides, std::int64_t offset,
                                      std::int32_t dtype, std::int32_t device, std::int32_t,
                                      Handle* out) noexcept {
    constexpr const char* name = abi::imported::create_tensor_from_blob::symbol;
    if (const char* wrong = refused(rank, device)) return fail(name, wrong);
    const char* reason = nullptr;
    return give(name, reason,
                Body::make_using(data, static_cast<std::size_t>(rank), sizes, strides, offset,
                                 static_cast<DType>(dtype), nullptr, nullptr, reason),
                out);
  }

  static Code create_tensor_from_blob_v2(void* data, std::int64_t rank, const std::int64_t* sizes,
                                         const std::int64_t* strides, std::int64_t offset,
                                         std::int32_t dtype, std::int32_t device,
                                         std::int32_t index, Handle* out, std::int32_t layout,
                                         const std::uint8_t*, std::int64_t) noexcept {
    if (layout != strided) {
      return fail(abi::imported::create_tensor_from_blob_v2::symbol,
                  "the weights are packed for the oneDNN inside torch; compile the model with "
                  "Inductor's option cpp.weight_prepack off");
    }
    return create_tensor_from_blob(data, rank, sizes, strides, offset, dtype, device, index, out);
  }

  static Code new_uninitialized_tensor(Handle* out) noexcept {
    return give(abi::imported::new_uninitialized_tensor::symbol, Body::no_memory,
                Body::make_undefined(), out);
  }

  static Code new_tensor_handle(Handle from, Handle* out) noexcept {
    return give(abi::imported::new_tensor_handle::symbol, Body::no_memory, Body::of(from)->share(),
                out);
  }

  static Code delete_tensor_object(Handle handle) noexcept {
    Body::of(handle)->drop();
    return 0;
  }

  static Code _reinterpret_tensor(Handle self, std::int64_t rank, const std::int64_t* sizes,
                                  const std::int64_t* strides, std::int64_t added_offset,
                                  Handle* out) noexcept {
    const Body& from = *Body::of(self);
    std::int64_t offset = 0;
    if (__builtin_add_overflow(from.offset, added_offset, &offset)) offset = -1;  // refused
    return view(abi::imported::_reinterpret_tensor::symbol, from, rank, sizes, strides, from.dtype,
                offset, out);
  }

  static Code _alloc_from_pool(Handle self, std::int64_t offset_bytes, std::int32_t dtype,
                               std::int64_t rank, const std::int64_t* sizes,
                               const std::int64_t* strides, Handle* out) noexcept {
    constexpr const char* name = abi::imported::_alloc_from_pool::symbol;
    const auto size = static_cast<std::int64_t>(element_size(static_cast<DType>(dtype)));
    if (size == 0 || offset_bytes % size != 0) {
      return fail(name, "the offset is not a multiple of the element's size");
    }
    return view(name, *Body::of(self), rank, sizes, strides, static_cast<DType>(dtype),
                offset_bytes / size, out);
  }

  static Code as_strided(Handle self, const std::int64_t* sizes, const std::int64_t* strides,
                         Handle* out) noexcept {
    const Body& from = *Body::of(self);
    return view(abi::imported::as_strided::symbol, from, from.rank, sizes, strides, from.dtype,
                from.offset, out);
  }

  static Code clone(Handle self, Handle* out) noexcept {
    std::int64_t strides[Tensor::max_rank];
    detail::dense_strides(*Body::of(self), strides);
    return copied(abi::imported::clone::symbol, *Body::of(self), strides, out);
  }

  static Code clone_preserve_strides(Handle self, Handle* out) noexcept {
    return copied(abi::imported::clone_preserve_strides::symbol, *Body::of(self),
                  Body::of(self)->strides(), out);
  }

  static Code assign_tensors(Handle from, Handle to) noexcept {
    if (Body::of(to)->assign(*Body::of(from))) return 0;
    return fail(abi::imported::assign_tensors::symbol,
                "the target has fewer dimensions, or is an input");
  }

  static Code assign_tensors_out(Handle from, Handle* out) noexcept {
    return give(abi::imported::assign_tensors_out::symbol, Body::no_memory, Body::of(from)->share(),
                out);
  }

  static Code copy_(Handle to, Handle from, std::int32_t) noexcept {
    const char* wrong = detail::copy_elements(*Body::of(to), *Body::of(from));
    return wrong == nullptr ? 0 : fail(abi::imported::copy_::symbol, wrong);
  }

  static Code tensor_copy_(Handle from, Handle to) noexcept { return copy_(to, from, 0); }

  static Code zero_(Handle handle) noexcept {
    const Body& body = *Body::of(handle);
    const std::size_t size = element_size(body.dtype);  // in all types, zero has only zero bits
    if (body.row_major) {
      const std::size_t bytes = static_cast<std::size_t>(body.count) * size;
      if (bytes > 0) std::memset(body.data, 0, bytes);
      return 0;
    }
    detail::walk_rows(body, [size](std::byte* at, std::int64_t count, std::int64_t step) {
      for (; count > 0; --count, at += step) std::memset(at, 0, size);
    });
    return 0;
  }

  static Code get_data_ptr(Handle handle, void** out) noexcept {
    *out = Body::of(handle)->data;
    return 0;
  }
  static Code get_sizes(Handle handle, std::int64_t** out) noexcept {
    *out = Body::of(handle)->sizes();
    return 0;
  }
  static Code get_strides(Handle handle, std::int64_t** out) noexcept {
    *out = Body::of(handle)->strides();
    return 0;
  }
  static Code get_size(Handle handle, std::int64_t dimension, std::int64_t* out) noexcept {
    return get_one(abi::imported::get_size::symbol, Body::of(handle), Body::of(handle)->sizes(),
                   dimension, out);
  }
  static Code get_stride(Handle handle, std::int64_t dimension, std::int64_t* out) noexcept {
    return get_one(abi::imported::get_stride::symbol, Body::of(handle), Body::of(handle)->strides(),
                   dimension, out);
  }
  static Code get_dim(Handle handle, std::int64_t* out) noexcept {
    *out = Body::of(handle)->rank;
    return 0;
  }
  static Code get_numel(Handle handle, std::int64_t* out) noexcept {
    *out = Body::of(handle)->count;
    return 0;
  }
  static Code get_dtype(Handle handle, std::int32_t* out) noexcept {
    *out = static_cast<std::int32_t>(Body::of(handle)->dtype);
    return 0;
  }
  static Code get_device_type(Handle, std::int32_t* out) noexcept {
    *out = static_cast<std::int32_t>(DeviceType::cpu);
    return 0;
  }
  static Code get_device_index(Handle, std::int32_t* out) noexcept {
    *out = -1;  // torch's index for the CPU
    return 0;
  }
  static Code get_layout(Handle, std::int32_t* out) noexcept {
    *out = strided;
    return 0;
  }
  static Code get_storage_size(Handle handle, std::int64_t* out) noexcept {
    const Body* body = Body::of(handle);
    *out = body->storage != nullptr ? body->storage->bytes : 0;
    return 0;
  }
  static Code get_storage_numel(Handle handle, std::int64_t* out) noexcept {
    get_storage_size(handle, out);
    *out /= static_cast<std::int64_t>(element_size(Body::of(handle)->dtype));
    return 0;
  }
  static Code get_storage_offset(Handle handle, std::int64_t* out) noexcept {
    *out = Body::of(handle)->offset;
    return 0;
  }
  static Code is_contiguous(Handle handle, bool* out) noexcept {
    *out = Body::of(handle)->row_major;
    return 0;
  }
  static Code is_defined(Handle handle, bool* out) noexcept {
    *out = Body::of(handle)->storage != nullptr;
    return 0;
  }

  template <class Import, DType dtype, class T> static Code item(Handle handle, T* out) noexcept {
    const Body& body = *Body::of(handle);
    if (body.count != 1 || !detail::is_convertible(body.dtype)) {
      return fail(Import::symbol, "the tensor does not have exactly one element");
    }
    const detail::Number number = detail::read_number(body.dtype, body.data);
    if (!detail::fits(dtype, number)) {
      return fail(Import::symbol, "the number cannot be converted to that type without overflow");
    }
    detail::write_number(dtype, out, number);
    return 0;
  }

  template <class Import, DType dtype, class T> static Code scalar(T value, Handle* out) noexcept {
    const char* reason = nullptr;
    Body* body = Body::make_owning(0, nullptr, nullptr, dtype, reason);
    if (body != nullptr) std::memcpy(body->data, &value, sizeof value);
    return give(Import::symbol, reason, body, out);
  }

  /// Throws if the condition is false: models catch it at their own boundary.
  static void check(bool condition, const char* function, const char*, std::uint32_t,
                    const char* message) {
    if (condition) [[likely]]
      return;
    fail(abi::imported::check::symbol, "a check of the model failed");
    const char* text = message != nullptr ? message : function;
#if defined(__cpp_exceptions)
    throw std::runtime_error{text};
#elif defined(__GLIBCXX__)
    std::__throw_runtime_error(text);
#else
    static_cast<void>(text);
    std::terminate();
#endif
  }
  /// Warnings of models are not printed.
  static void warn(const char*, const char*, std::uint32_t, const char*) noexcept {}

  static Code check_inf_and_nan(const char*, Handle handle) noexcept {
    const Body& body = *Body::of(handle);
    bool finite = true;
    detail::walk_rows(body, [&](const std::byte* at, std::int64_t count, std::int64_t step) {
      for (; count > 0; --count, at += step) {
        const detail::Number number = detail::read_number(body.dtype, at);
        finite &= std::isfinite(number.floating) && std::isfinite(number.imaginary);
      }
    });
    return finite ? 0
                  : fail(abi::imported::check_inf_and_nan::symbol,
                         "an element is infinite or not a number");
  }

  /// The model's `new T[n]` and `delete[]`, always paired within it: generated kernels allocate
  /// their scratch memory this way, in each run.
  static void* new_array(std::size_t bytes) {
    void* memory = new_array_nothrow(bytes, std::nothrow);
    if (memory == nullptr) [[unlikely]]
      throw_bad_alloc();
    return memory;
  }
  static void* new_array_nothrow(std::size_t bytes, const std::nothrow_t&) noexcept {
    if (bytes > detail::Pool::largest) return nullptr;
    detail::Block* block = detail::Pool::allocate(bytes + scratch_front);
    return block != nullptr ? reinterpret_cast<std::byte*>(block) + scratch_front : nullptr;
  }
  static void delete_array(void* memory) noexcept {
    if (memory == nullptr) return;
    detail::Pool::free(
        reinterpret_cast<detail::Block*>(static_cast<std::byte*>(memory) - scratch_front));
  }
  static void delete_sized_array(void* memory, std::size_t) noexcept { delete_array(memory); }

  /// The model's `new T` and `delete` for the vectors and objects that live during a run.
  static void* new_object(std::size_t bytes) {
    void* memory = detail::Pool::take_object(bytes);
    return memory != nullptr ? memory : detail::SystemObjects::make(bytes);
  }
  static void delete_sized_object(void* memory, std::size_t bytes) noexcept {
    if (!detail::Pool::keep_object(memory, bytes)) detail::SystemObjects::free(memory);
  }

  // Nothing is recorded.
  static Code record_function_start(const char*, IValueMapHandle, const C10IValueHandle*,
                                    std::uint64_t, AtenRecordFunctionHandle* out) noexcept {
    *out = nullptr;
    return 0;
  }
  static Code record_function_end(AtenRecordFunctionHandle) noexcept { return 0; }

 private:
  using Body = detail::TensorBody;

  static constexpr std::int32_t strided = 0;  // c10::Layout::Strided
  static constexpr std::size_t scratch_front = detail::Pool::alignment;
  static_assert(sizeof(detail::Block) <= scratch_front);

  [[noreturn, gnu::cold]] static void throw_bad_alloc() {
#if defined(__cpp_exceptions)
    throw std::bad_alloc{};
#elif defined(__GLIBCXX__)
    std::__throw_bad_alloc();
#else
    std::terminate();
#endif
  }

  static const char* refused(std::int64_t rank, std::int32_t device) noexcept {
    if (static_cast<std::uint64_t>(rank) > Tensor::max_rank) return "there are too many dimensions";
    const bool cpu = device == static_cast<std::int32_t>(DeviceType::cpu);
    return cpu ? nullptr : "tensors of this runtime lie on the CPU";
  }

  /// Returns a new body; null counts as a failure.
  [[gnu::always_inline]] static Code give(const char* function, const char* const& reason,
                                          Body* body, Handle* out) noexcept {
    *out = Body::handle(body);
    if (body == nullptr) [[unlikely]]
      return fail(function, reason);
    return 0;
  }

  static Code view(const char* function, const Body& from, std::int64_t rank,
                   const std::int64_t* sizes, const std::int64_t* strides, DType dtype,
                   std::int64_t offset, Handle* out) noexcept {
    const char* reason = nullptr;
    Body* body = from.make_view(rank, sizes, strides, offset, dtype, reason);
    return give(function, reason, body, out);
  }

  static Code copied(const char* function, const Body& from, const std::int64_t* strides,
                     Handle* out) noexcept {
    if (from.storage == nullptr) return new_uninitialized_tensor(out);
    const char* reason = nullptr;
    Body* body = Body::make_owning(from.rank, from.sizes(), strides, from.dtype, reason);
    if (body != nullptr) detail::copy_elements(*body, from);
    return give(function, reason, body, out);
  }

  static Code get_one(const char* function, const Body* body, const std::int64_t* numbers,
                      std::int64_t dimension, std::int64_t* out) noexcept {
    const std::int64_t rank = body->rank;
    if (dimension < 0) dimension += rank;
    if (dimension < 0 || dimension >= rank) return fail(function, "there is no such dimension");
    *out = numbers[dimension];
    return 0;
  }
};

}  // namespace aoti::inline AOTI_ABI
