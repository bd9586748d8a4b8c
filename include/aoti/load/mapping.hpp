// A file mapped into memory, read-only.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "aoti/load/bytes.hpp"
#include "aoti/result.hpp"

namespace aoti {

/// A private, read-only mapping of a whole file, which its copies share and the last one ends.
/// Nothing is read until it is touched, and processes that map the same file share its pages. The
/// file must not be cut short while mapped.
class Mapping {
 public:
  /// @errors not_found (absent, unreadable, or a directory)
  template <class = void> static Result<Mapping> open(const std::string& path) {
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
      const int code = errno;
      if (data == MAP_FAILED) {
        ::close(file);
        return failure(path, code);
      }
      mapping.shared_ = new (std::nothrow) Shared{{static_cast<const std::byte*>(data), size}};
      if (mapping.shared_ == nullptr) {
        ::munmap(data, size);
        ::close(file);
        return Error{Errc::out_of_memory};
      }
    }
    ::close(file);
    return mapping;
  }

  Mapping() noexcept = default;
  Mapping(const Mapping& other) noexcept : shared_{other.shared_} {
    if (shared_ != nullptr) shared_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  Mapping(Mapping&& other) noexcept : shared_{std::exchange(other.shared_, nullptr)} {}
  Mapping& operator=(Mapping other) noexcept {
    std::swap(shared_, other.shared_);
    return *this;
  }
  ~Mapping() {
    if (shared_ == nullptr || shared_->owners.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    ::munmap(const_cast<std::byte*>(shared_->bytes.data()), shared_->bytes.size());
    delete shared_;
  }

  /// Valid as long as this object or a copy of it lives; empty for an empty file.
  Bytes bytes() const noexcept { return shared_ != nullptr ? shared_->bytes : Bytes{}; }

  /// Whether the bytes are a part of this mapping.
  bool holds(Bytes part) const noexcept {
    const Bytes all = bytes();
    return part.data() >= all.data() && part.data() + part.size() <= all.data() + all.size();
  }

 private:
  static Error failure(const std::string& path, int code) {
    const bool memory = code == ENOMEM;
    return {memory ? Errc::out_of_memory : Errc::not_found, path, std::strerror(code), code};
  }

  struct Shared {
    Bytes bytes;
    std::atomic<std::size_t> owners = 1;
  };
  Shared* shared_ = nullptr;
};

}  // namespace aoti
