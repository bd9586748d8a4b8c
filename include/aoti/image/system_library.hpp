// SPDX-License-Identifier: BSD-3-Clause
// The libraries that an image needs, found as glibc's loader would. Nothing is loaded.
#pragma once

#include <dlfcn.h>
#include <link.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "aoti/file/mapping.hpp"
#include "aoti/image/elf.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// A library that this process has loaded, or that its loader would load from a file.
template <class = void> class BasicSystemLibrary {
 public:
  /// The library that a name among the needed libraries of `image` refers to.
  static BasicSystemLibrary find(const std::string& name, const ElfLayout& image) {
    BasicSystemLibrary library;
    if (library.look_at_loaded(name)) return library;
    library.here_ = search(name, image, [&](const std::string& path) {
      return library.look_at_file(path, image.machine);
    });
    return library;
  }

  /// Whether there is such a library.
  bool is_here() const noexcept { return here_; }

  /// Its file, or an empty string if that is not known.
  const std::string& path() const noexcept { return path_; }

  /// Whether it has a version of its symbols; a library without versions has every one.
  bool has_version(std::string_view wanted) const {
    const std::uint64_t versions = address(elf_defined_versions);
    if (versions == 0) return true;
    bool found = false;
    ElfLayout::visit_versions<ElfDefinedVersion, ElfDefinedVersionName>(
        elf_.at(versions), [&](const ElfDefinedVersion&, const ElfDefinedVersionName& version) {
          found |= elf_.text(version.name) == wanted;
        });
    return found;
  }

 private:
  /// An address in the dynamic section, some of which the loader turns into memory addresses.
  std::uint64_t address(std::int64_t tag) const noexcept {
    const std::uint64_t value = elf_.tag(tag);
    return value >= base_ ? value - base_ : value;
  }

  void find_strings() {
    const Bytes strings = elf_.at(address(elf_strings));
    const std::uint64_t size = elf_.tag(elf_strings_size);
    if (size <= strings.size()) elf_.strings = as_text(strings.first(size));
  }

  bool look_at_loaded(const std::string& name) {
    void* handle = ::dlopen(name.c_str(), RTLD_LAZY | RTLD_NOLOAD);
    if (handle == nullptr) return false;
    look_at(handle);
    ::dlclose(handle);
    return true;
  }

  void look_at(void* handle) {
    here_ = true;
    link_map* map = nullptr;
    if (::dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map->l_addr == 0) return;
    path_ = map->l_name;
    constexpr std::uint64_t unbounded = PTRDIFF_MAX;  // it is loaded, and so complete
    base_ = map->l_addr;
    elf_.bytes = {reinterpret_cast<const std::byte*>(base_), unbounded};
    ElfSegment all{};
    all.file_size = all.memory_size = unbounded;
    elf_.loads = {all};
    elf_.dynamic.offset = reinterpret_cast<std::uintptr_t>(map->l_ld) - base_;
    elf_.dynamic.file_size = unbounded - elf_.dynamic.offset;
    find_strings();
  }

  /// Whether a file is a library for that processor; the loader skips others.
  bool look_at_file(const std::string& path, std::uint16_t machine) {
    auto mapping = Mapping::open(path);
    if (!mapping) return false;
    const Bytes bytes = mapping.value().bytes();
    ElfHeader header{};
    if (!as_text(bytes).starts_with(elf_magic) || !read(bytes, 0, header) || header.bits != 2 ||
        header.machine != machine) {
      return false;
    }
    file_ = std::move(mapping).value();
    path_ = path;
    elf_.bytes = bytes;
    for (std::uint64_t i = 0; i < header.segment_count; ++i) {
      ElfSegment segment{};
      if (!read(bytes, header.segments + i * sizeof segment, segment)) break;
      if (!within(segment.offset, segment.file_size, bytes.size())) continue;
      if (segment.type == elf_load) elf_.loads.push_back(segment);
      if (segment.type == elf_dynamic) elf_.dynamic = segment;
    }
    find_strings();
    return true;
  }

  /// Whether `fits(path)` holds for one of the files that the loader would try, or this cannot be
  /// known. Skips its subfolders for newer processors: the folders above have the same libraries.
  template <class Fits>
  static bool search(const std::string& name, const ElfLayout& image, Fits&& fits) {
    if (name.find('/') != name.npos) return fits(name);
    const std::string last = "/" + name;
    bool known = true;
    for (std::string_view rest = image.search_path(); !rest.empty();) {
      const std::string_view folder = rest.substr(0, rest.find(':'));
      rest.remove_prefix(folder.size() < rest.size() ? folder.size() + 1 : folder.size());
      if (folder.find('$') == folder.npos) {
        if (fits(std::string{folder} + last)) return true;
      } else if (folder.find("ORIGIN") == folder.npos) {  // an image in memory has none
        known = false;
      }
    }
    static const char here = 0;
    Dl_info info{};
    void* own = nullptr;  // the link map of the library that this code is in, which is its handle
    Dl_serinfo size{};
    if (::dladdr1(&here, &info, &own, RTLD_DL_LINKMAP) == 0 || own == nullptr ||
        ::dlinfo(own, RTLD_DI_SERINFOSIZE, &size) != 0) {
      return true;
    }
    std::vector<std::uint64_t> room(size.dls_size / sizeof(std::uint64_t) + 1);
    auto* const folders = reinterpret_cast<Dl_serinfo*>(room.data());
    *folders = size;
    if (::dlinfo(own, RTLD_DI_SERINFO, folders) != 0) return true;
    const Dl_serpath* const paths = folders->dls_serpath;
    for (unsigned i = 0; i < folders->dls_cnt; ++i) {
      if (fits(paths[i].dls_name + last)) return true;
    }
    const auto cache = Mapping::open("/etc/ld.so.cache");
    if (!cache) return !known;
    const std::string_view text = as_text(cache.value().bytes());
    const std::string_view ending{last.c_str(), last.size() + 1};  // including the null terminator
    for (auto at = text.find(ending); at != text.npos; at = text.find(ending, at + 1)) {
      const std::size_t begin = text.rfind('\0', at) + 1;
      if (fits(std::string{text.substr(begin, at - begin)} + last)) return true;
    }
    return !known;
  }

  bool here_ = false;
  std::string path_;
  Mapping file_;  // of a library that is not loaded
  ElfLayout elf_;
  std::uint64_t base_ = 0;
};

using SystemLibrary = BasicSystemLibrary<>;

}  // namespace aoti::inline AOTI_ABI::detail
