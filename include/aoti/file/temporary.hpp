// SPDX-License-Identifier: BSD-3-Clause
// Our own files: where they lie, how they are written, and the error if that fails.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "aoti/file/bytes.hpp"
#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// The template for mkstemp and mkdtemp, in $TMPDIR.
inline std::string temporary_path() {
  const char* folder = std::getenv("TMPDIR");
  return concat({folder != nullptr && *folder != '\0' ? folder : "/tmp", "/aoti-XXXXXX"});
}

/// Writes all bytes at an offset of a file; false, with errno, if that fails.
inline bool write_all(int file, Bytes bytes, std::uint64_t offset) noexcept {
  for (std::uint64_t done = 0; done < bytes.size();) {
    const ssize_t written =
        ::pwrite(file, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    done += static_cast<std::uint64_t>(written);
  }
  return true;
}

/// The error in errno after `what` was done for a library: library_load_failed, or out_of_memory if
/// the disk is full.
[[gnu::cold]] inline Error file_error(const std::string& name, std::string_view what) {
  const int code = errno;
  const bool memory = code == ENOMEM || code == ENOSPC;
  return {memory ? Errc::out_of_memory : Errc::library_load_failed, name,
          concat({what, ": ", std::strerror(code)}), code};
}

}  // namespace aoti::inline AOTI_ABI::detail
