// SPDX-License-Identifier: BSD-3-Clause
// What the policies on torch's C interface share: its functions are looked up in the process when
// needed, so compiling and linking need nothing of CUDA, XPU or MPS.
#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "aoti/abi/imports.hpp"
#include "aoti/atomic.hpp"
#include "aoti/device/device.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// The address of a function, or null. Looks in a library, if the process has loaded it, and in its
/// dependencies; then among the process's global symbols.
inline void* find_function(const char* symbol, const char* library) noexcept {
  if (void* loaded = ::dlopen(library, RTLD_LAZY | RTLD_NOLOAD)) {
    void* address = ::dlsym(loaded, symbol);
    ::dlclose(loaded);  // whoever loaded it keeps it loaded
    if (address != nullptr) return address;
  }
  return ::dlsym(RTLD_DEFAULT, symbol);
}

/// One of the functions that a policy uses, or null. A function that is found is remembered; one
/// that is not is looked up again the next time, since its library may have been loaded by then.
/// @tparam Function has its `type` and `symbol`
/// @tparam Shim     has the `library`
template <class Function, class Shim> typename Function::type* function() noexcept {
  static Atomic<void*> found = nullptr;
  void* address = found.load();
  if (address == nullptr) [[unlikely]] {
    address = find_function(Function::symbol, Shim::library);
    found.store(address);
  }
  return reinterpret_cast<typename Function::type*>(address);
}

/// Calls a function; false if it is missing or fails.
template <class Function, class Shim, class... Arguments>
bool succeeds(Arguments... arguments) noexcept {
  auto* const f = function<Function, Shim>();
  return f != nullptr && f(arguments...) == 0;
}

/// torch's reason for a failure, per thread; older versions print it instead.
struct LastException {
  using type = const char*();
  static constexpr const char* symbol = "torch_exception_get_what_without_backtrace";
};

/// "cuda:1", or "cuda" if the index is left open.
template <class Shim> std::string device_name(DeviceIndex index) {
  return index.is_current() ? std::string{Shim::key} : concat({Shim::key, ":", index.value});
}

/// Why a torch function failed: it is missing, or torch's own message.
template <class Function, class Shim>
[[gnu::cold, gnu::noinline]] Error unavailable(DeviceIndex index) {
  if (function<Function, Shim>() == nullptr) {
    return {Errc::device_unavailable, device_name<Shim>(index),
            concat({"this process does not have ", Function::symbol, "; ", Shim::advice})};
  }
  auto* const reason = function<LastException, Shim>();
  const char* text = reason != nullptr ? reason() : nullptr;
  return {Errc::device_unavailable, device_name<Shim>(index),
          concat({Function::symbol, " failed: ", text != nullptr ? text : "no reason given"})};
}

/// The policy for a kind of device with streams, on functions that `Shim` names. Shim's `count`,
/// `current` and `synchronize` may be unable to tell or do anything.
template <class Shim> struct ShimDevice {
  static constexpr std::string_view key = Shim::key;
  static constexpr DeviceType type = Shim::type;

  /// One of three: the stream that is current for the calling thread at the time of use, which is
  /// the default; the device's default stream; or a given one. Owns nothing: a given stream must
  /// live until everything queued on it is done.
  class Stream {
   public:
    constexpr Stream() noexcept = default;
    /// @param handle a native stream of the runner's device; null for the default stream
    constexpr explicit Stream(void* handle) noexcept : handle_{handle}, is_current_{false} {}
    Stream(std::nullptr_t) = delete;  // say Stream::device_default(), or {} for the current one
    Stream(int) = delete;             // say Stream::device_default(), or {} for the current one
    static constexpr Stream device_default() noexcept {
      return Stream{static_cast<void*>(nullptr)};
    }

    constexpr bool is_current() const noexcept { return is_current_; }
    /// The native stream; null unless one was given.
    constexpr void* handle() const noexcept { return handle_; }
    friend constexpr bool operator==(const Stream&, const Stream&) = default;

   private:
    void* handle_ = nullptr;
    bool is_current_ = true;
  };

  /// Restores device and stream. Holds a torch guard, which is on the heap.
  class Guard {
   public:
    Guard(Guard&& other) noexcept
        : device_{std::exchange(other.device_, nullptr)},
          stream_{std::exchange(other.stream_, nullptr)},
          native_{other.native_} {}
    Guard& operator=(Guard&& other) noexcept {
      std::swap(device_, other.device_);
      std::swap(stream_, other.stream_);
      std::swap(native_, other.native_);
      return *this;
    }
    ~Guard() {
      if (stream_ != nullptr) succeeds<typename Shim::DeleteStreamGuard, Shim>(stream_);
      if (device_ != nullptr) succeeds<typename Shim::DeleteGuard, Shim>(device_);
    }

   private:
    friend ShimDevice;
    Guard() noexcept = default;

    typename Shim::DeviceGuard device_ = nullptr;
    typename Shim::StreamGuard stream_ = nullptr;
    void* native_ = nullptr;
  };

  static Result<void> check(DeviceIndex index) {
    const DeviceIndex at = resolve(index);
    if (function<typename Shim::CreateGuard, Shim>() == nullptr) {
      return unavailable<typename Shim::CreateGuard, Shim>(at);
    }
    AOTI_TRYV(Shim::count(at));
    // The count may be unknown; entering finds out, and finds missing functions.
    AOTI_TRY(auto guard, enter(at, {}));
    if (function<typename Shim::CreateStreamGuard, Shim>() == nullptr) {
      return unavailable<typename Shim::CreateStreamGuard, Shim>(at);
    }
    return success();
  }
  /// If torch cannot tell which device is current, the index stays open.
  static DeviceIndex resolve(DeviceIndex index) noexcept {
    return index.is_current() ? Shim::current() : index;
  }
  static std::string device_string(DeviceIndex index) { return device_name<Shim>(index); }

  static Result<Guard> enter(DeviceIndex index, Stream stream) {
    Guard guard;
    const DeviceIndex at = resolve(index);
    if (at.value > most) return no_such(at);
    if (stream.is_current()) {
      using Create = typename Shim::CreateGuard;
      if (!succeeds<Create, Shim>(at.value, &guard.device_)) return unavailable<Create, Shim>(at);
      using Current = typename Shim::CurrentStream;
      if (!succeeds<Current, Shim>(at.value, &guard.native_)) return unavailable<Current, Shim>(at);
      return guard;
    }
    if (at.is_current() || (stream.handle() == nullptr && !Shim::null_is_default)) {
      return not_nameable(at);
    }
    using Create = typename Shim::CreateStreamGuard;
    if (!succeeds<Create, Shim>(stream.handle(), at.value, &guard.stream_)) {
      return unavailable<Create, Shim>(at);
    }
    guard.native_ = stream.handle();
    return guard;
  }
  static AOTInductorStreamHandle native(const Guard& guard) noexcept {
    return static_cast<AOTInductorStreamHandle>(guard.native_);
  }
  static Result<void> synchronize(DeviceIndex index) {
    AOTI_TRY(auto guard, enter(index, {}));
    return Shim::synchronize(index);
  }

 private:
  static constexpr int most = 127;  // torch stores an index in eight bits, unchecked

  [[gnu::cold, gnu::noinline]] static Error no_such(DeviceIndex index) {
    return {Errc::device_unavailable, device_name<Shim>(index),
            concat({"torch numbers devices from 0 to ", most})};
  }
  [[gnu::cold, gnu::noinline]] static Error not_nameable(DeviceIndex index) {
    if (index.is_current()) {
      return {Errc::unsupported, std::string{key},
              "torch cannot tell which device is current; give the device's index"};
    }
    return {Errc::unsupported, device_name<Shim>(index),
            "torch's C interface cannot name the default stream of this kind of device; give a "
            "stream, or use the current one"};
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
