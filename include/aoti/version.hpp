// SPDX-License-Identifier: BSD-3-Clause
// The library's version.
#pragma once

#define AOTI_VERSION_MAJOR 0
#define AOTI_VERSION_MINOR 1
#define AOTI_VERSION_PATCH 0

#define AOTI_DOTTED_(a, b, c) #a "." #b "." #c
#define AOTI_DOTTED(a, b, c) AOTI_DOTTED_(a, b, c)

namespace aoti {

/// The version as "major.minor.patch". CMake takes the package's version from this file.
inline constexpr const char* version =
    AOTI_DOTTED(AOTI_VERSION_MAJOR, AOTI_VERSION_MINOR, AOTI_VERSION_PATCH);

}  // namespace aoti

#undef AOTI_DOTTED
#undef AOTI_DOTTED_
