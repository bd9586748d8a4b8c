// SPDX-License-Identifier: BSD-3-Clause
// The folder from which a GPU model loads its kernels: drivers read them from files.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/file/temporary.hpp"
#include "aoti/package/package.hpp"

namespace aoti::inline AOTI_ABI {

/// The kernels that lie beside a model's image, as files. Those of a .pt2 file are written into a
/// private folder in $TMPDIR, which is removed with this object; those of an unpacked package stay
/// where they are. A model may load kernels until it is deleted. Without kernels there is no
/// folder.
template <class = void> class BasicKernelFolder {
 public:
  /// @errors library_load_failed (the folder or a file cannot be written), out_of_memory (the disk
  ///         is full)
  static Result<BasicKernelFolder> make(const PackagedModel& model) {
    BasicKernelFolder folder;
    for (const Entry& file : model.files) {
      if (!is_kernel(file.name)) continue;
      if (!model.folder.empty()) {
        folder.path_ = model.folder;
        return folder;
      }
      AOTI_TRYV(folder.write(file, model.origin));
    }
    return folder;
  }

  BasicKernelFolder() noexcept = default;
  BasicKernelFolder(BasicKernelFolder&& other) noexcept
      : path_{std::exchange(other.path_, {})}, files_{std::exchange(other.files_, {})} {}
  BasicKernelFolder& operator=(BasicKernelFolder&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(files_, other.files_);
    return *this;
  }
  ~BasicKernelFolder() {
    if (files_.empty()) return;
    for (const std::string& file : files_) ::unlink(file.c_str());
    ::rmdir(path_.c_str());
  }

  /// Empty if the model has no kernels.
  const std::string& path() const noexcept { return path_; }

 private:
  static bool is_kernel(std::string_view name) noexcept {
    for (const std::string_view ending : {".cubin", ".fatbin", ".hsaco", ".spv", ".zebin"}) {
      if (name.ends_with(ending)) return true;
    }
    return false;
  }

  Result<void> write(const Entry& entry, const std::string& origin) {
    if (path_.empty()) {
      std::string path = detail::temporary_path();
      if (::mkdtemp(path.data()) == nullptr) return failure(origin, path);
      path_ = std::move(path);
    }
    files_.push_back(detail::concat({path_, "/", entry.name}));
    const std::string& path = files_.back();
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) return failure(origin, path);
    Result<void> done = success();
    if (!detail::write_all(file, entry.data, 0)) done = failure(origin, path);
    ::close(file);
    return done;
  }

  [[gnu::cold]] static Error failure(const std::string& origin, const std::string& path) {
    return detail::file_error(origin, "writing the kernel " + path);
  }

  std::string path_;
  std::vector<std::string> files_;  // files that this wrote
};

}  // namespace aoti::inline AOTI_ABI
