// A file mapped into memory, read-only.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "aoti/load/bytes.hpp"
#include "aoti/result.hpp"

namespace aoti {

/// Owns a private, read-only mapping of a whole file. Nothing is read until it is touched, and
/// processes that map the same file share its pages. The file must not be cut short while mapped.
class Mapping {
 public:
  /// @errors not_found (absent, unreadable, or a directory)
  static Result<Mapping> open(const std::string& path) {
    // Without O_NONBLOCK, opening a pipe waits for a writer.
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return failure(path, errno);
    struct stat status {};
    if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(file);
      return Error{Errc::not_found, path, "not a regular file"};
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    Mapping mapping;
    if (size != 0) {
      void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
      if (data == MAP_FAILED) {
        const int code = errno;
        ::close(file);
        return failure(path, code);
      }
      mapping.bytes_ = {static_cast<const std::byte*>(data), size};
    }
    ::close(file);
    return mapping;
  }

  Mapping() noexcept = default;
  Mapping(Mapping&& other) noexcept : bytes_{std::exchange(other.bytes_, {})} {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }

  /// Valid as long as this object, or the one it is moved to, lives.
  Bytes bytes() const noexcept { return bytes_; }

 private:
  static Error failure(const std::string& path, int code) {
    const bool memory = code == ENOMEM;
    return {memory ? Errc::out_of_memory : Errc::not_found, path, std::strerror(code), code};
  }

  Bytes bytes_;
};

}  // namespace aoti
