// SPDX-License-Identifier: BSD-3-Clause
// A file mapped into memory, read-only.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "aoti/atomic.hpp"
#include "aoti/file/bytes.hpp"
#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI {

/// A private mapping of a whole file, read-only unless stated otherwise. Copies share it, and the
/// last one unmaps it. Nothing is read until it is touched, and processes that map the same file
/// share its pages. The file must not be truncated while it is mapped.
class Mapping {
 public:
  /// @errors not_found (absent, unreadable, or a directory)
  static Result<Mapping> open(const std::string& path) { return map(path, PROT_READ, nullptr); }

  /// Maps the same file again, writable: pages that are written to become private to the result;
  /// others stay shared with all who map the file.
  /// @errors not_found (the file is gone or was replaced), out_of_memory
  Result<Mapping> writable() const {
    if (shared_ == nullptr) return Mapping{};
    return map(shared_->path, PROT_READ | PROT_WRITE, shared_);
  }

  Mapping() noexcept = default;
  Mapping(const Mapping& other) noexcept : shared_{other.shared_} {
    if (shared_ != nullptr) shared_->owners.increment();
  }
  Mapping(Mapping&& other) noexcept : shared_{std::exchange(other.shared_, nullptr)} {}
  Mapping& operator=(Mapping other) noexcept {
    std::swap(shared_, other.shared_);
    return *this;
  }
  ~Mapping() {
    if (shared_ == nullptr || shared_->owners.decrement() != 0) return;
    ::munmap(const_cast<std::byte*>(shared_->bytes.data()), shared_->bytes.size());
    delete shared_;
  }

  /// Adds an owner, which ends when the returned pointer is passed to release().
  void* retain() const noexcept {
    if (shared_ != nullptr) shared_->owners.increment();
    return shared_;
  }
  static void release(void* owner) noexcept {
    Mapping ended;
    ended.shared_ = static_cast<Shared*>(owner);
  }

  /// Valid while this object or a copy of it lives; empty for an empty file.
  Bytes bytes() const noexcept { return shared_ != nullptr ? shared_->bytes : Bytes{}; }

  /// Whether the bytes are part of this mapping.
  bool holds(Bytes part) const noexcept {
    const Bytes all = bytes();
    return part.data() >= all.data() && part.data() + part.size() <= all.data() + all.size();
  }

 private:
  struct Shared {
    Bytes bytes;
    std::string path;
    ::dev_t device = 0;
    ::ino_t inode = 0;
    detail::Atomic<std::size_t> owners = 1;
  };

  /// @param known the file that it must be, or null
  static Result<Mapping> map(const std::string& path, int protection, const Shared* known) {
    std::string name = path;
    // Without O_NONBLOCK, opening a pipe waits for a writer.
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return failure(path, errno);
    struct stat status {};
    const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    const auto size = regular ? static_cast<std::size_t>(status.st_size) : 0;
    const bool same =
        known == nullptr || (known->device == status.st_dev && known->inode == status.st_ino &&
                             known->bytes.size() == size);
    void* data = nullptr;
    int code = 0;
    if (regular && same && size != 0) {
      data = ::mmap(nullptr, size, protection, MAP_PRIVATE | MAP_NORESERVE, file, 0);
      code = errno;
    }
    ::close(file);
    if (!regular) return Error{Errc::not_found, path, "not a regular file"};
    if (!same) return Error{Errc::not_found, path, "the file was replaced meanwhile"};
    if (data == MAP_FAILED) return failure(path, code);
    Mapping mapping;
    if (size == 0) return mapping;
    mapping.shared_ = new (std::nothrow) Shared{
        {static_cast<const std::byte*>(data), size}, std::move(name), status.st_dev, status.st_ino};
    if (mapping.shared_ == nullptr) {
      ::munmap(data, size);
      return Error{Errc::out_of_memory};
    }
    return mapping;
  }

  static Error failure(const std::string& path, int code) {
    const bool memory = code == ENOMEM;
    return {memory ? Errc::out_of_memory : Errc::not_found, path, std::strerror(code), code};
  }

  Shared* shared_ = nullptr;
};

}  // namespace aoti::inline AOTI_ABI
