// A loaded shared object, from a path or from bytes in memory.
#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aoti/load/image.hpp"
#include "aoti/load/temporary.hpp"

namespace aoti {

/// Where an image that is loaded from bytes gets the file that the system's loader insists on.
enum class Backing : std::uint8_t {
  memory,          ///< An anonymous memory file (Linux): nothing reaches a disk.
  temporary_file,  ///< A private file in $TMPDIR, gone when the library is open: any POSIX system.
};

inline constexpr Backing default_backing =
#if defined(__linux__)
    Backing::memory;
#else
    Backing::temporary_file;
#endif

/// Whether a library is loaded in this process.
template <class = void> bool is_loaded(const char* library) noexcept {
  void* handle = ::dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  if (handle != nullptr) ::dlclose(handle);
  return handle != nullptr;
}

namespace detail {

/// Why the system's loader refused the file that it was given as `path`, and that is called `name`.
template <class = void>
[[gnu::cold]] Error refused(const std::string& path, const std::string& name) {
  const char* said = ::dlerror();
  std::string text = said != nullptr ? said : "dlopen failed";
  if (text.starts_with(path)) text.replace(0, path.size(), name);
  return {Errc::library_load_failed, name, std::move(text)};
}

}  // namespace detail

/// Loads a library that registers what it has, such as operators, and never unloads it. Its symbols
/// stay private to it. Loading it again does nothing. The system's loader lets no exception of the
/// library's initialisers through: it ends the process.
/// @returns the handle that the system's loader gives for it
/// @errors library_load_failed
template <class = void> Result<void*> load_for_good(const std::string& path) {
  if (void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return handle;
  return detail::refused(path, path);
}

/// Owns a shared object. It stays loaded after this object's death, since code that still runs
/// (a pool's threads, thread-exit destructors) may be its own; unload() is for those who know.
template <class = void> class BasicLibrary {
 public:
  /// Loads a copy of `image` with `edits` made to it. Symbols stay private to the library.
  /// @param name what debuggers and error messages call it
  /// @param parts what is copied of the image, see Image::parts; where it is empty, everything
  /// @errors library_load_failed, out_of_memory
  static Result<BasicLibrary> load(Bytes image, std::span<const ImageEdit> edits,
                                   const std::string& name, Backing backing = default_backing,
                                   std::span<const ImagePart> parts = {}) {
    BasicLibrary library;
    const ImagePart whole{0, image.size()};
    if (parts.empty()) parts = {&whole, 1};
    auto path = library.make_file(image, parts, edits, name, backing);
    if (!path) return std::move(path).error();
    library.handle_ = ::dlopen(path.value().c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library.handle_ == nullptr) return detail::refused(path.value(), name);
    return library;
  }

  BasicLibrary() noexcept = default;
  BasicLibrary(BasicLibrary&& other) noexcept
      : handle_{std::exchange(other.handle_, nullptr)},
        file_{std::exchange(other.file_, -1)},
        path_{std::exchange(other.path_, {})} {}
  BasicLibrary& operator=(BasicLibrary&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(file_, other.file_);
    std::swap(path_, other.path_);
    return *this;
  }
  ~BasicLibrary() { close_file(); }

  /// A symbol's address, or null.
  void* symbol(const char* name) const noexcept {
    return handle_ != nullptr ? ::dlsym(handle_, name) : nullptr;
  }

  /// Gives up the file behind the image. Models with appended weights reopen it while they are
  /// created, so this comes after that; until then it costs a descriptor.
  void close_file() noexcept {
    if (!path_.empty()) ::unlink(path_.c_str());
    path_.clear();
    if (file_ >= 0) ::close(file_);
    file_ = -1;
  }

  /// Unloads the shared object: none of its code may be running or be called again.
  void unload() noexcept {
    close_file();
    if (handle_ != nullptr) ::dlclose(handle_);
    handle_ = nullptr;
  }

 private:
  /// Makes file_ (and path_, where it has a name) and returns the path to load it by.
  Result<std::string> make_file(Bytes image, std::span<const ImagePart> parts,
                                std::span<const ImageEdit> edits, const std::string& name,
                                Backing backing) {
    if (backing == Backing::memory) {
#if defined(__linux__)
      file_ = ::memfd_create(name.substr(name.rfind('/') + 1).substr(0, 200).c_str(), MFD_CLOEXEC);
      if (file_ < 0) return detail::file_error(name, "memfd_create");
#else
      return Error{Errc::unsupported, name, "anonymous memory files exist on Linux only"};
#endif
    } else {
      path_ = detail::temporary_path();
      file_ = ::mkstemp(path_.data());
      if (file_ < 0) {
        const std::string path = std::exchange(path_, {});
        return detail::file_error(name, path.c_str());
      }
      ::fcntl(file_, F_SETFD, FD_CLOEXEC);
    }
    if (::ftruncate(file_, static_cast<off_t>(image.size())) != 0) {
      return detail::file_error(name, "sizing the image");
    }
    for (const auto& [offset, size] : parts) {
      if (!detail::write_all(file_, image.subspan(offset, size), offset)) {
        return detail::file_error(name, "writing the image");
      }
    }
    for (const ImageEdit& edit : edits) {
      if (::pwrite(file_, &edit.value, edit.size, static_cast<off_t>(edit.offset)) !=
          static_cast<ssize_t>(edit.size)) {
        return detail::file_error(name, "editing the image");
      }
    }
    return backing == Backing::memory ? memory_path() : path_;
  }

  /// A path of the memory file that no other live one has. Loaders take a library of the same
  /// name for the same library, and descriptors are reused, so the inode is written into the path
  /// too: a "./" for each set bit and a "/" for each clear one, which the kernel skips.
  std::string memory_path() const {
    struct stat status {};
    ::fstat(file_, &status);
    std::string path = "/proc/self/fd/";
    for (std::uint64_t inode = status.st_ino; inode != 0; inode >>= 1) {
      path += (inode & 1) != 0 ? "./" : "/";
    }
    return path + std::to_string(file_);
  }

  void* handle_ = nullptr;
  int file_ = -1;
  std::string path_;
};

using Library = BasicLibrary<>;

}  // namespace aoti
