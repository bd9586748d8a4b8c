// A device policy that records its calls: two devices with streams, whose memory is the CPU's, so
// that the fakes run on them.
#pragma once

#include <aoti/device/device.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace aoti_test {

struct Recording {
  static constexpr std::string_view key = "cpu";
  static constexpr aoti::DeviceType type = aoti::DeviceType::cpu;
  struct Stream {
    int number = -1;  ///< -1 for the current one, which is 40 or 41.
  };

  struct State {
    int device, stream;
    bool operator==(const State&) const = default;
  };
  static inline State state{0, 40};
  static inline int inside = 0;   ///< Live guards.
  static inline int entered = 0;  ///< Guards made so far.
  static inline bool refuses_entry = false;

  class Guard {
   public:
    Guard(State old, int entered_stream) : stream{entered_stream}, old_{old} {}
    Guard(Guard&& other) noexcept : stream{other.stream}, old_{std::exchange(other.old_, {})} {}
    Guard& operator=(Guard&& other) noexcept {
      std::swap(stream, other.stream);
      std::swap(old_, other.old_);
      return *this;
    }
    ~Guard() {
      if (!old_) return;
      state = *old_;
      --inside;
    }

    int stream;

   private:
    std::optional<State> old_;
  };

  static aoti::Result<void> check(aoti::DeviceIndex index) {
    if (index.value > 1) {
      return aoti::Error{aoti::Errc::device_unavailable, "cpu:" + std::to_string(index.value),
                         "there are two devices"};
    }
    return aoti::success();
  }
  static std::string device_string(aoti::DeviceIndex index) {
    return "cpu:" + std::to_string(at(index));
  }
  static aoti::DeviceIndex resolve(aoti::DeviceIndex index) noexcept { return {at(index)}; }
  static AOTInductorStreamHandle handle(int stream) noexcept {
    return reinterpret_cast<AOTInductorStreamHandle>(static_cast<std::uintptr_t>(stream));
  }
  static AOTInductorStreamHandle native(const Guard& guard) noexcept {
    return handle(guard.stream);
  }
  static aoti::Result<void> synchronize(aoti::DeviceIndex) { return aoti::success(); }
  static aoti::Result<Guard> enter(aoti::DeviceIndex index, Stream stream) {
    if (refuses_entry)
      return aoti::Error{aoti::Errc::device_unavailable, "entering", "the device is gone"};
    ++inside;
    ++entered;
    const int number = stream.number < 0 ? 40 + at(index) : stream.number;
    return Guard{std::exchange(state, {at(index), number}), number};
  }

 private:
  static int at(aoti::DeviceIndex index) noexcept {
    return index.is_current() ? state.device : index.value;
  }
};

}  // namespace aoti_test
