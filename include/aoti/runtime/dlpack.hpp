// SPDX-License-Identifier: BSD-3-Clause
// Tensors to and from DLPack, and so to and from numpy, torch, JAX, CuPy and others, without a
// copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "aoti/runtime/tensor.hpp"

namespace aoti::inline AOTI_ABI {

/// The structs of DLPack's C interface, version 1, for programs that do not include dlpack.h; those
/// of dlpack.h work as well.
namespace dlpack {

struct Device {
  std::int32_t device_type;
  std::int32_t device_id;
};
struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};
/// The contents of a Python capsule named "dltensor".
struct ManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(ManagedTensor* self);
};
struct Version {
  std::uint32_t major;
  std::uint32_t minor;
};
/// The contents of a Python capsule named "dltensor_versioned".
struct ManagedTensorVersioned {
  Version version;
  void* manager_ctx;
  void (*deleter)(ManagedTensorVersioned* self);
  std::uint64_t flags;
  DLTensor dl_tensor;
};

}  // namespace dlpack

namespace detail {

/// DLPack's representation of an element type: a kind and a number of bits.
struct DlpackRow {
  DType dtype;
  std::uint8_t code;
  std::uint8_t bits;
};
inline constexpr DlpackRow dlpack_rows[] = {
    {DType::int8, 0, 8},
    {DType::int16, 0, 16},
    {DType::int32, 0, 32},
    {DType::int64, 0, 64},
    {DType::uint8, 1, 8},
    {DType::uint16, 1, 16},
    {DType::uint32, 1, 32},
    {DType::uint64, 1, 64},
    {DType::float16, 2, 16},
    {DType::float32, 2, 32},
    {DType::float64, 2, 64},
    {DType::bfloat16, 4, 16},
    {DType::complex32, 5, 32},
    {DType::complex64, 5, 64},
    {DType::complex128, 5, 128},
    {DType::boolean, 6, 8},
    {DType::float8_e4m3fn, 10, 8},
    {DType::float8_e4m3fnuz, 11, 8},
    {DType::float8_e5m2, 12, 8},
    {DType::float8_e5m2fnuz, 13, 8},
    {DType::float8_e8m0fnu, 14, 8},
};
inline constexpr std::int32_t dlpack_cpu = 1, dlpack_cuda_host = 3;  // memory of the host
inline constexpr std::uint8_t dlpack_complex = 5;

template <class Managed> void delete_managed(void* managed) {
  auto* self = static_cast<Managed*>(managed);
  if (self->deleter != nullptr) self->deleter(self);
}

/// A managed tensor together with the tensor that it exports.
template <class Managed> struct Exported : Managed { Tensor tensor; };

}  // namespace detail

/// A tensor on the memory of a managed one. The managed tensor is deleted, on any thread, when the
/// last tensor that shares its memory is destroyed; on an error it still belongs to the caller.
/// Read-only memory is accepted, too: a model writes to an input only if the exported program does.
/// @param managed a dlpack::ManagedTensor, a dlpack::ManagedTensorVersioned, or those of dlpack.h
/// @errors invalid_argument (null, not in host memory, not aligned for its elements, an unknown
///         version or element type, anything that Tensor::adopt refuses), out_of_memory
template <class Managed> Result<Tensor> from_dlpack(Managed* managed) {
  constexpr const char* name = "from_dlpack";
  if (managed == nullptr) return Error{Errc::invalid_argument, name, "the managed tensor is null"};
  if constexpr (requires { managed->version; }) {
    if (managed->version.major != 1) {
      return Error{Errc::invalid_argument, name,
                   detail::concat({"found version ", managed->version.major, ", expected 1"})};
    }
  }
  const auto& tensor = managed->dl_tensor;
  const auto device = static_cast<std::int32_t>(tensor.device.device_type);
  if (device != detail::dlpack_cpu && device != detail::dlpack_cuda_host) {
    return Error{Errc::invalid_argument, name,
                 detail::concat({"found a tensor on DLPack's device type ", device,
                                 ", expected one in the host's memory"})};
  }
  const detail::DlpackRow* row = nullptr;
  for (const detail::DlpackRow& known : detail::dlpack_rows) {
    if (known.code == tensor.dtype.code && known.bits == tensor.dtype.bits) row = &known;
  }
  if (row == nullptr || tensor.dtype.lanes != 1 || tensor.ndim < 0) {
    return Error{
        Errc::invalid_argument, name,
        detail::concat({"found elements of DLPack's type code ", int{tensor.dtype.code}, " with ",
                        int{tensor.dtype.bits}, " bits and ", int{tensor.dtype.lanes}, " lanes in ",
                        tensor.ndim, " dimensions, which aoti::Tensor does not have"})};
  }
  const auto rank = static_cast<std::size_t>(tensor.ndim);
  if (tensor.shape == nullptr && rank != 0) {
    return Error{Errc::invalid_argument, name,
                 detail::concat({"the shape is null, expected ", rank, " sizes"})};
  }
  auto* const data = static_cast<std::byte*>(tensor.data);
  const bool complex = row->code == detail::dlpack_complex;
  const std::uint64_t alignment = row->bits / (complex ? 16u : 8u);
  if (data != nullptr &&
      (reinterpret_cast<std::uintptr_t>(data) + tensor.byte_offset) % alignment != 0) {
    return Error{Errc::invalid_argument, name,
                 detail::concat({"found memory that begins ", tensor.byte_offset,
                                 " bytes after an address, expected it to be aligned to ",
                                 alignment, " bytes, for ", to_string(row->dtype)})};
  }
  // With at most one element, strides have no meaning.
  std::int64_t strides[Tensor::max_rank];
  const bool strided = tensor.strides != nullptr && rank <= Tensor::max_rank &&
                       detail::count_elements({tensor.shape, rank}) != 0;
  for (std::size_t d = 0; strided && d < rank; ++d) {
    strides[d] = tensor.shape[d] == 1 && tensor.strides[d] < 0 ? 1 : tensor.strides[d];
  }
  return Tensor::adopt(row->dtype, data != nullptr ? data + tensor.byte_offset : nullptr,
                       {tensor.shape, rank}, {strides, strided ? rank : 0},
                       &detail::delete_managed<Managed>, managed);
}

/// A managed tensor that shares a tensor's memory; the receiver calls its deleter once, on any
/// thread.
/// @tparam Managed dlpack::ManagedTensor, dlpack::ManagedTensorVersioned, or those of dlpack.h
/// @errors undefined_tensor, invalid_argument (DLPack lacks the element type), out_of_memory
template <class Managed = dlpack::ManagedTensor> Result<Managed*> to_dlpack(const Tensor& tensor) {
  constexpr const char* name = "to_dlpack";
  if (!tensor.defined()) return Error{Errc::undefined_tensor, name, "the tensor is undefined"};
  const detail::DlpackRow* row = nullptr;
  for (const detail::DlpackRow& known : detail::dlpack_rows) {
    if (known.dtype == tensor.dtype()) row = &known;
  }
  if (row == nullptr) {
    return Error{Errc::invalid_argument, name,
                 detail::concat({"DLPack has no ", to_string(tensor.dtype())})};
  }
  auto* exported = new (std::nothrow) detail::Exported<Managed>{};
  if (exported == nullptr) return Error{Errc::out_of_memory, name, "making the managed tensor"};
  exported->tensor = tensor;
  auto& out = exported->dl_tensor;
  out.data = tensor.data();
  out.device.device_type = static_cast<decltype(out.device.device_type)>(detail::dlpack_cpu);
  out.ndim = static_cast<std::int32_t>(tensor.rank());
  out.dtype.code = row->code;
  out.dtype.bits = row->bits;
  out.dtype.lanes = 1;
  out.shape = const_cast<std::int64_t*>(tensor.sizes().data());
  out.strides = const_cast<std::int64_t*>(tensor.strides().data());
  if constexpr (requires { exported->version; }) exported->version = {1, 0};
  exported->deleter = [](Managed* self) { delete static_cast<detail::Exported<Managed>*>(self); };
  return static_cast<Managed*>(exported);
}

}  // namespace aoti::inline AOTI_ABI
