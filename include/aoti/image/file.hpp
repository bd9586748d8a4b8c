// SPDX-License-Identifier: BSD-3-Clause
// The file that the system's loader requires for an image that is loaded from bytes.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "aoti/file/temporary.hpp"
#include "aoti/image/image.hpp"

namespace aoti::inline AOTI_ABI {

/// Where the file lies that the system's loader requires for an image that is loaded from bytes.
enum class Backing : std::uint8_t {
  automatic,       ///< The first of these that the system has and allows.
  memory,          ///< An anonymous memory file (Linux, with /proc): nothing reaches a disk.
  shared_memory,   ///< A private file in /dev/shm (Linux), removed when the library is open.
  temporary_file,  ///< The same in $TMPDIR: any POSIX system.
};

inline constexpr Backing default_backing = Backing::automatic;

namespace detail {

/// A private file, or memory that has a path; removed with this object.
template <class = void> class BasicImageFile {
 public:
  /// Writes `parts` of an image into a new file, and makes `edits` to it.
  /// @errors library_load_failed, out_of_memory
  static Result<BasicImageFile> make(Backing backing, Bytes image, std::span<const ImagePart> parts,
                                     std::span<const ImageEdit> edits, const std::string& name) {
    BasicImageFile file;
    if (!file.create(backing, name)) return file.failure(name);
    rlimit limit{};  // a file that grows beyond it ends the process by a signal
    if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < image.size()) {
      errno = EFBIG;
      return file.failure(name);
    }
    if (::ftruncate(file.file_, static_cast<off_t>(image.size())) != 0) return file.failure(name);
    for (const auto& [offset, size] : parts) {
      if (!write_all(file.file_, image.subspan(offset, size), offset)) return file.failure(name);
    }
    for (const ImageEdit& edit : edits) {
      const Bytes value{reinterpret_cast<const std::byte*>(&edit.value), edit.size};
      if (!write_all(file.file_, value, edit.offset)) return file.failure(name);
    }
    return file;
  }

  BasicImageFile() noexcept = default;
  BasicImageFile(BasicImageFile&& other) noexcept
      : where_{std::exchange(other.where_, "")},
        file_{std::exchange(other.file_, -1)},
        path_{std::exchange(other.path_, {})} {}
  BasicImageFile& operator=(BasicImageFile&& other) noexcept {
    std::swap(where_, other.where_);
    std::swap(file_, other.file_);
    std::swap(path_, other.path_);
    return *this;
  }
  ~BasicImageFile() { close(); }

  /// The path to load it by.
  std::string path() const { return path_.empty() ? memory_path() : path_; }

  void close() noexcept {
    if (!path_.empty()) ::unlink(path_.c_str());
    path_.clear();
    if (file_ >= 0) ::close(file_);
    file_ = -1;
  }

  /// Whether any image can be loaded from the file.
  /// @errors library_load_failed
  Result<void> usable(const std::string& name) const {
    if (::access(path().c_str(), R_OK) != 0) return failure(name, ", opened by its path");
    constexpr std::size_t page = 4096;
    void* code = ::mmap(nullptr, page, PROT_READ | PROT_EXEC, MAP_PRIVATE, file_, 0);
    if (code == MAP_FAILED) return failure(name, ", mapped as code (is it mounted noexec?)");
    ::munmap(code, page);
    return success();
  }

 private:
  bool create(Backing backing, [[maybe_unused]] const std::string& name) {
    if (backing == Backing::memory) {
      where_ = "an anonymous memory file";
#if defined(__linux__)
      const std::string label = name.substr(name.rfind('/') + 1).substr(0, 200);
      file_ = ::memfd_create(label.c_str(), MFD_CLOEXEC);
      constexpr unsigned no_exec_seal = 8;  // systems that require it allow mapping all the same
      if (file_ < 0) file_ = ::memfd_create(label.c_str(), MFD_CLOEXEC | no_exec_seal);
#else
      errno = ENOSYS;
#endif
      return file_ >= 0;
    }
    where_ = path_ = backing == Backing::shared_memory ? "/dev/shm/aoti-XXXXXX" : temporary_path();
    file_ = ::mkstemp(path_.data());
    if (file_ < 0) path_.clear();
    else ::fcntl(file_, F_SETFD, FD_CLOEXEC);
    return file_ >= 0;
  }

  /// A path of the memory file that no other live one has. Loaders treat libraries with the same
  /// path as one, and descriptors are reused, so the inode is encoded in the path, too: a "./" for
  /// each set bit and a "/" for each clear one, which the kernel skips.
  std::string memory_path() const {
    struct stat status {};
    ::fstat(file_, &status);
    std::string path = "/proc/self/fd/";
    for (std::uint64_t inode = status.st_ino; inode != 0; inode >>= 1) {
      path += (inode & 1) != 0 ? "./" : "/";
    }
    return path + std::to_string(file_);
  }

  /// The error in errno.
  [[gnu::cold]] Error failure(const std::string& name, std::string_view doing = "") const {
    return file_error(name, concat({where_, doing}));
  }

  std::string where_;
  int file_ = -1;
  std::string path_;
};

using ImageFile = BasicImageFile<>;

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
