// What a device policy is: the one place where a kind of device differs from another.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include "aoti/abi/handles.hpp"
#include "aoti/abi/types.hpp"
#include "aoti/result.hpp"

namespace aoti {

/// Which device of its kind: an index, or whichever is current.
struct DeviceIndex {
  int value = -1;

  static constexpr DeviceIndex current() noexcept { return {}; }
  constexpr bool is_current() const noexcept { return value < 0; }
};

/// A compile-time policy for one kind of device. All members are static:
/// - `key`: the package's AOTI_DEVICE_KEY and the start of the device string
/// - `type`: its number in torch's C interface
/// - `Stream`: what work is queued on, a value that owns nothing
/// - `Guard`: restores, when it dies, what `enter` changed
/// - `check(index)`: whether the device is there; device_unavailable, with the reason, if not
/// - `device_string(index)`: what the model is created with: "cpu", "cuda:1"
/// - `current_stream(index)`: the stream that the calling thread uses now
/// - `native(stream)`: the stream as the model takes it; null means the device's default stream
/// - `enter(index, stream)`: makes both current for the calling thread
template <class D>
concept DevicePolicy = requires(DeviceIndex index, const typename D::Stream& stream) {
  requires std::copyable<typename D::Stream>;
  requires std::movable<typename D::Guard>;
  { D::key } -> std::convertible_to<std::string_view>;
  { D::type } -> std::convertible_to<DeviceType>;
  { D::check(index) } -> std::same_as<Result<void>>;
  { D::device_string(index) } -> std::same_as<std::string>;
  { D::current_stream(index) } -> std::same_as<typename D::Stream>;
  { D::native(stream) } -> std::same_as<AOTInductorStreamHandle>;
  { D::enter(index, stream) } -> std::same_as<Result<typename D::Guard>>;
};

}  // namespace aoti
