// SPDX-License-Identifier: BSD-3-Clause
// The CPU as a device: no streams, nothing to guard, always available.
#pragma once

#include "aoti/device/device.hpp"

namespace aoti::inline AOTI_ABI {

/// Runs models compiled for "cpu". There is one such device: its index is 0, or left open. So far
/// the only policy that has run on real hardware.
struct Cpu {
  static constexpr std::string_view key = "cpu";
  static constexpr DeviceType type = DeviceType::cpu;
  struct Stream {};
  struct Guard {};

  static Result<void> check(DeviceIndex index) {
    if (index.value > 0) {
      return Error{Errc::device_unavailable, detail::concat({"cpu:", index.value}),
                   "there is one CPU device; its index is 0"};
    }
    return success();
  }
  static DeviceIndex resolve(DeviceIndex index) noexcept { return index; }
  static std::string device_string(DeviceIndex) { return "cpu"; }
  static Result<Guard> enter(DeviceIndex, Stream) noexcept { return Guard{}; }
  static AOTInductorStreamHandle native(Guard) noexcept { return nullptr; }
  static Result<void> synchronize(DeviceIndex) noexcept { return success(); }
};

}  // namespace aoti::inline AOTI_ABI
