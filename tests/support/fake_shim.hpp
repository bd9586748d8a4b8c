// A stand-in for torch's CUDA, XPU and MPS functions: two devices of each of the first two, whose
// memory is the CPU's. The test program exports it under torch's names.
#pragma once

#include <aoti/abi/handles.hpp>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "support/fake_runtime.hpp"

namespace aoti_test {

inline void* stream_at(std::uintptr_t number) { return reinterpret_cast<void*>(number); }

/// On the first CUDA device the default stream is the current one. XPU has no null queues.
struct FakeCuda {
  static std::array<void*, 2> streams() { return {nullptr, stream_at(0x1001)}; }
  static constexpr bool null_is_default = true;
};
struct FakeXpu {
  static std::array<void*, 2> streams() { return {stream_at(0x2000), stream_at(0x2001)}; }
  static constexpr bool null_is_default = false;
};

/// The message of the torch function that last failed on this thread.
inline thread_local const char* shim_error = nullptr;

template <class Kind> struct FakeShim {
  struct State {
    int device = 0;
    std::array<void*, 2> streams = Kind::streams();
    bool operator==(const State&) const = default;
  };
  /// A thread's current device, and its current stream on each device.
  static inline thread_local State state;
  static inline std::atomic<int> devices = 2;
  static inline std::atomic<int> guards = 0;  ///< Live guards.
  static inline std::atomic<int> waits = 0;
  static inline std::string_view refused;  ///< The function that fails.

  static int fails(std::string_view function, bool otherwise) {
    if (refused != function && !otherwise) return 0;
    shim_error = "invalid device ordinal";
    return 1;
  }
  template <class Guard> static int create_guard(int index, Guard* out) {
    if (fails("create_guard", index >= devices)) return 1;
    if (index < 0) index = state.device;
    return enter({index, state.streams}, out);
  }
  template <class Guard> static int create_stream_guard(void* stream, int index, Guard* out) {
    EXPECT_GE(index, 0) << "torch would write out of bounds";
    EXPECT_TRUE(stream != nullptr || Kind::null_is_default) << "torch would abort";
    if (fails("create_stream_guard", index >= devices)) return 1;
    State next{index, state.streams};
    next.streams[static_cast<std::size_t>(index)] = stream;
    return enter(next, out);
  }
  static int delete_guard(void* guard) {
    auto* const before = static_cast<State*>(guard);
    state = *before;
    delete before;
    --guards;
    return 0;
  }
  static int current_stream(int index, void** out) {
    if (index < 0) index = state.device;
    if (fails("current_stream", index >= devices)) return 1;
    *out = state.streams[static_cast<std::size_t>(index)];
    return 0;
  }
  static int current_device(int* out) {
    if (fails("current_device", devices == 0)) return 1;
    *out = state.device;
    return 0;
  }

 private:
  template <class Guard> static int enter(const State& next, Guard* out) {
    *out = reinterpret_cast<Guard>(new State{state});
    state = next;
    ++guards;
    return 0;
  }
};

inline bool mps_is_there = true;

}  // namespace aoti_test

#define USED inline __attribute__((used))
extern "C" {

USED AOTITorchError aoti_torch_create_cuda_guard(std::int32_t index, CUDAGuardHandle* out) {
  return aoti_test::FakeShim<aoti_test::FakeCuda>::create_guard(index, out);
}
USED AOTITorchError aoti_torch_delete_cuda_guard(CUDAGuardHandle guard) {
  return aoti_test::FakeShim<aoti_test::FakeCuda>::delete_guard(guard);
}
USED AOTITorchError aoti_torch_create_cuda_stream_guard(void* stream, std::int32_t index,
                                                        CUDAStreamGuardHandle* out) {
  return aoti_test::FakeShim<aoti_test::FakeCuda>::create_stream_guard(stream, index, out);
}
USED AOTITorchError aoti_torch_delete_cuda_stream_guard(CUDAStreamGuardHandle guard) {
  return aoti_test::FakeShim<aoti_test::FakeCuda>::delete_guard(guard);
}
USED AOTITorchError aoti_torch_get_current_cuda_stream(std::int32_t index, void** out) {
  return aoti_test::FakeShim<aoti_test::FakeCuda>::current_stream(index, out);
}
USED int cudaGetDeviceCount(int* out) {
  *out = aoti_test::FakeShim<aoti_test::FakeCuda>::devices;
  return *out == 0 ? 100 : 0;
}
USED const char* cudaGetErrorString(int) { return "no CUDA-capable device is detected"; }
USED int cudaGetDevice(int* out) {
  return aoti_test::FakeShim<aoti_test::FakeCuda>::current_device(out);
}
USED int cudaDeviceSynchronize() {
  ++aoti_test::FakeShim<aoti_test::FakeCuda>::waits;
  aoti_test::queued = 0;
  return 0;
}

USED AOTITorchError aoti_torch_create_xpu_guard(std::int32_t index, XPUGuardHandle* out) {
  return aoti_test::FakeShim<aoti_test::FakeXpu>::create_guard(index, out);
}
USED AOTITorchError aoti_torch_delete_xpu_guard(XPUGuardHandle guard) {
  return aoti_test::FakeShim<aoti_test::FakeXpu>::delete_guard(guard);
}
USED AOTITorchError aoti_torch_create_xpu_stream_guard(void* stream, std::int32_t index,
                                                       XPUStreamGuardHandle* out) {
  return aoti_test::FakeShim<aoti_test::FakeXpu>::create_stream_guard(stream, index, out);
}
USED AOTITorchError aoti_torch_delete_xpu_stream_guard(XPUStreamGuardHandle guard) {
  return aoti_test::FakeShim<aoti_test::FakeXpu>::delete_guard(guard);
}
USED AOTITorchError aoti_torch_get_current_xpu_stream(std::int32_t index, void** out) {
  return aoti_test::FakeShim<aoti_test::FakeXpu>::current_stream(index, out);
}
USED AOTITorchError aoti_torch_get_current_xpu_device(std::int32_t* out) {
  return aoti_test::FakeShim<aoti_test::FakeXpu>::current_device(out);
}

USED AOTITorchError aoti_torch_mps_set_arg_tensor(AOTIMetalKernelFunctionHandle, unsigned,
                                                  AtenTensorHandle) {
  return 0;
}
USED AOTITorchError aoti_torch_get_current_device_index(std::int32_t* out) {
  if (!aoti_test::mps_is_there) return 1;
  return aoti_test::FakeShim<aoti_test::FakeCuda>::current_device(out);
}
USED const char* torch_exception_get_what_without_backtrace() { return aoti_test::shim_error; }
}
#undef USED
