// SPDX-License-Identifier: BSD-3-Clause
// CUDA devices, through torch's C interface: needs no CUDA header and nothing to link.
#pragma once

#include "aoti/device/shim.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail {

// Functions of the CUDA runtime, which torch depends on. If torch is linked with it statically,
// they cannot be found, and what they would tell stays unknown. All return 0 for success.
struct CudaGetDeviceCount {
  using type = int(int*);
  static constexpr const char* symbol = "cudaGetDeviceCount";
};
struct CudaGetDevice {
  using type = int(int*);
  static constexpr const char* symbol = "cudaGetDevice";
};
struct CudaDeviceSynchronize {
  using type = int();
  static constexpr const char* symbol = "cudaDeviceSynchronize";
};
struct CudaGetLastError {
  using type = int();
  static constexpr const char* symbol = "cudaGetLastError";
};
struct CudaGetErrorString {
  using type = const char*(int);
  static constexpr const char* symbol = "cudaGetErrorString";
};

struct CudaShim {
  static constexpr std::string_view key = "cuda";
  static constexpr DeviceType type = DeviceType::cuda;
  static constexpr const char* library = "libtorch_cuda.so";
  static constexpr const char* advice =
      "load a libtorch that is built for CUDA: link libtorch_cuda.so, with -Wl,--no-as-needed "
      "since nothing in the program names it";
  static constexpr bool null_is_default = true;

  using DeviceGuard = CUDAGuardHandle;
  using StreamGuard = CUDAStreamGuardHandle;
  using CreateGuard = abi::imported::create_cuda_guard;
  using DeleteGuard = abi::imported::delete_cuda_guard;
  using CreateStreamGuard = abi::imported::create_cuda_stream_guard;
  using DeleteStreamGuard = abi::imported::delete_cuda_stream_guard;
  using CurrentStream = abi::imported::get_current_cuda_stream;

  /// Fails if the device is known not to exist.
  static Result<void> count(DeviceIndex index) {
    auto* const get_count = function<CudaGetDeviceCount, CudaShim>();
    int count = 0;
    if (get_count == nullptr) return success();
    if (const int native = get_count(&count)) return failed(index, native);
    if (index.value < count && count > 0) return success();
    return Error{Errc::device_unavailable, device_name<CudaShim>(index),
                 concat({"found ", count, " CUDA device", count == 1 ? "" : "s"})};
  }
  /// torch's current device, which the CUDA runtime need not know yet.
  static DeviceIndex current() noexcept {
    int index = -1;
    if (!succeeds<abi::imported::get_current_device_index, CudaShim>(&index) &&
        !succeeds<CudaGetDevice, CudaShim>(&index)) {
      return {};
    }
    return {index};
  }
  /// Waits for the current device.
  static Result<void> synchronize(DeviceIndex index) {
    auto* const wait = function<CudaDeviceSynchronize, CudaShim>();
    if (wait == nullptr) {
      return Error{Errc::unsupported, device_name<CudaShim>(index),
                   "this process does not have cudaDeviceSynchronize"};
    }
    if (const int native = wait()) return failed(index, native);
    return success();
  }

  /// The CUDA runtime's reason, which is then cleared: torch would take it for its own error.
  [[gnu::cold, gnu::noinline]] static Error failed(DeviceIndex index, int native) {
    succeeds<CudaGetLastError, CudaShim>();
    auto* const text_of = function<CudaGetErrorString, CudaShim>();
    return {Errc::device_unavailable, device_name<CudaShim>(index),
            text_of != nullptr ? text_of(native) : "the CUDA runtime gave no reason", native};
  }
};

}  // namespace detail

/// Runs models compiled for "cuda", on NVIDIA's GPUs. A stream's handle is a cudaStream_t. The
/// process must have loaded libtorch_cuda; without it, or without a GPU, opening a runner fails
/// with device_unavailable.
///
/// A run queues its work and returns: outputs may be read once the stream has reached them; inputs
/// must be ready on that stream, and stay alive until it has used them. A runner stays on the
/// device that was current when it was opened, unless it was opened on a device by index; runs
/// leave the thread's device and stream as they were. In each run, torch allocates one small object
/// to enter the device.
///
/// Tested with a stand-in for torch's functions; it has not run on a GPU yet.
struct Cuda : detail::ShimDevice<detail::CudaShim> {};

}  // namespace aoti::inline AOTI_ABI
