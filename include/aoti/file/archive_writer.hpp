// SPDX-License-Identifier: BSD-3-Clause
// Writes zip files whose entries are stored and aligned, so that they can be used in place.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/file/archive.hpp"
#include "aoti/file/temporary.hpp"

namespace aoti::inline AOTI_ABI {

/// Writes a zip file entry by entry. The file appears under its name when all of it is written;
/// until then, and if that fails, a file that was there stays as it was. Not thread-safe.
class ArchiveWriter {
 public:
  /// The data of every entry begins at a multiple of this.
  static constexpr std::uint64_t alignment = 64;

  /// @errors not_found (the folder is not there, or may not be written to), out_of_memory
  static Result<ArchiveWriter> create(std::string path) {
    // Other processes and threads may write a file of that name, too.
    static std::atomic<unsigned> count = 0;
    std::string temporary = detail::concat({path, ".", ::getpid(), ".", count.fetch_add(1)});
    const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0) return failure(path, "creating the file");
    return ArchiveWriter{std::move(path), std::move(temporary), file};
  }

  ArchiveWriter(ArchiveWriter&& other) noexcept
      : path_{std::move(other.path_)},
        temporary_{std::move(other.temporary_)},
        file_{std::exchange(other.file_, -1)},
        at_{other.at_},
        central_{std::move(other.central_)},
        count_{other.count_} {}
  ArchiveWriter& operator=(ArchiveWriter&&) = delete;
  ~ArchiveWriter() {
    if (file_ < 0) return;
    ::close(file_);
    ::unlink(temporary_.c_str());
  }

  /// Adds an entry. Names are not checked for duplicates.
  /// @errors invalid_argument (a name of more than 64 KiB), out_of_memory (the disk is full),
  ///         not_found (the file cannot be written)
  Result<void> add(std::string_view name, Bytes data) {
    if (name.size() > 0xffff) {
      return Error{Errc::invalid_argument, path_,
                   detail::concat({"the name of an entry has ", name.size(), " bytes"})};
    }
    const bool large = data.size() >= none || at_ >= none;
    const std::uint64_t sizes[] = {data.size(), data.size()};
    const std::uint64_t header = sizeof(detail::ZipLocal) + name.size() + (large ? 20 : 0);
    // An extra field, whose head takes 4 bytes, fills the gap before the data.
    const std::uint64_t gap = (alignment - (at_ + header + 4) % alignment) % alignment;
    const auto small = static_cast<std::uint32_t>(large ? none : data.size());
    const std::uint32_t crc = crc_of(data);
    std::string out;
    append(out, detail::ZipLocal{detail::zip_local, version, 0, 0, 0, date, crc, small, small,
                                 static_cast<std::uint16_t>(name.size()),
                                 static_cast<std::uint16_t>((large ? 20 : 0) + 4 + gap)});
    out += name;
    if (large) {
      append(out, std::array<std::uint16_t, 2>{1, 16});
      append(out, sizes);
    }
    append(out, std::array<std::uint16_t, 2>{padding, static_cast<std::uint16_t>(gap)});
    out.append(gap, '\0');

    append(central_, detail::ZipCentral{detail::zip_central, version, version, 0, 0, 0, date, crc,
                                        small, small, static_cast<std::uint16_t>(name.size()),
                                        static_cast<std::uint16_t>(large ? 28 : 0), 0, 0, 0, 0,
                                        static_cast<std::uint32_t>(large ? none : at_)});
    central_ += name;
    if (large) {
      append(central_, std::array<std::uint16_t, 2>{1, 24});
      append(central_, sizes);
      append(central_, at_);
    }
    ++count_;
    AOTI_TRYV(write(as_bytes(out)));
    return write(data);
  }

  /// Completes the file, and gives it its name; nothing can be added afterwards.
  /// @errors out_of_memory (the disk is full), not_found (the file cannot be written)
  Result<void> finish() && {
    ArchiveWriter self{std::move(*this)};
    const std::uint64_t start = self.at_, size = self.central_.size();
    std::string end;
    if (start >= none || self.count_ >= 0xffff) {
      append(end, detail::Zip64End{detail::zip64_end, sizeof(detail::Zip64End) - 12, version,
                                   version, 0, 0, self.count_, self.count_, size, start});
      append(end, detail::Zip64Locator{detail::zip64_locator, 0, start + size, 1});
    }
    const auto entries = static_cast<std::uint16_t>(self.count_ < 0xffff ? self.count_ : 0xffff);
    append(end, detail::ZipEnd{detail::zip_end, 0, 0, entries, entries,
                               static_cast<std::uint32_t>(size < none ? size : none),
                               static_cast<std::uint32_t>(start < none ? start : none), 0});
    AOTI_TRYV(self.write(as_bytes(self.central_)));
    AOTI_TRYV(self.write(as_bytes(end)));
    if (::rename(self.temporary_.c_str(), self.path_.c_str()) != 0) {
      return failure(self.path_, "giving the file its name");
    }
    ::close(std::exchange(self.file_, -1));
    return success();
  }

 private:
  static constexpr std::uint64_t none = 0xffffffff;  // "see the 64-bit field"
  static constexpr std::uint16_t version = 45;       // the first with 64-bit fields
  static constexpr std::uint16_t date = 0x21;        // 1980-01-01, so that files can be reproduced
  static constexpr std::uint16_t padding = 0x4246;   // "FB", as torch names its own

  ArchiveWriter(std::string path, std::string temporary, int file)
      : path_{std::move(path)}, temporary_{std::move(temporary)}, file_{file} {}

  [[gnu::cold]] static Error failure(const std::string& path, std::string_view what) {
    const int code = errno;
    const bool memory = code == ENOMEM || code == ENOSPC;
    return {memory ? Errc::out_of_memory : Errc::not_found, path,
            detail::concat({what, ": ", std::strerror(code)}), code};
  }

  template <class T> static void append(std::string& out, const T& value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  static Bytes as_bytes(const std::string& text) noexcept {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
  }

  Result<void> write(Bytes bytes) {
    if (!detail::write_all(file_, bytes, at_)) return failure(path_, "writing");
    at_ += bytes.size();
    return success();
  }

  /// CRC-32 as zip uses it (APPNOTE.TXT 4.4.7).
  static std::uint32_t crc_of(Bytes data) noexcept {
    static constexpr auto table = [] {
      std::array<std::uint32_t, 256> table{};
      for (std::uint32_t i = 0; i < 256; ++i) {
        table[i] = i;
        for (int bit = 0; bit < 8; ++bit)
          table[i] = (table[i] >> 1) ^ (table[i] & 1 ? 0xedb88320 : 0);
      }
      return table;
    }();
    std::uint32_t crc = 0xffffffff;
    for (const std::byte byte : data) {
      crc = (crc >> 8) ^ table[(crc ^ static_cast<std::uint32_t>(byte)) & 0xff];
    }
    return ~crc;
  }

  std::string path_;
  std::string temporary_;
  int file_;
  std::uint64_t at_ = 0;
  std::string central_;
  std::uint64_t count_ = 0;
};

}  // namespace aoti::inline AOTI_ABI
