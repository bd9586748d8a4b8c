// SPDX-License-Identifier: BSD-3-Clause
// A loaded shared object, from a path or from bytes in memory.
#pragma once

#include <dlfcn.h>
#include <unistd.h>

#include <span>
#include <string>
#include <utility>

#include "aoti/image/file.hpp"
#include "aoti/image/image.hpp"

namespace aoti::inline AOTI_ABI {

/// Whether a library is loaded in this process.
inline bool is_loaded(const char* library) noexcept {
  void* handle = ::dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  if (handle != nullptr) ::dlclose(handle);
  return handle != nullptr;
}

/// Keeps a loaded library loaded until the process ends.
inline void keep_loaded(const char* library) noexcept {
  void* handle = ::dlopen(library, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
  if (handle != nullptr) ::dlclose(handle);
}

namespace detail {

/// Why the system's loader refused the file at `path`, which errors call `name`.
[[gnu::cold]] inline Error refused(const std::string& path, const std::string& name) {
  const char* said = ::dlerror();
  std::string text = said != nullptr ? said : "dlopen failed";
  const auto says = [&](std::string_view part) { return text.find(part) != text.npos; };
  if (says("No such file") && text.starts_with(path + ":") && ::access(path.c_str(), F_OK) == 0) {
    text += "; the file is there, but is for another system";
  } else if (says("executable stack")) {
    text += "; the library need not ask for one: patchelf --clear-execstack changes it";
  } else if (says("failed to map segment")) {
    text += "; its file system may be mounted noexec";
  }
  for (auto at = text.find(path); at != text.npos; at = text.find(path, at + name.size())) {
    text.replace(at, path.size(), name);
  }
  return {Errc::library_load_failed, name, std::move(text)};
}

}  // namespace detail

/// Loads a library that registers things, such as operators, and never unloads it. Its symbols stay
/// private to it. Loading it again does nothing. If the library's initialisers throw, the system's
/// loader ends the process.
/// @returns the system's handle for it
/// @errors library_load_failed
inline Result<void*> load_for_good(const std::string& path) {
  const auto load = [](const std::string& file) {
    return ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  };
  if (void* handle = load(path)) return handle;
  // Without a slash, the system looks for it only in its own folders.
  const std::string beside = "./" + path;
  if (path.find('/') != path.npos || ::access(beside.c_str(), F_OK) != 0) {
    return detail::refused(path, path);
  }
  if (void* handle = load(beside)) return handle;
  return detail::refused(beside, path);
}

/// Owns a shared object. It stays loaded after this object is destroyed, since code of it may still
/// run (a pool's threads, thread-exit destructors); unload() is for callers who know better.
template <class = void> class BasicLibrary {
 public:
  /// Loads a copy of `image` with `edits` made to it. Symbols stay private to the library.
  /// @param name its name in debuggers and error messages
  /// @param backing where the copy lies
  /// @param parts the parts of the image to copy, see Image::parts; if empty, everything
  /// @errors library_load_failed, out_of_memory
  static Result<BasicLibrary> load(Bytes image, std::span<const ImageEdit> edits,
                                   const std::string& name, Backing backing = default_backing,
                                   std::span<const ImagePart> parts = {}) {
    const ImagePart whole{0, image.size()};
    if (parts.empty()) parts = {&whole, 1};
    std::string why;
    Errc code = Errc::none;
    for (const Backing one : {Backing::memory, Backing::shared_memory, Backing::temporary_file}) {
      if (backing != Backing::automatic && backing != one) continue;
      auto file = File::make(one, image, parts, edits, name);
      Result<void> usable = success();
      if (file) {
        BasicLibrary library;
        library.file_ = std::move(file).value();
        const std::string path = library.file_.path();
        library.handle_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library.handle_ != nullptr) return library;
        Error refused = detail::refused(path, name);
        usable = library.file_.usable(name);
        if (usable) return refused;
      } else {
        usable = std::move(file).error();
      }
      if (code == Errc::none) code = usable.error().code();
      why.append(why.empty() ? "" : "; ").append(usable.error().text());
    }
    const bool open = backing == Backing::automatic || backing == Backing::temporary_file;
    return Error{code, name,
                 detail::concat({"found no place from which the image can be loaded: ", why,
                                 open ? "; name a folder that allows it in $TMPDIR"
                                      : "; Backing::automatic tries others, too"})};
  }

  BasicLibrary() noexcept = default;
  BasicLibrary(BasicLibrary&& other) noexcept
      : handle_{std::exchange(other.handle_, nullptr)}, file_{std::move(other.file_)} {}
  BasicLibrary& operator=(BasicLibrary&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(file_, other.file_);
    return *this;
  }

  /// A symbol's address, or null.
  void* symbol(const char* name) const noexcept {
    return handle_ != nullptr ? ::dlsym(handle_, name) : nullptr;
  }

  /// Closes the file behind the image. Models with appended weights reopen it while they are
  /// created, so call this after that; until then it costs a descriptor.
  void close_file() noexcept { file_.close(); }

  /// Unloads the shared object: none of its code may be running or be called again.
  void unload() noexcept {
    close_file();
    if (handle_ == nullptr) return;
    ::dlclose(handle_);
    handle_ = nullptr;
  }

 private:
  using File = detail::BasicImageFile<>;

  void* handle_ = nullptr;
  File file_;
};

using Library = BasicLibrary<>;

}  // namespace aoti::inline AOTI_ABI
