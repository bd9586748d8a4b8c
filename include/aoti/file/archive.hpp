// SPDX-License-Identifier: BSD-3-Clause
// The entries of a zip file, in place: a package's archive, read without extraction.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "aoti/file/bytes.hpp"
#include "aoti/file/foreign.hpp"
#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI {

/// One file of an archive or a directory; the views belong to whoever holds the bytes.
struct Entry {
  std::string_view name;
  Bytes data;
};

namespace detail {

// Byte layouts of the zip format, from PKWARE's APPNOTE.TXT.
#pragma pack(push, 1)
struct ZipLocal {  // 4.3.7
  std::uint32_t signature;
  std::uint16_t version, flags, method, time, date;
  std::uint32_t crc, packed, size;
  std::uint16_t name, extra;
};
struct ZipCentral {  // 4.3.12
  std::uint32_t signature;
  std::uint16_t made_by, version, flags, method, time, date;
  std::uint32_t crc, packed, size;
  std::uint16_t name, extra, comment, disk, internal;
  std::uint32_t external, offset;
};
struct ZipEnd {  // 4.3.16
  std::uint32_t signature;
  std::uint16_t disk, central_disk, entries_here, entries;
  std::uint32_t size, offset;
  std::uint16_t comment;
};
struct Zip64Locator {  // 4.3.15
  std::uint32_t signature, disk;
  std::uint64_t end;
  std::uint32_t disks;
};
struct Zip64End {  // 4.3.14
  std::uint32_t signature;
  std::uint64_t record;
  std::uint16_t made_by, version;
  std::uint32_t disk, central_disk;
  std::uint64_t entries_here, entries, size, offset;
};
#pragma pack(pop)

inline constexpr std::uint32_t zip_local = 0x04034b50;
inline constexpr std::uint32_t zip_central = 0x02014b50;
inline constexpr std::uint32_t zip_end = 0x06054b50;
inline constexpr std::uint32_t zip64_locator = 0x07064b50;
inline constexpr std::uint32_t zip64_end = 0x06064b50;
inline constexpr std::uint32_t zip_descriptor = 0x08074b50;

/// The C function: with <algorithm>, aoti/aoti.hpp would take 8 % more to compile (g++ 12).
inline void sort_by_name(std::vector<Entry>& entries) {
  static_assert(std::is_trivially_copyable_v<Entry>);
  if (entries.empty()) return;
  std::qsort(entries.data(), entries.size(), sizeof(Entry), [](const void* a, const void* b) {
    return static_cast<const Entry*>(a)->name.compare(static_cast<const Entry*>(b)->name);
  });
}

/// Whether a name is a relative path that stays below its root, without empty, "." or ".." parts.
inline bool is_safe_name(std::string_view name) noexcept {
  if (name.empty() || name.find('\0') != name.npos || name.find('\\') != name.npos) return false;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t slash = name.find('/', begin);
    const bool last = slash == name.npos;
    const std::string_view part = name.substr(begin, last ? slash : slash - begin);
    if (part == "." || part == ".." || (part.empty() && !(last && begin > 0))) return false;
    if (last) break;
    begin = slash + 1;
  }
  return true;
}

}  // namespace detail

/// The directory of a zip file whose entries are stored uncompressed, as in torch's packages. Owns
/// the list of entries, not the bytes. Immutable, so threads may share it.
template <class = void> class BasicArchive {
 public:
  /// Reads the directory and checks every entry against its local header. Zip64 is supported;
  /// contents are neither read nor checksummed.
  /// @param origin the name of the bytes in errors
  /// @errors not_a_package (not a zip file), damaged_package, unsupported (compressed, encrypted or
  ///         split over several files)
  /// @allocates the list of entries
  static Result<BasicArchive> parse(Bytes bytes, const std::string& origin) {
    Reader reader{bytes, origin};
    Directory directory{};
    AOTI_TRYV(reader.directory(directory));
    BasicArchive archive;
    std::uint64_t at = directory.offset;
    Result<void> stored = success();
    for (std::uint64_t i = 0; i < directory.entries; ++i) {
      Entry entry;
      if (auto done = reader.entry(at, entry); !done) {
        if (done.error().code() != Errc::unsupported) return std::move(done).error();
        if (stored) stored = std::move(done);  // the other entries show what it is
      }
      if (!entry.name.ends_with('/')) archive.entries_.push_back(entry);
    }
    if (at != directory.offset + directory.size) {
      return reader.damaged({"its directory does not have the size that it states"});
    }
    if (!stored) {
      const auto foreign = detail::describe_foreign_archive(archive.entries_);
      if (foreign.empty()) return std::move(stored).error();
      return Error{Errc::not_a_package, origin, std::string{foreign}};
    }
    detail::sort_by_name(archive.entries_);
    for (std::size_t i = 1; i < archive.entries_.size(); ++i) {
      if (archive.entries_[i].name == archive.entries_[i - 1].name) {
        return reader.damaged({"two entries are named ", archive.entries_[i].name});
      }
    }
    return archive;
  }

  /// Whether the bytes begin like a zip file.
  static bool recognises(Bytes bytes) noexcept {
    std::uint32_t signature = 0;
    return detail::read(bytes, 0, signature) &&
           (signature == detail::zip_local || signature == detail::zip_end);
  }

  /// Sorted by name.
  const std::vector<Entry>& entries() const noexcept { return entries_; }

 private:
  struct Directory {
    std::uint64_t entries, size, offset;
  };

  struct Reader {
    Bytes bytes;
    const std::string& origin;

    [[gnu::cold]] Error damaged(std::initializer_list<detail::Piece> pieces) const {
      return {Errc::damaged_package, origin, detail::concat(pieces)};
    }

    Result<void> directory(Directory& found) const {
      if (!recognises(bytes)) {
        return Error{Errc::not_a_package, origin, std::string{detail::describe_foreign(bytes)}};
      }
      // The end record lies within the last 64 KiB, followed only by its comment.
      detail::ZipEnd end{};
      const std::uint64_t last = bytes.size() < sizeof end ? 0 : bytes.size() - sizeof end;
      const std::uint64_t first = last < 0xffff ? 0 : last - 0xffff;
      std::uint64_t at = last + 1;
      do {
        if (at-- == first)
          return damaged({"the end of the zip file is missing: it may be cut off"});
      } while (!detail::read(bytes, at, end) || end.signature != detail::zip_end ||
               at + sizeof end + end.comment != bytes.size());
      found = {end.entries, end.size, end.offset};
      bool one_disk = end.disk == 0 && end.central_disk == 0 && end.entries_here == end.entries;
      detail::Zip64Locator locator{};
      if (at >= sizeof locator && detail::read(bytes, at - sizeof locator, locator) &&
          locator.signature == detail::zip64_locator) {
        detail::Zip64End wide{};
        if (!detail::read(bytes, locator.end, wide) || wide.signature != detail::zip64_end) {
          return damaged({"the zip64 end record is not where the locator says"});
        }
        found = {wide.entries, wide.size, wide.offset};
        one_disk = wide.disk == 0 && wide.central_disk == 0 && wide.entries_here == wide.entries;
        at = locator.end;
      }
      if (!one_disk) return Error{Errc::unsupported, origin, "the zip file is split over several"};
      if (!detail::within(found.offset, found.size, at) || found.offset + found.size != at ||
          found.entries > found.size / sizeof(detail::ZipCentral)) {
        return damaged({"its directory does not lie where the end record says"});
      }
      return success();
    }

    /// Reads the entry at `at`, and moves `at` past it.
    Result<void> entry(std::uint64_t& at, Entry& out) const {
      detail::ZipCentral central{};
      if (!detail::read(bytes, at, central) || central.signature != detail::zip_central) {
        return damaged({"an entry of its directory is missing"});
      }
      const std::uint64_t name_at = at + sizeof central;
      const std::uint64_t extra_at = name_at + central.name;
      at = extra_at + central.extra + central.comment;
      if (at > bytes.size()) return damaged({"an entry of its directory is cut off"});
      const std::string_view name = detail::as_text(bytes.subspan(name_at, central.name));
      if (!detail::is_safe_name(name)) {
        return damaged({"the entry name '", name, "' is not a path inside the package"});
      }
      std::uint64_t size = central.size, packed = central.packed, offset = central.offset;
      if (!widen(bytes.subspan(extra_at, central.extra), size, packed, offset)) {
        return damaged({"the zip64 sizes of ", name, " are missing"});
      }
      out.name = name;
      if ((central.flags & 1) != 0 || central.method != 0) {
        return Error{Errc::unsupported, origin,
                     detail::concat({name, " is ", central.method != 0 ? "compressed" : "encrypted",
                                     "; a package's entries must be stored as they are: unpack it, "
                                     "and open the directory or pack it by `zip -0 -r`"})};
      }
      detail::ZipLocal local{};
      if (!detail::read(bytes, offset, local) || local.signature != detail::zip_local) {
        return damaged({name, " does not lie where the directory says"});
      }
      const std::uint64_t data_at = offset + sizeof local + local.name + local.extra;
      if (local.method != central.method || local.name != central.name ||
          !detail::within(offset + sizeof local, local.name, bytes.size()) ||
          detail::as_text(bytes.subspan(offset + sizeof local, local.name)) != name) {
        return damaged({"the header of ", name, " contradicts the directory"});
      }
      if (size != packed || !detail::within(data_at, size, bytes.size())) {
        return damaged({name, " is cut off"});
      }
      if (!sizes_agree(local, central, size, data_at + size)) {
        return damaged({"the size or checksum of ", name, " contradicts its header"});
      }
      out = {name, bytes.subspan(data_at, size)};
      return success();
    }

    /// Takes the numbers that did not fit the header from the zip64 extra field (4.5.3).
    static bool widen(Bytes extra, std::uint64_t& size, std::uint64_t& packed,
                      std::uint64_t& offset) noexcept {
      std::uint64_t* wanted[] = {&size, &packed, &offset};
      bool missing = false;
      for (const std::uint64_t* number : wanted) missing |= *number == 0xffffffff;
      std::uint16_t field[2] = {};  // id, size
      for (std::uint64_t at = 0; missing && detail::read(extra, at, field); at += 4 + field[1]) {
        if (field[0] != 1) continue;
        std::uint64_t value_at = at + sizeof field;
        const std::uint64_t end = value_at + field[1];
        for (std::uint64_t* number : wanted) {
          if (*number != 0xffffffff) continue;
          if (value_at + sizeof *number > end || !detail::read(extra, value_at, *number)) {
            return false;
          }
          value_at += sizeof *number;
        }
        return true;
      }
      return !missing;
    }

    /// Compares the directory with the local header, or with the data descriptor after the data
    /// (4.3.9), whose signature is optional and whose sizes have four or eight bytes.
    bool sizes_agree(const detail::ZipLocal& local, const detail::ZipCentral& central,
                     std::uint64_t size, std::uint64_t end) const noexcept {
      if ((local.flags & 8) == 0) {
        return local.crc == central.crc && (local.size == size || local.size == 0xffffffff);
      }
      std::uint32_t word = 0;
      if (detail::read(bytes, end, word) && word == detail::zip_descriptor) end += sizeof word;
      std::uint32_t narrow[3] = {};
      std::uint64_t wide[2] = {};
      if (!detail::read(bytes, end, narrow) || narrow[0] != central.crc) return false;
      if (narrow[1] == size && narrow[2] == size) return true;
      return detail::read(bytes, end + sizeof word, wide) && wide[0] == size && wide[1] == size;
    }
  };

  std::vector<Entry> entries_;
};

using Archive = BasicArchive<>;

}  // namespace aoti::inline AOTI_ABI
