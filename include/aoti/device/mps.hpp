// SPDX-License-Identifier: BSD-3-Clause
// Apple's GPUs, through torch's C interface: needs no Metal header and nothing to link.
#pragma once

#include "aoti/device/shim.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail {

struct MpsShim {
  static constexpr std::string_view key = "mps";
  static constexpr const char* library = "libtorch_cpu.dylib";
  static constexpr const char* advice = "load a libtorch that is built for MPS, on macOS";
};

}  // namespace detail

/// Runs models compiled for "mps", on Apple's GPU. There is one such device, and torch queues all
/// its work on one stream, so there is nothing to choose or to restore. Waiting for it is
/// unsupported: torch's C interface has no function for that.
///
/// Tested with a stand-in for torch's functions; it has not run on such a GPU yet.
struct Mps {
  static constexpr std::string_view key = detail::MpsShim::key;
  static constexpr DeviceType type = DeviceType::mps;
  struct Stream {};
  struct Guard {};

  static Result<void> check(DeviceIndex index) {
    using detail::MpsShim;
    using Kernels = abi::imported::mps_set_arg_tensor;
    using Current = abi::imported::get_current_device_index;
    if (index.value > 0) {
      return Error{Errc::device_unavailable, detail::device_name<MpsShim>(index),
                   "there is one MPS device; its index is 0"};
    }
    if (detail::function<Kernels, MpsShim>() == nullptr) {
      return detail::unavailable<Kernels, MpsShim>(index);
    }
    int current = 0;  // torch 2.9 on can tell whether there is a GPU
    if (detail::function<Current, MpsShim>() != nullptr &&
        !detail::succeeds<Current, MpsShim>(&current)) {
      return detail::unavailable<Current, MpsShim>(index);
    }
    return success();
  }
  static DeviceIndex resolve(DeviceIndex index) noexcept { return index; }
  static std::string device_string(DeviceIndex) { return std::string{key}; }
  static Result<Guard> enter(DeviceIndex, Stream) noexcept { return Guard{}; }
  static AOTInductorStreamHandle native(Guard) noexcept { return nullptr; }
  static Result<void> synchronize(DeviceIndex) {
    return Error{Errc::unsupported, std::string{key},
                 "torch's C interface cannot wait for a device of this kind; call "
                 "torch::mps::synchronize()"};
  }
};

}  // namespace aoti::inline AOTI_ABI
