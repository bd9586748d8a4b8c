// SPDX-License-Identifier: BSD-3-Clause
// Checks everything in a file that the system's loader follows unchecked: a damaged file would
// otherwise end the process while it is loaded.
#pragma once

#include <bit>
#include <cstdint>

#include "aoti/file/bytes.hpp"
#include "aoti/image/check_symbols.hpp"
#include "aoti/image/elf.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Checks the tables of a file against one another, but not the code and data that they lead to.
class ElfCheck {
 public:
  /// The damage, as the rest of a sentence that begins with "the image"; null if there is none.
  /// @param symbols the number of dynamic symbols
  static const char* find_damage(const ElfLayout& elf, std::uint64_t symbols) noexcept {
    const ElfCheck check{elf, symbols};
    const ElfSymbolsCheck tables{elf, symbols};
    if (!check.segments()) return "has segments that contradict one another";
    if (!check.dynamic_section()) return "has a dynamic section that contradicts itself";
    if (!tables.hash_table()) return "has a damaged table of names";
    if (!tables.symbol_values()) return "has a symbol outside of its memory";
    if (!tables.versions()) return "has a damaged table of versions";
    if (!check.start_and_end()) return "has functions for its start or end outside of its code";
    if (check.changes_code()) return "was compiled without -fPIC: its code has relocations";
    std::uint64_t called = 0;
    if (!check.relocations(elf_rela, elf_rela_size, called) ||
        !check.relocations(elf_plt_rela, elf_plt_rela_size, called) ||
        !check.packed_relocations(called) || called != (check.init_.size + check.fini_.size) / 8) {
      return "has a damaged relocation";
    }
    return nullptr;
  }

 private:
  /// An array of functions that are called when the image is loaded or unloaded.
  struct Array {
    std::uint64_t at, size;
    bool holds(std::uint64_t address) const noexcept {
      return address >= at && address - at < size;
    }
  };

  ElfCheck(const ElfLayout& elf, std::uint64_t symbols) noexcept
      : elf_{elf},
        symbols_{symbols},
        init_{elf.tag(elf_init_array), elf.tag(elf_init_array_size)},
        fini_{elf.tag(elf_fini_array), elf.tag(elf_fini_array_size)} {}

  bool is_code(std::uint64_t address) const noexcept {
    return elf_.has(address, 1, elf_executable);
  }
  bool is_writable(std::uint64_t address, std::uint64_t size) const noexcept {
    return elf_.has(address, size, elf_writable);
  }
  /// The `size` bytes of the file at an address; empty if they are not all in the file.
  Bytes table(std::uint64_t address, std::uint64_t size) const noexcept {
    const Bytes rest = elf_.at(address);
    return size <= rest.size() ? rest.first(size) : Bytes{};
  }

  bool segments() const noexcept {
    constexpr std::uint64_t most_memory = std::uint64_t{1} << 36;  // besides what is in the file
    std::uint64_t end = 0;
    for (const ElfSegment& segment : elf_.loads) {
      const std::uint64_t last = segment.address + segment.memory_size;
      if (segment.memory_size < segment.file_size ||
          segment.memory_size - segment.file_size > most_memory || last < segment.address ||
          segment.address < end || (segment.flags & elf_readable) == 0) {
        return false;
      }
      end = last;
    }
    for (const ElfSegment& segment : elf_.others) {
      const bool is_memory = segment.type == elf_dynamic || segment.type == elf_note ||
                             segment.type == elf_headers || segment.type == elf_property ||
                             segment.type == elf_unwinding || segment.type == elf_thread_local;
      if (is_memory && segment.file_size != 0) {
        const Bytes found = table(segment.address, segment.file_size);
        if (found.empty() ||
            static_cast<std::uint64_t>(found.data() - elf_.bytes.data()) != segment.offset) {
          return false;
        }
      }
      if (segment.type == elf_relro && !elf_.has(segment.address, 0, 0)) {
        return false;
      }
      constexpr std::uint64_t most = 1 << 26, page = 4096;
      if (segment.type == elf_thread_local &&
          (segment.memory_size < segment.file_size || segment.memory_size > most ||
           segment.align > page || (segment.align != 0 && !std::has_single_bit(segment.align)))) {
        return false;
      }
    }
    return true;
  }

  bool dynamic_section() const noexcept {
    const std::uint64_t strings = elf_.tag(elf_strings_size);
    bool good = true;
    const bool ends = elf_.visit([&](const ElfDynamic& item, std::uint64_t) {
      switch (item.tag) {
        case elf_needed:
        case elf_soname:
        case elf_rpath:
        case elf_run_path:
        case elf_auxiliary:
        case elf_filter:
          good &= item.value != 0 && item.value < strings;
          break;
        case elf_plt_got:
          good &= elf_.has(item.value, 1, 0);
          break;
        case elf_hash:  // the file's header is at zero
        case elf_gnu_hash:
        case elf_strings:
        case elf_symbols:
        case elf_rela:
        case elf_plt_rela:
        case elf_relr:
        case elf_init:
        case elf_fini:
        case elf_init_array:
        case elf_fini_array:
        case elf_version_symbols:
        case elf_needed_versions:
        case elf_defined_versions:
          good &= item.value != 0;
          break;
        case elf_rela_entry:
          good &= item.value == sizeof(ElfRelocation);
          break;
        case elf_symbol_entry:
          good &= item.value == sizeof(ElfSymbol);
          break;
        case elf_relr_entry:
          good &= item.value == sizeof(std::uint64_t);
          break;
        case elf_plt_kind:
          good &= item.value == static_cast<std::uint64_t>(elf_rela);
          break;
        case elf_rel:  // no 64-bit processor that torch runs on uses these
          good = false;
          break;
        default:
          break;
      }
    });
    // Each table comes with its size, and with the size or the kind of an entry.
    constexpr std::int64_t pairs[][2] = {
        {elf_symbols, elf_symbol_entry},   {elf_rela, elf_rela_size},
        {elf_rela_size, elf_rela},         {elf_rela, elf_rela_entry},
        {elf_plt_rela, elf_plt_kind},      {elf_plt_rela, elf_plt_rela_size},
        {elf_plt_rela_size, elf_plt_rela}, {elf_relr, elf_relr_size},
        {elf_relr_size, elf_relr},         {elf_relr, elf_relr_entry}};
    for (const auto& [tag, needed] : pairs) good &= elf_.tag(tag) == 0 || elf_.tag(needed) != 0;
    return good && ends;
  }

  bool changes_code() const noexcept {
    bool changes = false;
    elf_.visit([&](const ElfDynamic& item, std::uint64_t) {
      constexpr std::uint64_t text_relocations = 4;  // DF_TEXTREL
      changes |= item.tag == elf_text_relocations ||
                 (item.tag == elf_flags && (item.value & text_relocations) != 0);
    });
    return changes;
  }

  bool is_memory_or_its_end(std::uint64_t address) const noexcept {
    return elf_.has(address, 0, 0);
  }

  bool start_and_end() const noexcept {
    for (const std::int64_t tag : {elf_init, elf_fini}) {
      const std::uint64_t address = elf_.tag(tag);
      if (address != 0 && !is_code(address)) return false;
    }
    for (const Array& array : {init_, fini_}) {
      if (array.size == 0) continue;
      if (array.size % 8 != 0 || !is_writable(array.at, array.size)) return false;
    }
    return true;
  }

  /// What a relocation writes: an address that it contains, the result of calling one, two words,
  /// or else one word that depends on a symbol.
  enum class Kind { unknown, nothing, address, called, pair, other };

  /// The known types, by processor.
  struct Type {
    std::uint16_t machine;
    std::uint32_t number;
    Kind kind;
  };
  static constexpr Type types[] = {
      {elf_x86_64, 1, Kind::other},        // R_X86_64_64
      {elf_x86_64, 6, Kind::other},        // GLOB_DAT
      {elf_x86_64, 7, Kind::other},        // JUMP_SLOT
      {elf_x86_64, 8, Kind::address},      // RELATIVE
      {elf_x86_64, 16, Kind::other},       // DTPMOD64
      {elf_x86_64, 17, Kind::other},       // DTPOFF64
      {elf_x86_64, 18, Kind::other},       // TPOFF64
      {elf_x86_64, 36, Kind::pair},        // TLSDESC
      {elf_x86_64, 37, Kind::called},      // IRELATIVE
      {elf_aarch64, 257, Kind::other},     // R_AARCH64_ABS64
      {elf_aarch64, 1025, Kind::other},    // GLOB_DAT
      {elf_aarch64, 1026, Kind::other},    // JUMP_SLOT
      {elf_aarch64, 1027, Kind::address},  // RELATIVE
      {elf_aarch64, 1028, Kind::other},    // TLS_DTPMOD
      {elf_aarch64, 1029, Kind::other},    // TLS_DTPREL
      {elf_aarch64, 1030, Kind::other},    // TLS_TPREL
      {elf_aarch64, 1031, Kind::pair},     // TLSDESC
      {elf_aarch64, 1032, Kind::called},   // IRELATIVE
  };

  /// Only for this machine's images, since others are not loaded, and only for known types.
  Kind kind(std::uint32_t number) const noexcept {
    if (number == 0) return Kind::nothing;
    bool known = false;
    for (const Type& type : types) {
      if (type.machine != host_machine || type.machine != elf_.machine) continue;
      if (type.number == number) return type.kind;
      known = true;
    }
    return known ? Kind::unknown : Kind::other;
  }

  /// @param called counts the relocations of functions in the two arrays
  bool relocations(std::int64_t tag, std::int64_t size_tag, std::uint64_t& called) const noexcept {
    const std::uint64_t size = elf_.tag(size_tag);
    if (size == 0) return true;
    const Bytes all = table(elf_.tag(tag), size);
    if (all.empty() || size % sizeof(ElfRelocation) != 0) return false;
    // The first ones, this many, contain addresses, and loaders do not check them.
    const std::uint64_t stated = tag == elf_rela ? elf_.tag(elf_rela_count) : 0;
    ElfRelocation item{};
    for (std::uint64_t at = 0; read(all, at, item); at += sizeof item) {
      const Kind does = kind(item.type);
      if (at / sizeof item < stated && does != Kind::address && elf_.machine == host_machine) {
        return false;
      }
      if (does == Kind::nothing) continue;
      const auto addend = static_cast<std::uint64_t>(item.addend);
      const bool in_array = init_.holds(item.offset) || fini_.holds(item.offset);
      called += in_array;
      const bool good =
          does != Kind::unknown && (item.symbol < symbols_ || item.symbol == 0) &&
          is_writable(item.offset, does == Kind::pair ? 16 : 8) &&
          (does != Kind::called || is_code(addend)) &&
          (does != Kind::address || (in_array ? is_code(addend) : is_memory_or_its_end(addend)));
      if (!good) return false;
    }
    return true;
  }

  /// DT_RELR: an address, or 63 bits for the words after the last one.
  bool packed_relocations(std::uint64_t& called) const noexcept {
    const std::uint64_t size = elf_.tag(elf_relr_size);
    if (size == 0) return true;
    const Bytes all = table(elf_.tag(elf_relr), size);
    if (all.empty() || size % 8 != 0) return false;
    const auto good = [&](std::uint64_t address) {
      if (!is_writable(address, 8)) return false;
      if (!init_.holds(address) && !fini_.holds(address)) return true;
      ++called;
      std::uint64_t function = 0;
      return read(elf_.at(address), 0, function) && is_code(function);
    };
    std::uint64_t word = 0, next = 0;
    for (std::uint64_t at = 0; read(all, at, word); at += sizeof word) {
      if ((word & 1) == 0) {
        if (!good(word)) return false;
        next = word + 8;
        continue;
      }
      for (std::uint64_t bit = 1; bit < 64; ++bit, next += 8) {
        if ((word >> bit & 1) != 0 && !good(next)) return false;
      }
    }
    return true;
  }

  const ElfLayout& elf_;
  std::uint64_t symbols_;
  Array init_, fini_;
};

}  // namespace aoti::inline AOTI_ABI::detail
