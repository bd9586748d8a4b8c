// SPDX-License-Identifier: BSD-3-Clause
// The library's version, and the namespace that keeps versions apart.
#pragma once

#include <cstddef>  // for the standard library's own settings

#define AOTI_VERSION_MAJOR 0
#define AOTI_VERSION_MINOR 1
#define AOTI_VERSION_PATCH 0

#define AOTI_DOTTED_(a, b, c) #a "." #b "." #c
#define AOTI_DOTTED(a, b, c) AOTI_DOTTED_(a, b, c)
#define AOTI_ABI_JOIN_(a, b, c, d, e, f) v##a##_##b##_##c##d##e##f
#define AOTI_ABI_JOIN(a, b, c, d, e, f) AOTI_ABI_JOIN_(a, b, c, d, e, f)

// All of aoti lies in an inline namespace named after the version and after whatever changes the
// memory layout of types. Two plugins in one process that were compiled with different ones thus
// share none of the library's variables and functions, which the linker would otherwise merge.
#if defined(__SANITIZE_ADDRESS__)
#define AOTI_ABI_SANITIZER _asan
#elif defined(__SANITIZE_THREAD__)
#define AOTI_ABI_SANITIZER _tsan
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AOTI_ABI_SANITIZER _asan
#elif __has_feature(thread_sanitizer)
#define AOTI_ABI_SANITIZER _tsan
#endif
#endif
#ifndef AOTI_ABI_SANITIZER
#define AOTI_ABI_SANITIZER
#endif
#if defined(__cpp_exceptions)
#define AOTI_ABI_EXCEPTIONS
#else
#define AOTI_ABI_EXCEPTIONS _noexcept
#endif
#if defined(_GLIBCXX_DEBUG)
#define AOTI_ABI_STRINGS _debug
#elif defined(_GLIBCXX_USE_CXX11_ABI) && !_GLIBCXX_USE_CXX11_ABI
#define AOTI_ABI_STRINGS _cxx03
#else
#define AOTI_ABI_STRINGS
#endif
#define AOTI_ABI                                                                                \
  AOTI_ABI_JOIN(AOTI_VERSION_MAJOR, AOTI_VERSION_MINOR, AOTI_VERSION_PATCH, AOTI_ABI_SANITIZER, \
                AOTI_ABI_EXCEPTIONS, AOTI_ABI_STRINGS)

namespace aoti::inline AOTI_ABI {

/// The version as "major.minor.patch". CMake takes the package's version from this file.
inline constexpr const char* version =
    AOTI_DOTTED(AOTI_VERSION_MAJOR, AOTI_VERSION_MINOR, AOTI_VERSION_PATCH);

}  // namespace aoti::inline AOTI_ABI

#undef AOTI_DOTTED
#undef AOTI_DOTTED_
