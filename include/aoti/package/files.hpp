// SPDX-License-Identifier: BSD-3-Clause
// The files of a package, wherever they lie: in a zip file, in a directory, in memory, or beside a
// bare image.
#pragma once

#include <dirent.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/file/archive.hpp"
#include "aoti/file/mapping.hpp"
#include "aoti/image/image.hpp"

namespace aoti::inline AOTI_ABI {

/// Named read-only files. Owns the mappings behind them; bytes that were given stay the caller's.
/// Immutable, so threads may share it.
template <class T = void> class BasicFiles {
  using Archive = BasicArchive<T>;

 public:
  /// Maps a zip file, every regular file below a directory, or an image and the files that torch
  /// wrote beside it under its name.
  /// @errors not_found, not_a_package, damaged_package, unsupported, out_of_memory
  static Result<BasicFiles> open(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      return Error{Errc::not_found, path, std::strerror(errno), errno};
    }
    BasicFiles files;
    if (S_ISDIR(status.st_mode)) {
      AOTI_TRYV(files.add_directory(path, "", 0));
      for (std::size_t i = 0; i < files.entries_.size(); ++i) {
        files.entries_[i].name = files.names_[i];
      }
      detail::sort_by_name(files.entries_);
      return files;
    }
    AOTI_TRY(auto mapping, Mapping::open(path));
    files.mappings_.push_back(std::move(mapping));
    const Bytes bytes = files.mappings_.back().bytes();
    if (Image::recognises(bytes)) return std::move(files).with_image(bytes, path);
    return std::move(files).with_archive(bytes, path);
  }

  /// The entries of a zip file in memory, or an image; the bytes must outlive the result.
  /// @errors not_a_package, damaged_package, unsupported
  static Result<BasicFiles> from_bytes(Bytes bytes, const std::string& origin) {
    if (Image::recognises(bytes)) return BasicFiles{}.with_image(bytes, {});
    return BasicFiles{}.with_archive(bytes, origin);
  }

  BasicFiles(BasicFiles&&) noexcept = default;
  BasicFiles& operator=(BasicFiles&&) noexcept = default;

  /// Sorted by name.
  const std::vector<Entry>& entries() const noexcept { return entries_; }

  /// Whether they lie in a directory.
  bool are_unpacked() const noexcept { return !names_.empty() && !bare_; }

  /// Whether they are an image, which comes first, and the files beside it.
  bool are_bare() const noexcept { return bare_; }

  /// The mapping that holds an entry's bytes; empty for bytes that were given.
  Mapping mapping_of(Bytes data) const noexcept {
    for (const Mapping& mapping : mappings_) {
      if (mapping.holds(data)) return mapping;
    }
    return {};
  }

 private:
  // A directory that is not a package, such as "/", must not be walked to its end.
  static constexpr int max_depth = 16;
  static constexpr std::size_t max_files = 10'000;

  BasicFiles() = default;

  Result<BasicFiles> with_archive(Bytes bytes, const std::string& origin) && {
    AOTI_TRY(const auto archive, Archive::parse(bytes, origin));
    entries_ = archive.entries();
    return std::move(*this);
  }

  /// @param path where the image lies; empty for one in memory
  BasicFiles with_image(Bytes image, const std::string& path) && {
    bare_ = true;
    std::string stem = path;
    if (stem.ends_with(".so")) stem.resize(stem.size() - 3);
    names_.push_back(path.empty() ? ".so" : path);
    entries_.push_back({{}, image});
    for (const char* ending : {".cpp", ".json", "_metadata.json", "_weights.blob"}) {
      if (stem == path) break;  // not a name that torch uses
      auto mapping = Mapping::open(stem + ending);
      if (!mapping) continue;
      names_.push_back(stem + ending);
      entries_.push_back({{}, mapping.value().bytes()});
      mappings_.push_back(std::move(mapping).value());
    }
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      entries_[i].name = names_[i];
      entries_[i].name.remove_prefix(entries_[i].name.rfind('/') + 1);
    }
    return std::move(*this);
  }

  Result<void> add_directory(const std::string& path, const std::string& prefix, int depth) {
    DIR* directory = ::opendir(path.c_str());
    if (directory == nullptr) return Error{Errc::not_found, path, std::strerror(errno), errno};
    Result<void> result = success();
    while (const dirent* item = ::readdir(directory)) {
      const std::string_view name = item->d_name;
      if (name == "." || name == "..") continue;
      result = add(path, detail::concat({path, "/", name}), detail::concat({prefix, name}), depth);
      if (!result) break;
    }
    ::closedir(directory);
    return result;
  }

  Result<void> add(const std::string& top, const std::string& path, std::string name, int depth) {
    struct stat status {};
    if (++visited_ > max_files) {
      return Error{Errc::not_a_package, top, "the directory holds too many files for a package"};
    }
    // Links to files are followed, links to directories are not: they could lead anywhere.
    if (::lstat(path.c_str(), &status) != 0) return success();
    if (S_ISDIR(status.st_mode) && depth < max_depth) {
      return add_directory(path, name + "/", depth + 1);
    }
    if (S_ISLNK(status.st_mode) && ::stat(path.c_str(), &status) != 0) return success();
    if (!S_ISREG(status.st_mode)) return success();
    AOTI_TRY(auto mapping, Mapping::open(path));
    mappings_.push_back(std::move(mapping));
    names_.push_back(std::move(name));
    entries_.push_back({{}, mappings_.back().bytes()});
    return success();
  }

  bool bare_ = false;
  std::size_t visited_ = 0;
  std::vector<Entry> entries_;
  std::vector<Mapping> mappings_;
  std::vector<std::string>
      names_;  // of files that are not in an archive; entries are views into it
};

using Files = BasicFiles<>;

}  // namespace aoti::inline AOTI_ABI
