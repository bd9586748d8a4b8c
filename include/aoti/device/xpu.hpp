// SPDX-License-Identifier: BSD-3-Clause
// Intel's GPUs, through torch's C interface: needs no SYCL header and nothing to link.
#pragma once

#include "aoti/device/shim.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail {

struct XpuShim {
  static constexpr std::string_view key = "xpu";
  static constexpr DeviceType type = DeviceType::xpu;
  static constexpr const char* library = "libtorch_xpu.so";
  static constexpr const char* advice =
      "load a libtorch that is built for XPU: link libtorch_xpu.so, with -Wl,--no-as-needed since "
      "nothing in the program names it";
  static constexpr bool null_is_default = false;  // torch's guard requires a queue

  using DeviceGuard = XPUGuardHandle;
  using StreamGuard = XPUStreamGuardHandle;
  using CreateGuard = abi::imported::create_xpu_guard;
  using DeleteGuard = abi::imported::delete_xpu_guard;
  using CreateStreamGuard = abi::imported::create_xpu_stream_guard;
  using DeleteStreamGuard = abi::imported::delete_xpu_stream_guard;
  using CurrentStream = abi::imported::get_current_xpu_stream;

  static Result<void> count(DeviceIndex) { return success(); }  // no C function returns it
  static DeviceIndex current() noexcept {
    int index = -1;
    if (!succeeds<abi::imported::get_current_xpu_device, XpuShim>(&index)) return {};
    return {index};
  }
  static Result<void> synchronize(DeviceIndex index) {
    return Error{Errc::unsupported, device_name<XpuShim>(index),
                 "torch's C interface cannot wait for a device of this kind; call "
                 "torch::xpu::synchronize()"};
  }
};

}  // namespace detail

/// Runs models compiled for "xpu", on Intel's GPUs. A stream's handle is a `sycl::queue*`. Asking
/// for the device's default stream, or waiting for the device, is unsupported, since torch's C
/// interface has no function for it. For the rest see Cuda.
///
/// Tested with a stand-in for torch's functions; it has not run on an XPU yet.
struct Xpu : detail::ShimDevice<detail::XpuShim> {};

}  // namespace aoti::inline AOTI_ABI
