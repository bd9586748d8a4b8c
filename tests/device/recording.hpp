// A device policy that writes down what is asked of it: two devices with streams, whose memory is
// the processor's, so that the fakes run on them.
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
    int number;
  };

  struct State {
    int device, stream;
    bool operator==(const State&) const = default;
  };
  static inline State state{0, 40};
  static inline int inside = 0;   ///< Guards that are alive.
  static inline int entered = 0;  ///< Guards that there ever were.
  static inline bool refuses_entry = false;

  class Guard {
   public:
    explicit Guard(State old) : old_{old} {}
    Guard(Guard&& other) noexcept : old_{std::exchange(other.old_, {})} {}
    Guard& operator=(Guard&& other) noexcept {
      std::swap(old_, other.old_);
      return *this;
    }
    ~Guard() {
      if (!old_) return;
      state = *old_;
      --inside;
    }

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
  static Stream current_stream(aoti::DeviceIndex index) noexcept { return {40 + at(index)}; }
  static AOTInductorStreamHandle native(Stream stream) noexcept {
    return reinterpret_cast<AOTInductorStreamHandle>(static_cast<std::uintptr_t>(stream.number));
  }
  static aoti::Result<Guard> enter(aoti::DeviceIndex index, Stream stream) {
    if (refuses_entry)
      return aoti::Error{aoti::Errc::device_unavailable, "entering", "the device is gone"};
    ++inside;
    ++entered;
    return Guard{std::exchange(state, {at(index), stream.number})};
  }

 private:
  static int at(aoti::DeviceIndex index) noexcept {
    return index.is_current() ? state.device : index.value;
  }
};

}  // namespace aoti_test
