// Which sanitizer the tests are compiled with: AOTI_TEST_ASAN and AOTI_TEST_TSAN are 0 or 1.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define AOTI_TEST_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define AOTI_TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AOTI_TEST_ASAN 1
#elif __has_feature(thread_sanitizer)
#define AOTI_TEST_TSAN 1
#endif
#endif
#ifndef AOTI_TEST_ASAN
#define AOTI_TEST_ASAN 0
#endif
#ifndef AOTI_TEST_TSAN
#define AOTI_TEST_TSAN 0
#endif

namespace aoti_test {

inline constexpr bool asan = AOTI_TEST_ASAN, tsan = AOTI_TEST_TSAN;

/// Whether ./dev aarch64 may run the tests in its emulator.
#if defined(__aarch64__)
inline constexpr bool emulated = true;
#else
inline constexpr bool emulated = false;
#endif

}  // namespace aoti_test
