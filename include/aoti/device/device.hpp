// SPDX-License-Identifier: BSD-3-Clause
// What a device policy is: the only place where one kind of device differs from another.
#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>

#include "aoti/abi/handles.hpp"
#include "aoti/abi/types.hpp"
#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI {

/// A device of its kind: an index, or the current device.
struct DeviceIndex {
  int value = -1;

  static constexpr DeviceIndex current() noexcept { return {}; }
  constexpr bool is_current() const noexcept { return value < 0; }
};

/// A compile-time policy for one kind of device. All members are static and safe to call from any
/// thread; none prints or ends the process if a device is missing.
/// - `key`: the package's AOTI_DEVICE_KEY and the start of the device string
/// - `type`: its number in torch's C interface
/// - `Stream`: what work is queued on; a value that owns nothing. Default-constructed, it is the
///   calling thread's current stream at the time of use; the device's default stream is another
///   value
/// - `Guard`: restores what `enter` changed when it is destroyed, in the thread that made it
/// - `check(index)`: whether the device is available; if not, device_unavailable with the reason
/// - `resolve(index)`: the index or, if it is left open, that of the current device; a runner stays
///   on the device that it was opened on
/// - `device_string(index)`: what the model is created with: "cpu", "cuda:1"
/// - `enter(index, stream)`: makes both current for the calling thread; device_unavailable
/// - `native(guard)`: the stream that was entered, in the form that the model takes; null means the
///   device's default stream
/// - `synchronize(index)`: waits until the device has done everything queued, on any stream by any
///   thread; device_unavailable, unsupported (torch's C interface has no function for it)
template <class D>
concept DevicePolicy = requires(DeviceIndex index, const typename D::Stream& stream,
                                const typename D::Guard& guard) {
  requires std::copyable<typename D::Stream>;
  requires std::default_initializable<typename D::Stream>;
  requires std::movable<typename D::Guard>;
  { D::key } -> std::convertible_to<std::string_view>;
  { D::type } -> std::convertible_to<DeviceType>;
  { D::check(index) } -> std::same_as<Result<void>>;
  { D::resolve(index) } -> std::same_as<DeviceIndex>;
  { D::device_string(index) } -> std::same_as<std::string>;
  { D::enter(index, stream) } -> std::same_as<Result<typename D::Guard>>;
  { D::native(guard) } -> std::same_as<AOTInductorStreamHandle>;
  { D::synchronize(index) } -> std::same_as<Result<void>>;
};

namespace detail {

/// When instantiated, reports each requirement of DevicePolicy that a type lacks.
template <class D> struct NoDevicePolicy {
  // clang-format off
  static_assert(requires { requires std::copyable<typename D::Stream>;
                           requires std::default_initializable<typename D::Stream>; },
                "a DevicePolicy needs a type Stream, copyable and default-constructible");
  static_assert(requires { requires std::movable<typename D::Guard>; },
                "a DevicePolicy needs a type Guard, movable");
  using Stream = typename D::Stream;
  using Guard = typename D::Guard;
  static DeviceIndex index;
  static const Stream& stream;
  static const Guard& guard;
  static_assert(requires { { D::key } -> std::convertible_to<std::string_view>; },
                "a DevicePolicy needs static constexpr std::string_view key");
  static_assert(requires { { D::type } -> std::convertible_to<DeviceType>; },
                "a DevicePolicy needs static constexpr DeviceType type");
  static_assert(requires { { D::check(index) } -> std::same_as<Result<void>>; },
                "a DevicePolicy needs static Result<void> check(DeviceIndex)");
  static_assert(requires { { D::resolve(index) } -> std::same_as<DeviceIndex>; },
                "a DevicePolicy needs static DeviceIndex resolve(DeviceIndex)");
  static_assert(requires { { D::device_string(index) } -> std::same_as<std::string>; },
                "a DevicePolicy needs static std::string device_string(DeviceIndex)");
  static_assert(requires { { D::enter(index, stream) } -> std::same_as<Result<Guard>>; },
                "a DevicePolicy needs static Result<Guard> enter(DeviceIndex, Stream)");
  static_assert(requires { { D::native(guard) } -> std::same_as<AOTInductorStreamHandle>; },
                "a DevicePolicy needs static AOTInductorStreamHandle native(const Guard&)");
  static_assert(requires { { D::synchronize(index) } -> std::same_as<Result<void>>; },
                "a DevicePolicy needs static Result<void> synchronize(DeviceIndex)");
  // clang-format on
  static constexpr bool value = false;
};

/// A DevicePolicy; for any other type, a compile error says what it lacks.
template <class D>
concept CheckedDevice = DevicePolicy<D> || NoDevicePolicy<D>::value;

}  // namespace detail

/// The index in "", "cuda" or "cuda:1", of a device with that key. @errors invalid_argument
inline Result<DeviceIndex> parse_device_index(std::string_view key, std::string_view text) {
  std::string_view rest = text;
  if (rest.starts_with(key)) rest.remove_prefix(key.size());
  if (rest.empty()) return DeviceIndex::current();
  int index = rest.front() == ':' && rest.size() > 1 && rest.size() < text.size() ? 0 : -1;
  for (std::size_t i = 1; i < rest.size() && index >= 0; ++i) {
    const bool digit = rest[i] >= '0' && rest[i] <= '9' && index < 1'000'000;
    index = digit ? 10 * index + (rest[i] - '0') : -1;
  }
  if (index >= 0) return DeviceIndex{index};
  return Error{Errc::invalid_argument, "device_str",
               detail::concat({"found '", text, "', expected '", key, "' or '", key, ":0'"})};
}

namespace detail {

/// The stream of a handle; the current one for null, and for devices without stream handles.
template <class Device> typename Device::Stream stream_of(void* handle) {
  if constexpr (std::constructible_from<typename Device::Stream, void*>) {
    if (handle != nullptr) return typename Device::Stream{handle};
  }
  return {};
}

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
