// SPDX-License-Identifier: BSD-3-Clause
// 64-bit ELF files, by the System V gABI and its GNU extensions: layouts, constants, and where
// things lie in a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "aoti/file/bytes.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail {

struct ElfHeader {
  unsigned char magic[4], bits, order, version, abi, padding[8];
  std::uint16_t type, machine;
  std::uint32_t file_version;
  std::uint64_t entry, segments, sections;
  std::uint32_t flags;
  std::uint16_t size, segment_size, segment_count, section_size, section_count, names;
};
struct ElfSegment {
  std::uint32_t type, flags;
  std::uint64_t offset, address, physical, file_size, memory_size, align;
};
struct ElfDynamic {
  std::int64_t tag;
  std::uint64_t value;
};
struct ElfRelocation {
  std::uint64_t offset;
  std::uint32_t type, symbol;
  std::int64_t addend;
};
struct ElfSymbol {
  std::uint32_t name;
  unsigned char info, other;
  std::uint16_t section;
  std::uint64_t value, size;
};
// The needed versions of a library's symbols, and the defined ones; each is followed by the list of
// their names.
struct ElfNeededVersion {
  std::uint16_t version, count;
  std::uint32_t file, first, next;
};
struct ElfNeededVersionName {
  std::uint32_t hash;
  std::uint16_t flags, index;
  std::uint32_t name, next;
};
struct ElfDefinedVersion {
  std::uint16_t version, flags, index, count;
  std::uint32_t hash, first, next;
};
struct ElfDefinedVersionName {
  std::uint32_t name, next;
};

/// How each file begins; in two parts, since "\x7fE" would be one character.
inline constexpr std::string_view elf_magic =
    "\x7f"
    "ELF";
inline constexpr std::uint16_t elf_shared_object = 3;
/// Kinds of segments.
inline constexpr std::uint32_t elf_load = 1, elf_dynamic = 2, elf_note = 4, elf_headers = 6,
                               elf_thread_local = 7, elf_unwinding = 0x6474e550,
                               elf_stack = 0x6474e551, elf_relro = 0x6474e552,
                               elf_property = 0x6474e553;
/// What a segment's memory may be used for.
inline constexpr std::uint32_t elf_executable = 1, elf_writable = 2, elf_readable = 4;
/// Tags of the dynamic section.
inline constexpr std::int64_t elf_needed = 1, elf_plt_rela_size = 2, elf_plt_got = 3, elf_hash = 4,
                              elf_strings = 5, elf_symbols = 6, elf_rela = 7, elf_rela_size = 8,
                              elf_rela_entry = 9, elf_strings_size = 10, elf_symbol_entry = 11,
                              elf_init = 12, elf_fini = 13, elf_soname = 14, elf_rpath = 15,
                              elf_symbolic = 16, elf_rel = 17, elf_plt_kind = 20,
                              elf_text_relocations = 22, elf_plt_rela = 23, elf_init_array = 25,
                              elf_fini_array = 26, elf_init_array_size = 27,
                              elf_fini_array_size = 28, elf_run_path = 29, elf_flags = 30,
                              elf_relr_size = 35, elf_relr = 36, elf_relr_entry = 37,
                              elf_gnu_hash = 0x6ffffef5, elf_version_symbols = 0x6ffffff0,
                              elf_rela_count = 0x6ffffff9, elf_flags_1 = 0x6ffffffb,
                              elf_defined_versions = 0x6ffffffc, elf_needed_versions = 0x6ffffffe,
                              elf_auxiliary = 0x7ffffffd, elf_filter = 0x7fffffff;
/// Bindings, kinds, sections and visibilities of symbols.
inline constexpr unsigned char elf_global = 1, elf_weak = 2, elf_unique = 10, elf_function = 2,
                               elf_tls_symbol = 6, elf_indirect = 10, elf_hidden = 2;
inline constexpr std::uint16_t elf_undefined = 0, elf_absolute = 0xfff1;
/// Processors.
inline constexpr std::uint16_t elf_x86_64 = 62, elf_aarch64 = 183;

/// Whether this system's images are ELF files.
inline constexpr bool host_has_elf =
#if defined(__ELF__)
    true;
#else
    false;
#endif

/// The ELF number of the processor that this program was compiled for; 0 if not known.
inline constexpr std::uint16_t host_machine =
#if !defined(__ELF__)
    0;
#elif defined(__x86_64__)
    elf_x86_64;
#elif defined(__aarch64__)
        elf_aarch64;
#elif defined(__riscv)
        243;
#elif defined(__powerpc64__)
        21;
#else
        0;
#endif

/// What a file's headers say about where things lie.
struct ElfLayout {
  Bytes bytes;  ///< The file's.
  std::uint16_t machine = 0;
  unsigned char abi = 0, abi_version = 0;  ///< The system that it is for.
  std::vector<ElfSegment> loads;           ///< The segments that are loaded.
  std::vector<ElfSegment> others;          ///< Segments that describe a part of them.
  ElfSegment dynamic{};                    ///< The segment of the dynamic section.
  std::string_view strings;                ///< The names of symbols and libraries.

  /// The file's bytes from a virtual address to the end of its segment; empty if it has none there.
  Bytes at(std::uint64_t address) const noexcept {
    for (const ElfSegment& segment : loads) {
      if (address >= segment.address && address - segment.address < segment.file_size) {
        const std::uint64_t skip = address - segment.address;
        return bytes.subspan(segment.offset + skip, segment.file_size - skip);
      }
    }
    return {};
  }

  /// Whether memory lies within one segment that has all of these flags.
  bool has(std::uint64_t address, std::uint64_t size, std::uint32_t flags) const noexcept {
    for (const ElfSegment& segment : loads) {
      if (address >= segment.address &&
          within(address - segment.address, size, segment.memory_size)) {
        return (segment.flags & flags) == flags;
      }
    }
    return false;
  }

  /// The value of a tag in the dynamic section; the last one if there are several, as for loaders;
  /// 0 if there is none.
  std::uint64_t tag(std::int64_t wanted) const noexcept {
    std::uint64_t value = 0;
    visit([&](const ElfDynamic& item, std::uint64_t) {
      if (item.tag == wanted) value = item.value;
    });
    return value;
  }

  /// The string at an offset of the string table; empty if there is none.
  std::string_view text(std::uint64_t offset) const noexcept {
    if (offset >= strings.size()) return {};
    constexpr std::size_t longest = 8192;  // so that a file cannot make every name an endless one
    const std::string_view rest = strings.substr(offset, longest);
    const std::size_t end = rest.find('\0');
    return end == rest.npos ? std::string_view{} : rest.substr(0, end);
  }

  /// Calls `f(outer, inner)` for each link of a chain of chains, whose links only lead forward.
  template <class Outer, class Inner, class F> static void visit_versions(Bytes all, F&& f) {
    Outer outer{};
    for (std::uint64_t at = 0; read(all, at, outer); at += outer.next) {
      Inner inner{};
      for (std::uint64_t in = at + outer.first; read(all, in, inner); in += inner.next) {
        f(outer, inner);
        if (inner.next == 0) break;
      }
      if (outer.next == 0) break;
    }
  }

  /// Whether the image needs versions of a library's symbols. If the loader then finds no such
  /// library, it ends the process.
  bool needs_versions_of(std::string_view library) const {
    bool found = false;
    visit_needed_versions([&](std::string_view of, auto&&...) { found |= of == library; });
    return found;
  }

  /// Where the system's loader first looks for needed libraries: folders separated by colons.
  std::string_view search_path() const noexcept {
    const std::uint64_t run_path = tag(elf_run_path);  // without it, the older tag counts
    const std::uint64_t path = run_path != 0 ? run_path : tag(elf_rpath);
    return path != 0 ? text(path) : std::string_view{};
  }

  /// Calls `f(library, version, weak)` for each version that the image needs of another library.
  template <class F> void visit_needed_versions(F&& f) const {
    const std::uint64_t address = tag(elf_needed_versions);
    if (address == 0) return;
    visit_versions<ElfNeededVersion, ElfNeededVersionName>(
        at(address), [&](const ElfNeededVersion& of, const ElfNeededVersionName& version) {
          f(text(of.file), text(version.name), (version.flags & elf_weak) != 0);
        });
  }

  /// Calls `f(item, offset)` for the items of the dynamic section up to its end, marked by a zero;
  /// false if it is not marked.
  template <class F> bool visit(F&& f) const {
    ElfDynamic item{};
    for (std::uint64_t at = 0; at + sizeof item <= dynamic.file_size; at += sizeof item) {
      if (!read(bytes, dynamic.offset + at, item)) return false;
      if (item.tag == 0) return true;
      f(item, dynamic.offset + at);
    }
    return false;
  }
};

}  // namespace detail

/// The name of an ELF machine number.
constexpr std::string_view machine_name(std::uint16_t machine) noexcept {
  switch (machine) {
    case 3:
      return "i386";
    case 21:
      return "ppc64le";
    case 22:
      return "s390x";
    case 40:
      return "arm";
    case detail::elf_x86_64:
      return "x86_64";
    case detail::elf_aarch64:
      return "aarch64";
    case 243:
      return "riscv64";
    default:
      return "an unknown machine";
  }
}

}  // namespace aoti::inline AOTI_ABI
