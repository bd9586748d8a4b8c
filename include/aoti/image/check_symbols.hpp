// SPDX-License-Identifier: BSD-3-Clause
// Checks a file's tables of symbols, symbol names and versions against one another before the
// system's loader follows them.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "aoti/file/bytes.hpp"
#include "aoti/image/elf.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// A check for each of these tables: false if it is damaged.
struct ElfSymbolsCheck {
  const ElfLayout& elf;
  std::uint64_t symbols;  ///< The number of dynamic symbols.

  bool hash_table() const noexcept {
    if (const std::uint64_t address = elf.tag(elf_gnu_hash)) {
      const Bytes all = elf.at(address);
      std::uint32_t header[4] = {};  // buckets, first defined symbol, bloom words, shift
      if (!read(all, 0, header) || header[0] == 0 || !std::has_single_bit(header[2]) ||
          header[3] >= 32 || header[1] > symbols) {
        return false;
      }
      const std::uint64_t buckets_at = sizeof header + std::uint64_t{header[2]} * 8;
      const std::uint64_t chains_at = buckets_at + std::uint64_t{header[0]} * 4;
      if (!within(chains_at, (symbols - header[1]) * 4, all.size())) return false;
      std::uint32_t value = 0;
      for (std::uint64_t i = 0; i < header[0]; ++i) {
        if (!read(all, buckets_at + i * 4, value)) return false;
        if (value != 0 && (value < header[1] || value >= symbols)) return false;
      }
    }
    if (const std::uint64_t address = elf.tag(elf_hash)) {
      const Bytes all = elf.at(address);
      std::uint32_t header[2] = {};  // buckets, chains
      if (!read(all, 0, header) || header[0] == 0 || header[1] != symbols) return false;
      std::uint64_t steps = 0;  // a chain that leads back to itself would be followed forever
      for (std::uint64_t i = 0; i < header[0]; ++i) {
        std::uint32_t symbol = 0;
        if (!read(all, sizeof header + i * 4, symbol)) return false;
        while (symbol != 0) {
          if (symbol >= symbols || ++steps > symbols ||
              !read(all, sizeof header + (header[0] + std::uint64_t{symbol}) * 4, symbol)) {
            return false;
          }
        }
      }
    }
    return true;
  }

  bool symbol_values() const noexcept {
    std::uint64_t thread_local_size = 0;
    for (const ElfSegment& segment : elf.others) {
      if (segment.type == elf_thread_local) thread_local_size = segment.memory_size;
    }
    const Bytes table = elf.at(elf.tag(elf_symbols));
    const std::uint64_t strings = elf.tag(elf_strings_size);
    for (std::uint64_t i = 0; i < symbols; ++i) {
      ElfSymbol symbol{};
      if (!read(table, i * sizeof symbol, symbol) || symbol.name >= strings) return false;
      if (symbol.section == elf_undefined || symbol.section == elf_absolute) continue;
      const unsigned char kind = symbol.info & 0xf;
      const bool is_function = kind == elf_function || kind == elf_indirect;
      const bool good = kind == elf_tls_symbol ? symbol.value <= thread_local_size
                        : is_function          ? elf.has(symbol.value, 1, elf_executable)
                                               : elf.has(symbol.value, 0, 0);
      if (!good) return false;
    }
    return true;
  }

  bool versions() const noexcept {
    std::uint32_t last = 1;  // the highest index; 0 and 1 stand for no version
    const std::uint64_t defined = elf.tag(elf_defined_versions);
    const std::uint64_t needed = elf.tag(elf_needed_versions);
    if (defined == 0 && needed == 0 && elf.tag(elf_version_symbols) == 0) return true;
    const bool good =
        (defined == 0 || chain<ElfDefinedVersion, ElfDefinedVersionName>(elf.at(defined), last)) &&
        (needed == 0 || chain<ElfNeededVersion, ElfNeededVersionName>(elf.at(needed), last));
    if (!good) return false;
    const Bytes of_symbols = elf.at(elf.tag(elf_version_symbols));
    for (std::uint64_t i = 0; i < symbols; ++i) {
      std::uint16_t index = 0;
      if (!read(of_symbols, i * sizeof index, index) || (index & 0x7fffu) > last) return false;
    }
    return true;
  }

 private:
  /// Follows a chain of chains, whose links only lead forward.
  template <class Outer, class Inner> bool chain(Bytes all, std::uint32_t& last) const noexcept {
    const std::uint64_t strings = elf.tag(elf_strings_size);
    const auto note = [&](std::uint16_t index) {
      if ((index & 0x7fffu) > last) last = index & 0x7fffu;
    };
    for (std::uint64_t at = 0;;) {
      Outer outer{};
      if (!read(all, at, outer) || outer.version != 1) return false;
      if constexpr (requires { outer.index; }) note(outer.index);
      if constexpr (requires { outer.file; }) {
        if (!is_needed(outer.file)) return false;
      }
      for (std::uint64_t inner_at = at + outer.first;;) {
        Inner inner{};
        if (!read(all, inner_at, inner) || inner.name >= strings) return false;
        if constexpr (requires { inner.index; }) note(inner.index);
        if (inner.next == 0) break;
        inner_at += inner.next;
      }
      if (outer.next == 0) return true;
      at += outer.next;
    }
  }

  /// Whether a name is that of a library that the image needs: loaders rely on it.
  bool is_needed(std::uint32_t name) const noexcept {
    const std::string_view text = elf.text(name);
    bool found = false;
    elf.visit([&](const ElfDynamic& item, std::uint64_t) {
      found |= item.tag == elf_needed && elf.text(item.value) == text;
    });
    return found && !text.empty();
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
