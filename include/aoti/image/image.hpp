// SPDX-License-Identifier: BSD-3-Clause
// A model's image, an ELF shared object, read before anything of it is loaded.
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

namespace aoti {

/// A symbol that an image expects others to provide; the name is a view into the image.
struct ImageImport {
  std::string_view name;
  bool weak;         ///< The image loads without it.
  std::uint64_t at;  ///< Where its symbol lies in the file.
};

/// A change to be made to a copy of an image before it is loaded: the low `size` bytes of
/// `value`, little-endian, at `offset`.
struct ImageEdit {
  std::uint64_t offset;
  std::uint64_t value;
  std::size_t size;
};

/// A part of an image's file.
struct ImagePart {
  std::uint64_t offset;
  std::uint64_t size;
};

/// What an image states about itself. The names are views into the image's bytes.
template <class = void> class BasicImage {
 public:
  /// Whether the bytes begin as a shared object does, of this system or another.
  static bool recognises(Bytes bytes) noexcept {
    return detail::as_text(bytes).starts_with(detail::elf_magic) ||
           !detail::foreign_image(bytes).kind.empty();
  }

  /// Reads headers and dynamic symbols. Every offset is checked, also those that only the system's
  /// loader follows, since the file may be damaged; code and data are not.
  /// @param origin what the image is called in errors
  /// @errors not_a_package (no ELF file), wrong_machine (a 32-bit or big-endian one, or one of a
  ///         system that has no ELF), damaged_package
  /// @allocates the lists of names
  static Result<BasicImage> parse(Bytes bytes, const std::string& origin) {
    BasicImage image;
    image.bytes_ = bytes;
    if (auto done = image.parse(origin); !done) return std::move(done).error();
    return image;
  }

  /// The ELF machine number: detail::host_machine is this machine's.
  std::uint16_t machine() const noexcept { return elf_.machine; }
  /// The libraries that the image asks for.
  const std::vector<std::string_view>& needed() const noexcept { return needed_; }
  /// Where what lies in the file.
  const detail::ElfLayout& layout() const noexcept { return elf_; }
  /// The symbols that others must provide, and those that it provides.
  const std::vector<ImageImport>& imports() const noexcept { return imports_; }
  const std::vector<std::string_view>& exports() const noexcept { return exports_; }

  bool has_export(std::string_view name) const noexcept {
    for (const std::string_view symbol : exports_) {
      if (symbol == name) return true;
    }
    return false;
  }

  /// Whether the image asks for an executable stack: expressly, or by not saying that it needs
  /// none.
  bool wants_executable_stack() const noexcept { return executable_stack_; }

  /// The changes with which the image loads on its own terms: without the libraries for which
  /// `drop(name)` holds, without a wish for an executable stack, which all threads of the process
  /// would get, without a name under which the loader would give it to others, and with its
  /// STB_GNU_UNIQUE symbols, which the loader would share with other images of the process and
  /// which keep an image from ever being unloaded, made ordinary. Nor does it register destructors
  /// of thread-local objects, a model's last error, since a thread that once called the model would
  /// keep it loaded as long as the thread lives: the call goes to a function without effect that
  /// every model imports.
  template <class Drop> std::vector<ImageEdit> edits(Drop&& drop) const {
    std::vector<ImageEdit> edits = edits_;
    for (std::size_t i = 0; i < needed_.size(); ++i) {
      if (drop(needed_[i])) edits.push_back({needed_at_[i], ignored_tag, sizeof ignored_tag});
    }
    for (const std::uint64_t offset : thread_exits_) {
      if (harmless_ != 0) edits.push_back({offset, harmless_, sizeof harmless_});
    }
    for (const auto& [offset, type] : unique_) {
      edits.push_back({offset, static_cast<std::uint64_t>(detail::elf_weak << 4 | type), 1});
    }
    return edits;
  }

  /// The changes that bind imports, so that the system's loader looks for none of them: each for
  /// which `bind(import, address)` holds becomes a hidden symbol of the image's own, at an absolute
  /// address of this process. It works for every processor, since no relocation is touched.
  template <class Bind> std::vector<ImageEdit> bind_imports(Bind&& bind) const {
    std::vector<ImageEdit> edits;
    for (const ImageImport& import : imports_) {
      const void* address = nullptr;
      if (!bind(import, address)) continue;
      place(edits, import.at, address);
      edits.push_back({import.at + offsetof(detail::ElfSymbol, other), detail::elf_hidden, 1});
    }
    return edits;
  }

  /// The parts of the file that a copy needs for loading: its segments, and what was appended to
  /// the ELF file, but no symbol tables and debug information. With `without_weights`, not the
  /// pages of the embedded weights either.
  /// Empty for an image that was not parsed.
  /// @allocates the list
  std::vector<ImagePart> parts(bool without_weights) const {
    if (elf_.loads.empty()) return {};
    constexpr std::uint64_t page = 65536;  // no system's pages are larger
    std::vector<ImagePart> parts{{0, bytes_.size() < page ? bytes_.size() : page}};  // the headers
    std::uint64_t from = 0, to = 0;
    if (without_weights && !weights_.empty()) {
      const auto begin = static_cast<std::uint64_t>(weights_.data() - bytes_.data());
      from = (begin + page - 1) / page * page;
      to = (begin + weights_.size()) / page * page;
    }
    for (const auto& segment : elf_.loads) {
      const std::uint64_t begin = segment.offset, end = segment.offset + segment.file_size;
      if (from >= begin && to <= end && from < to) {
        parts.push_back({begin, from - begin});
        parts.push_back({to, end - to});
      } else {
        parts.push_back({begin, segment.file_size});
      }
    }
    parts.push_back({elf_end_, bytes_.size() - elf_end_});
    return parts;
  }

  /// The weights inside the image, which a model copies when it is created; empty where there are
  /// none to speak of, or where they are not read-only.
  Bytes weights() const noexcept { return weights_; }

  /// The bytes that the image has in the place of embedded weights: 1 where it came without any; 8,
  /// their size, where they are in a file beside it; 0 where the image does not say.
  std::uint64_t weights_size() const noexcept { return weights_size_; }

  /// The changes with which the model finds its embedded weights at another address of this
  /// process: the symbols of their start and end become absolute.
  std::vector<ImageEdit> move_weights(const std::byte* to) const {
    std::vector<ImageEdit> edits;
    place(edits, weights_start_, to);
    place(edits, weights_end_, to + weights_.size());
    return edits;
  }

 private:
  static constexpr std::uint64_t ignored_tag = 0x60000fff;  // of no meaning to any loader

  /// The symbols around the embedded weights: index, place in the file, address.
  struct Weights {
    struct Symbol {
      std::uint64_t index = 0, at = 0, value = 0;
    };
    Symbol start, end;
  };

  struct Unique {
    std::uint64_t offset;  // of the symbol's info byte
    unsigned char type;
  };

  /// Makes the symbol at an offset of the file one for an absolute address.
  static void place(std::vector<ImageEdit>& edits, std::uint64_t symbol, const void* address) {
    constexpr std::uint64_t absolute = 0xfff1;  // SHN_ABS
    edits.push_back({symbol + offsetof(detail::ElfSymbol, section), absolute, 2});
    edits.push_back({symbol + offsetof(detail::ElfSymbol, value),
                     reinterpret_cast<std::uintptr_t>(address), 8});
  }

  [[gnu::cold]] static Error damaged(const std::string& origin, std::string_view what) {
    return {Errc::damaged_package, origin, detail::concat({"the image ", what})};
  }

  Result<void> parse(const std::string& origin) {
    detail::ElfHeader header{};
    if (!detail::as_text(bytes_).starts_with(detail::elf_magic)) {
      if (const auto [kind, machine] = detail::foreign_image(bytes_); !kind.empty()) {
        return Error{
            Errc::wrong_machine, origin,
            detail::concat({"the image is ", kind, " for ", machine,
                            "; this system has ELF shared objects for ",
                            machine_name(detail::host_machine), ": compile the model for it"})};
      }
      return Error{Errc::not_a_package, origin, "the image is not an ELF shared object"};
    }
    if (!detail::read(bytes_, 0, header)) return damaged(origin, "is cut off");
    if (header.bits != 2 || header.order != 1) {
      const auto machine = header.order == 2 ? __builtin_bswap16(header.machine) : header.machine;
      return Error{Errc::wrong_machine, origin,
                   detail::concat({"the image is for ", machine_name(machine),
                                   ", not for a 64-bit little-endian processor"})};
    }
    elf_.bytes = bytes_;
    elf_.machine = header.machine;
    elf_.abi = header.abi;
    elf_.abi_version = header.padding[0];
    if (header.version != 1 || header.file_version != 1) {
      return damaged(origin, "is of an unknown version of ELF");
    }
    if (header.type != detail::elf_shared_object) {
      return damaged(origin, "is an ELF file but not a shared object");
    }
    if (header.segment_size != sizeof(detail::ElfSegment)) {
      return damaged(origin, "has program headers of another size");
    }
    detail::ElfSegment& dynamic = elf_.dynamic;
    bool tells_of_stack = false;
    std::uint64_t spare = 0;  // a header that loading can do without
    for (std::uint64_t i = 0; i < header.segment_count; ++i) {
      detail::ElfSegment segment{};
      const std::uint64_t at = header.segments + i * sizeof segment;
      if (!detail::read(bytes_, at, segment)) return damaged(origin, "lacks its program headers");
      if (segment.type == detail::elf_dynamic) dynamic = segment;
      if (segment.type == detail::elf_stack) {
        tells_of_stack = true;
        if ((segment.flags & detail::elf_executable) != 0) forbid_executable_stack(at);
      }
      if (segment.type == detail::elf_note || (segment.type == detail::elf_relro && spare == 0)) {
        spare = at;
      }
      if (segment.type != detail::elf_load) {
        elf_.others.push_back(segment);
        continue;
      }
      if (!detail::within(segment.offset, segment.file_size, bytes_.size())) {
        return damaged(origin, "is cut off");
      }
      elf_.loads.push_back(segment);
      reach(segment.offset + segment.file_size);
    }
    // Linkers put the section headers last; what comes behind them was appended to the ELF file.
    const std::uint64_t sections_size = std::uint64_t{header.section_count} * header.section_size;
    if (detail::within(header.sections, sections_size, bytes_.size())) {
      reach(header.sections + sections_size);
    }
    if (dynamic.type == 0 || !detail::within(dynamic.offset, dynamic.file_size, bytes_.size())) {
      return damaged(origin, "has no dynamic section");
    }
    if (!tells_of_stack) {
      if (spare == 0) return damaged(origin, "does not tell what stack it needs");
      forbid_executable_stack(spare);
    }
    return parse_dynamic(origin);
  }

  /// Makes a program header the one that tells of the stack.
  void forbid_executable_stack(std::uint64_t header) {
    executable_stack_ = true;
    constexpr std::uint64_t flags = detail::elf_readable | detail::elf_writable;
    edits_.push_back({header, detail::elf_stack | flags << 32, 8});
  }

  void reach(std::uint64_t end) noexcept {
    if (end > elf_end_) elf_end_ = end;
  }

  Result<void> parse_dynamic(const std::string& origin) {
    const Bytes string_table = elf_.at(elf_.tag(detail::elf_strings));
    const std::uint64_t strings_size = elf_.tag(detail::elf_strings_size);
    if (string_table.size() < strings_size) return damaged(origin, "lacks its string table");
    elf_.strings = detail::as_text(string_table.first(strings_size));
    bool symbolic = false;  // the image binds its own symbols without asking the loader
    elf_.visit([&](const detail::ElfDynamic& item, std::uint64_t at) {
      if (item.tag == detail::elf_needed) {
        needed_.push_back(elf_.text(item.value));
        needed_at_.push_back(at);
      }
      constexpr std::uint64_t no_open = 0x40;  // DF_1_NOOPEN
      if (item.tag == detail::elf_flags_1 && (item.value & no_open) != 0) {
        edits_.push_back({at + offsetof(detail::ElfDynamic, value), item.value & ~no_open, 8});
      }
      if (item.tag == detail::elf_soname) edits_.push_back({at, ignored_tag, sizeof ignored_tag});
      symbolic |= item.tag == detail::elf_symbolic ||
                  (item.tag == detail::elf_flags && (item.value & 2) != 0);  // DF_SYMBOLIC
    });
    for (const std::string_view name : needed_) {
      if (name.empty()) return damaged(origin, "names a needed library badly");
    }
    const std::uint64_t count = count_symbols();
    const Bytes table = elf_.at(elf_.tag(detail::elf_symbols));
    if (count > table.size() / sizeof(detail::ElfSymbol)) {
      return damaged(origin, "lacks its symbol table");
    }
    if (const char* wrong = detail::ElfCheck<>::find_damage(elf_, count)) {
      return damaged(origin, wrong);
    }
    Weights weights;
    std::uint64_t thread_exit = 0;
    for (std::uint64_t i = 1; i < count; ++i) {
      detail::ElfSymbol symbol{};
      if (!detail::read(table, i * sizeof symbol, symbol)) break;
      const unsigned char binding = symbol.info >> 4;
      if (binding != detail::elf_global && binding != detail::elf_weak &&
          binding != detail::elf_unique) {
        continue;
      }
      const std::string_view name = elf_.text(symbol.name);
      if (name.empty()) return damaged(origin, "names a symbol badly");
      const auto symbol_at =
          static_cast<std::uint64_t>(table.data() - bytes_.data()) + i * sizeof symbol;
      if (symbol.section == 0) {
        if (name == "__cxa_thread_atexit") thread_exit = i;
        if (name == "aoti_torch_device_type_cpu") harmless_ = static_cast<std::uint32_t>(i);
        imports_.push_back({name, binding == detail::elf_weak, symbol_at});
      } else {
        exports_.push_back(name);
      }
      const bool own = symbol.section != 0 && (symbol.other & 3) == 0;  // STV_DEFAULT
      if (own && name == "_binary_constants_bin_start")
        weights.start = {i, symbol_at, symbol.value};
      if (own && name == "_binary_constants_bin_end") weights.end = {i, symbol_at, symbol.value};
      if (binding == detail::elf_unique) {
        const auto info_at = symbol_at + sizeof symbol.name;
        unique_.push_back({info_at, static_cast<unsigned char>(symbol.info & 0xf)});
      }
    }
    bool asked = false;  // whether the code asks the loader where the weights are
    const auto visit = [&](Bytes relocations, std::uint64_t size) {
      detail::ElfRelocation relocation{};
      const auto begin = static_cast<std::uint64_t>(relocations.data() - bytes_.data());
      for (std::uint64_t at = 0; at < size; at += sizeof relocation) {
        if (!detail::read(relocations, at, relocation)) break;
        asked |= relocation.symbol == weights.start.index;
        if (thread_exit != 0 && relocation.symbol == thread_exit) {
          thread_exits_.push_back(begin + at + offsetof(detail::ElfRelocation, symbol));
        }
      }
    };
    visit(elf_.at(elf_.tag(detail::elf_rela)), elf_.tag(detail::elf_rela_size));
    visit(elf_.at(elf_.tag(detail::elf_plt_rela)), elf_.tag(detail::elf_plt_rela_size));
    if (weights.start.value != 0 && weights.end.value >= weights.start.value) {
      weights_size_ = weights.end.value - weights.start.value;
    }
    if (asked && !symbolic) find_weights(weights);
    return success();
  }

  /// Notes where the weights lie, if there are some worth a special treatment in read-only memory.
  void find_weights(const Weights& found) {
    constexpr std::uint64_t few = 1 << 20;
    const std::uint64_t begin = found.start.value, end = found.end.value;
    const Bytes rest = elf_.at(begin);
    if (begin == 0 || end < begin || end - begin < few || end - begin > rest.size()) return;
    for (const auto& segment : elf_.loads) {
      const bool inside = begin >= segment.address && begin - segment.address < segment.file_size;
      if (!inside || (segment.flags & detail::elf_writable) != 0) continue;
      weights_ = rest.first(end - begin);
      weights_start_ = found.start.at;
      weights_end_ = found.end.at;
    }
  }

  /// The number of dynamic symbols, which no field of its own states.
  std::uint64_t count_symbols() const noexcept {
    std::uint32_t header[4] = {};
    if (const std::uint64_t address = elf_.tag(detail::elf_gnu_hash)) {
      // Lists the defined symbols, which come last: the end of the chain with the highest start.
      const Bytes table = elf_.at(address);
      if (!detail::read(table, 0, header)) return 0;  // buckets, first defined, bloom words, shift
      const std::uint64_t buckets_at = sizeof header + std::uint64_t{header[2]} * 8;
      const std::uint64_t chains_at = buckets_at + std::uint64_t{header[0]} * 4;
      std::uint32_t last = 0, value = 0;
      for (std::uint64_t i = 0; i < header[0]; ++i) {
        if (!detail::read(table, buckets_at + i * 4, value)) return 0;
        if (value > last) last = value;
      }
      if (last == 0) {  // none is defined; the strings follow the symbols where linkers put them
        const std::uint64_t symbols = elf_.tag(detail::elf_symbols);
        const std::uint64_t strings = elf_.tag(detail::elf_strings);
        return strings > symbols ? (strings - symbols) / sizeof(detail::ElfSymbol) : header[1];
      }
      if (last < header[1]) return 0;
      for (std::uint64_t i = last;; ++i) {
        if (!detail::read(table, chains_at + (i - header[1]) * 4, value)) return 0;
        if ((value & 1) != 0) return i + 1;
      }
    }
    const Bytes table = elf_.at(elf_.tag(detail::elf_hash));
    return detail::read(table, 0, header[0]) && detail::read(table, 4, header[1]) ? header[1] : 0;
  }

  Bytes bytes_;
  detail::ElfLayout elf_;
  std::vector<std::string_view> needed_;
  std::vector<std::uint64_t> needed_at_;
  std::vector<ImageImport> imports_;
  std::vector<std::string_view> exports_;
  std::vector<ImageEdit> edits_;  // those that are always made
  bool executable_stack_ = false;
  std::vector<Unique> unique_;
  std::vector<std::uint64_t> thread_exits_;  // where relocations name __cxa_thread_atexit
  std::uint32_t harmless_ = 0;               // the symbol that they name instead
  std::uint64_t elf_end_ = 0;
  Bytes weights_;
  std::uint64_t weights_size_ = 0;
  std::uint64_t weights_start_ = 0;  // where its symbol lies in the file
  std::uint64_t weights_end_ = 0;
};

using Image = BasicImage<>;

}  // namespace aoti
