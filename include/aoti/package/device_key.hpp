// SPDX-License-Identifier: BSD-3-Clause
// The kind of device that a model was compiled for, and the policy for it among several.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "aoti/device/device.hpp"
#include "aoti/image/image.hpp"
#include "aoti/package/package.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// The key in its package; empty if the package has none. For a bare image without files beside it,
/// derived from the libraries that it needs, else the CPU's.
/// @errors those of Image::parse, for such an image
inline Result<std::string_view> device_key(const PackagedModel& model) {
  if (const auto key = model.metadata.device_key(); !key.empty() || !model.name.empty()) return key;
  AOTI_TRY(auto image, Image::parse(model.image, model.origin));
  using Key = std::string_view;
  for (const std::string_view library : image.needed()) {
    const auto names = [&](const char* what) { return library.find(what) != library.npos; };
    if (names("cuda") || names("hip")) return Key{"cuda"};
    if (names("xpu") || names("sycl")) return Key{"xpu"};
  }
  return Key{"cpu"};
}

/// Calls `open.operator()<Device>()` with the policy that has a model's key, and returns the
/// result.
/// @errors those of device_key and `open`; wrong_device (none of the policies has the key)
template <DevicePolicy First, DevicePolicy... Others, class Open>
auto with_policy_for(const PackagedModel& model, Open&& open)
    -> decltype(open.template operator()<First>()) {
  using Opened = decltype(open.template operator()<First>());
  AOTI_TRY(const std::string_view key, device_key(model));
  std::optional<Opened> opened;
  const auto try_policy = [&]<class Device>() {
    if (!opened && key == Device::key) opened = open.template operator()<Device>();
  };
  try_policy.template operator()<First>();
  (try_policy.template operator()<Others>(), ...);
  if (opened) return std::move(*opened);
  return Error{Errc::wrong_device, model.origin,
               key.empty() ? std::string{"found no AOTI_DEVICE_KEY, which names the device"}
                           : concat({"compiled for ", key, ", for which there is no policy"})};
}

}  // namespace aoti::inline AOTI_ABI::detail
