// SPDX-License-Identifier: BSD-3-Clause
// The kind of device that a model was compiled for.
#pragma once

#include <string>
#include <string_view>

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
  std::string_view key = "cpu";
  for (const std::string_view library : image.needed()) {
    if (library.find("cuda") != library.npos || library.find("hip") != library.npos) key = "cuda";
    if (library.find("xpu") != library.npos || library.find("sycl") != library.npos) key = "xpu";
  }
  return key;
}

/// Calls `open.operator()<Device>()` with the policy that has a model's key, and returns the
/// result.
/// @errors those of device_key and `open`; wrong_device (none of the policies has the key)
template <DevicePolicy First, DevicePolicy... Others, class Open>
auto with_policy_for(const PackagedModel& model, Open&& open)
    -> decltype(open.template operator()<First>()) {
  AOTI_TRY(auto key, device_key(model));
  if (key == First::key) return open.template operator()<First>();
  if constexpr (sizeof...(Others) > 0) {
    return with_policy_for<Others...>(model, open);
  } else {
    return Error{Errc::wrong_device, model.origin,
                 key.empty()
                     ? std::string{"found no AOTI_DEVICE_KEY, which names the device"}
                     : concat({"compiled for ", key, ", for which there is no device policy"})};
  }
}

}  // namespace aoti::inline AOTI_ABI::detail
