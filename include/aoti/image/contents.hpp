// SPDX-License-Identifier: BSD-3-Clause
// What an ELF image says about itself, read from its file: headers, dynamic section and symbols;
// and the edits that the copy that is loaded needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "aoti/file/bytes.hpp"
#include "aoti/image/check.hpp"
#include "aoti/image/elf.hpp"
#include "aoti/image/foreign.hpp"
#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI {

/// A symbol that an image expects others to provide; the name is a view into the image.
struct ImageImport {
  std::string_view name;
  bool weak;         ///< The image loads without it.
  std::uint64_t at;  ///< Where its symbol lies in the file.
};

/// A change to a copy of an image before it is loaded: the low `size` bytes of `value`,
/// little-endian, at `offset`.
struct ImageEdit {
  std::uint64_t offset;
  std::uint64_t value;
  std::size_t size;
};

namespace detail {

/// Filled by parse(); BasicImage derives the rest.
template <class = void> struct ImageContents {
  static constexpr std::uint64_t ignored_tag = 0x60000fff;  // ignored by every loader

  struct Unique {
    std::uint64_t offset;  ///< Of the symbol's info byte.
    unsigned char type;
  };

  Bytes bytes;
  ElfLayout elf;
  std::vector<std::string_view> needed;
  std::vector<std::uint64_t> needed_at;
  std::vector<ImageImport> imports;
  std::vector<std::string_view> exports;
  std::vector<ImageEdit> edits;  ///< Always made.
  bool executable_stack = false;
  std::vector<Unique> unique;
  std::vector<std::uint64_t>
      thread_exits;            ///< Offsets of relocations that name __cxa_thread_atexit.
  std::uint32_t harmless = 0;  ///< The symbol that they name after the edit.
  std::uint64_t elf_end = 0;
  Bytes weights;
  std::uint64_t weights_size = 0;
  Bytes constants;                  // all that lies between the symbols of embedded weights
  std::uint64_t weights_start = 0;  ///< Where its symbol lies in the file.
  std::uint64_t weights_end = 0;

  /// Reads the file with these `bytes`; called once. As BasicImage::parse.
  Result<void> parse(const std::string& origin) {
    ElfHeader header{};
    if (!as_text(bytes).starts_with(elf_magic)) {
      if (const auto [kind, machine] = foreign_image(bytes); !kind.empty()) {
        return Error{Errc::wrong_machine, origin,
                     concat({"the image is ", kind, " for ", machine,
                             "; this system loads ELF shared objects for ",
                             machine_name(host_machine), ": compile the model for it"})};
      }
      return Error{Errc::not_a_package, origin, "the image is not an ELF shared object"};
    }
    if (!read(bytes, 0, header)) return damaged(origin, "is cut off");
    if (header.bits != 2 || header.order != 1) {
      const auto machine = header.order == 2 ? __builtin_bswap16(header.machine) : header.machine;
      return Error{Errc::wrong_machine, origin,
                   concat({"the image is for ", machine_name(machine),
                           ", not for a 64-bit little-endian processor"})};
    }
    elf.bytes = bytes;
    elf.machine = header.machine;
    elf.abi = header.abi;
    elf.abi_version = header.padding[0];
    if (header.version != 1 || header.file_version != 1) {
      return damaged(origin, "has an unknown ELF version");
    }
    if (header.type != elf_shared_object) {
      return damaged(origin, "is an ELF file but not a shared object");
    }
    if (header.segment_size != sizeof(ElfSegment)) {
      return damaged(origin, "has program headers of the wrong size");
    }
    ElfSegment& dynamic = elf.dynamic;
    bool tells_of_stack = false;
    std::uint64_t spare = 0;  // a header that loading does not need
    for (std::uint64_t i = 0; i < header.segment_count; ++i) {
      ElfSegment segment{};
      const std::uint64_t at = header.segments + i * sizeof segment;
      if (!read(bytes, at, segment)) return damaged(origin, "lacks its program headers");
      if (segment.type == elf_dynamic) dynamic = segment;
      if (segment.type == elf_stack) {
        tells_of_stack = true;
        if ((segment.flags & elf_executable) != 0) forbid_executable_stack(at);
      }
      if (segment.type == elf_note || (segment.type == elf_relro && spare == 0)) {
        spare = at;
      }
      if (segment.type != elf_load) {
        elf.others.push_back(segment);
        continue;
      }
      if (!within(segment.offset, segment.file_size, bytes.size())) {
        return damaged(origin, "is cut off");
      }
      elf.loads.push_back(segment);
      reach(segment.offset + segment.file_size);
    }
    // Linkers put the section headers last; anything after them was appended to the ELF file.
    const std::uint64_t sections_size = std::uint64_t{header.section_count} * header.section_size;
    if (within(header.sections, sections_size, bytes.size())) {
      reach(header.sections + sections_size);
    }
    if (dynamic.type == 0 || !within(dynamic.offset, dynamic.file_size, bytes.size())) {
      return damaged(origin, "has no dynamic section");
    }
    if (!tells_of_stack) {
      if (spare == 0) return damaged(origin, "does not say what stack it needs");
      forbid_executable_stack(spare);
    }
    return parse_dynamic(origin);
  }

 private:
  /// The symbols around the embedded weights: index, place in the file, address.
  struct Weights {
    struct Symbol {
      std::uint64_t index = 0, at = 0, value = 0;
    };
    Symbol start, end;
  };

  [[gnu::cold]] static Error damaged(const std::string& origin, std::string_view what) {
    return {Errc::damaged_package, origin, concat({"the image ", what})};
  }

  /// Turns a program header into the one that describes the stack.
  void forbid_executable_stack(std::uint64_t header) {
    executable_stack = true;
    constexpr std::uint64_t flags = elf_readable | elf_writable;
    edits.push_back({header, elf_stack | flags << 32, 8});
  }

  void reach(std::uint64_t end) noexcept {
    if (end > elf_end) elf_end = end;
  }

  Result<void> parse_dynamic(const std::string& origin) {
    const Bytes string_table = elf.at(elf.tag(elf_strings));
    const std::uint64_t strings_size = elf.tag(elf_strings_size);
    if (string_table.size() < strings_size) return damaged(origin, "lacks its string table");
    elf.strings = as_text(string_table.first(strings_size));
    bool symbolic = false;  // the image binds its own symbols, without the loader
    elf.visit([&](const ElfDynamic& item, std::uint64_t at) {
      if (item.tag == elf_needed) {
        needed.push_back(elf.text(item.value));
        needed_at.push_back(at);
      }
      constexpr std::uint64_t no_open = 0x40;  // DF_1_NOOPEN
      if (item.tag == elf_flags_1 && (item.value & no_open) != 0) {
        edits.push_back({at + offsetof(ElfDynamic, value), item.value & ~no_open, 8});
      }
      if (item.tag == elf_soname) edits.push_back({at, ignored_tag, sizeof ignored_tag});
      symbolic |= item.tag == elf_symbolic ||
                  (item.tag == elf_flags && (item.value & 2) != 0);  // DF_SYMBOLIC
    });
    for (const std::string_view name : needed) {
      if (name.empty()) return damaged(origin, "has an invalid name of a needed library");
    }
    const std::uint64_t count = count_symbols();
    const Bytes table = elf.at(elf.tag(elf_symbols));
    if (count > table.size() / sizeof(ElfSymbol)) {
      return damaged(origin, "lacks its symbol table");
    }
    if (const char* wrong = ElfCheck::find_damage(elf, count)) {
      return damaged(origin, wrong);
    }
    Weights embedded;
    std::uint64_t thread_exit = 0;
    for (std::uint64_t i = 1; i < count; ++i) {
      ElfSymbol symbol{};
      if (!read(table, i * sizeof symbol, symbol)) break;
      const unsigned char binding = symbol.info >> 4;
      if (binding != elf_global && binding != elf_weak && binding != elf_unique) {
        continue;
      }
      const std::string_view name = elf.text(symbol.name);
      if (name.empty()) return damaged(origin, "has an invalid symbol name");
      const auto symbol_at =
          static_cast<std::uint64_t>(table.data() - bytes.data()) + i * sizeof symbol;
      if (symbol.section == 0) {
        if (name == "__cxa_thread_atexit") thread_exit = i;
        if (name == "aoti_torch_device_type_cpu") harmless = static_cast<std::uint32_t>(i);
        imports.push_back({name, binding == elf_weak, symbol_at});
      } else {
        exports.push_back(name);
      }
      const bool own = symbol.section != 0 && (symbol.other & 3) == 0;  // STV_DEFAULT
      if (own && name == "_binary_constants_bin_start")
        embedded.start = {i, symbol_at, symbol.value};
      if (own && name == "_binary_constants_bin_end") embedded.end = {i, symbol_at, symbol.value};
      if (binding == elf_unique) {
        const auto info_at = symbol_at + sizeof symbol.name;
        unique.push_back({info_at, static_cast<unsigned char>(symbol.info & 0xf)});
      }
    }
    bool asked = false;  // whether the code asks the loader where the weights are
    const auto visit = [&](Bytes relocations, std::uint64_t size) {
      ElfRelocation relocation{};
      const auto begin = static_cast<std::uint64_t>(relocations.data() - bytes.data());
      for (std::uint64_t at = 0; at < size; at += sizeof relocation) {
        if (!read(relocations, at, relocation)) break;
        asked |= relocation.symbol == embedded.start.index;
        if (thread_exit != 0 && relocation.symbol == thread_exit) {
          thread_exits.push_back(begin + at + offsetof(ElfRelocation, symbol));
        }
      }
    };
    visit(elf.at(elf.tag(elf_rela)), elf.tag(elf_rela_size));
    visit(elf.at(elf.tag(elf_plt_rela)), elf.tag(elf_plt_rela_size));
    if (embedded.start.value != 0 && embedded.end.value >= embedded.start.value) {
      weights_size = embedded.end.value - embedded.start.value;
      const Bytes rest = elf.at(embedded.start.value);
      if (weights_size <= rest.size()) constants = rest.first(weights_size);
    }
    if (asked && !symbolic) find_weights(embedded);
    return success();
  }

  /// Records where the weights lie, if they are large and in read-only memory.
  void find_weights(const Weights& found) {
    constexpr std::uint64_t few = 1 << 20;
    const std::uint64_t begin = found.start.value, end = found.end.value;
    const Bytes rest = elf.at(begin);
    if (begin == 0 || end < begin || end - begin < few || end - begin > rest.size()) return;
    for (const auto& segment : elf.loads) {
      const bool inside = begin >= segment.address && begin - segment.address < segment.file_size;
      if (!inside || (segment.flags & elf_writable) != 0) continue;
      weights = rest.first(end - begin);
      weights_start = found.start.at;
      weights_end = found.end.at;
    }
  }

  /// The number of dynamic symbols, which no field states.
  std::uint64_t count_symbols() const noexcept {
    std::uint32_t header[4] = {};
    if (const std::uint64_t address = elf.tag(elf_gnu_hash)) {
      // Lists the defined symbols, which come last: the end of the chain with the highest start.
      const Bytes table = elf.at(address);
      if (!read(table, 0, header)) return 0;  // buckets, first defined, bloom words, shift
      const std::uint64_t buckets_at = sizeof header + std::uint64_t{header[2]} * 8;
      const std::uint64_t chains_at = buckets_at + std::uint64_t{header[0]} * 4;
      std::uint32_t last = 0, value = 0;
      for (std::uint64_t i = 0; i < header[0]; ++i) {
        if (!read(table, buckets_at + i * 4, value)) return 0;
        if (value > last) last = value;
      }
      if (last == 0) {  // none is defined; linkers put the strings after the symbols
        const std::uint64_t symbols = elf.tag(elf_symbols);
        const std::uint64_t strings = elf.tag(elf_strings);
        return strings > symbols ? (strings - symbols) / sizeof(ElfSymbol) : header[1];
      }
      if (last < header[1]) return 0;
      for (std::uint64_t i = last;; ++i) {
        if (!read(table, chains_at + (i - header[1]) * 4, value)) return 0;
        if ((value & 1) != 0) return i + 1;
      }
    }
    const Bytes table = elf.at(elf.tag(elf_hash));
    return read(table, 0, header[0]) && read(table, 4, header[1]) ? header[1] : 0;
  }
};

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
