// SPDX-License-Identifier: BSD-3-Clause
// A model's image, an ELF shared object, read before any of it is loaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/file/bytes.hpp"
#include "aoti/image/contents.hpp"
#include "aoti/image/elf.hpp"
#include "aoti/image/foreign.hpp"
#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI {

/// A part of an image's file.
struct ImagePart {
  std::uint64_t offset;
  std::uint64_t size;
};

/// What an image says about itself. The names are views into the image's bytes.
template <class = void> class BasicImage {
 public:
  /// Whether the bytes begin like a shared object, of this system or another.
  static bool recognises(Bytes bytes) noexcept {
    return detail::as_text(bytes).starts_with(detail::elf_magic) ||
           !detail::foreign_image(bytes).kind.empty();
  }

  /// Reads headers and dynamic symbols. Since the file may be damaged, every offset is checked,
  /// including those that only the system's loader follows; code and data are not.
  /// @param origin the image's name in errors
  /// @errors not_a_package (not an ELF file), wrong_machine (32-bit or big-endian, or for a system
  ///         without ELF), damaged_package
  /// @allocates the lists of names
  static Result<BasicImage> parse(Bytes bytes, const std::string& origin) {
    BasicImage image;
    image.contents_.bytes = bytes;
    AOTI_TRYV(image.contents_.parse(origin));
    return image;
  }

  /// The ELF machine number: detail::host_machine is this machine's.
  std::uint16_t machine() const noexcept { return contents_.elf.machine; }
  /// The libraries that the image needs.
  const std::vector<std::string_view>& needed() const noexcept { return contents_.needed; }
  /// Where things lie in the file.
  const detail::ElfLayout& layout() const noexcept { return contents_.elf; }
  /// The symbols that others must provide, and those that it provides.
  const std::vector<ImageImport>& imports() const noexcept { return contents_.imports; }
  const std::vector<std::string_view>& exports() const noexcept { return contents_.exports; }

  bool has_export(std::string_view name) const noexcept {
    for (const std::string_view symbol : contents_.exports) {
      if (symbol == name) return true;
    }
    return false;
  }

  /// Whether the image asks for an executable stack: explicitly, or by not saying that it needs
  /// none.
  bool wants_executable_stack() const noexcept { return contents_.executable_stack; }

  /// The changes that isolate the image when it is loaded: they drop libraries for which
  /// `drop(name)` holds; the request for an executable stack, which all threads of the process
  /// would get; and the name under which the loader would give it to others. STB_GNU_UNIQUE symbols
  /// become ordinary: the loader would share them with other images of the process, and they keep
  /// an image from ever being unloaded. Destructors of thread-local objects, such as a model's last
  /// error, are not registered, since a thread that once called the model would keep it loaded for
  /// its lifetime: the call goes to a function without effect that every model imports.
  template <class Drop> std::vector<ImageEdit> edits(Drop&& drop) const {
    std::vector<ImageEdit> edits = contents_.edits;
    constexpr std::uint64_t ignored = Contents::ignored_tag;
    for (std::size_t i = 0; i < contents_.needed.size(); ++i) {
      if (!drop(contents_.needed[i])) continue;
      edits.push_back({contents_.needed_at[i], ignored, sizeof ignored});
    }
    const std::uint32_t harmless = contents_.harmless;
    for (const std::uint64_t offset : contents_.thread_exits) {
      if (harmless != 0) edits.push_back({offset, harmless, sizeof harmless});
    }
    for (const auto& [offset, type] : contents_.unique) {
      edits.push_back({offset, static_cast<std::uint64_t>(detail::elf_weak << 4 | type), 1});
    }
    return edits;
  }

  /// The changes that bind imports, so that the system's loader looks up none of them: each import
  /// for which `bind(import, address)` holds becomes a hidden symbol of the image itself, at an
  /// absolute address of this process. This works on every processor, since no relocation is
  /// touched.
  template <class Bind> std::vector<ImageEdit> bind_imports(Bind&& bind) const {
    std::vector<ImageEdit> edits;
    for (const ImageImport& import : contents_.imports) {
      const void* address = nullptr;
      if (!bind(import, address)) continue;
      place(edits, import.at, address);
      edits.push_back({import.at + offsetof(detail::ElfSymbol, other), detail::elf_hidden, 1});
    }
    return edits;
  }

  /// The parts of the file that a copy needs for loading: its segments, and anything appended to
  /// the ELF file, but no symbol tables and debug information. With `without_weights`, not the
  /// pages of the embedded weights either. Empty for an image that was not parsed.
  /// @allocates the list
  std::vector<ImagePart> parts(bool without_weights) const {
    if (contents_.elf.loads.empty()) return {};
    constexpr std::uint64_t page = 65536;  // no system has larger pages
    const Bytes bytes = contents_.bytes, weights = contents_.weights;
    std::vector<ImagePart> parts{{0, bytes.size() < page ? bytes.size() : page}};  // the headers
    std::uint64_t from = 0, to = 0;
    if (without_weights && !weights.empty()) {
      const auto begin = static_cast<std::uint64_t>(weights.data() - bytes.data());
      from = (begin + page - 1) / page * page;
      to = (begin + weights.size()) / page * page;
    }
    for (const auto& segment : contents_.elf.loads) {
      const std::uint64_t begin = segment.offset, end = segment.offset + segment.file_size;
      if (from >= begin && to <= end && from < to) {
        parts.push_back({begin, from - begin});
        parts.push_back({to, end - to});
      } else {
        parts.push_back({begin, segment.file_size});
      }
    }
    parts.push_back({contents_.elf_end, bytes.size() - contents_.elf_end});
    return parts;
  }

  /// The weights inside the image, which a model copies when it is created; empty if they are small
  /// or not read-only.
  Bytes weights() const noexcept { return contents_.weights; }

  /// What lies at the image's symbol for embedded weights: the weights, however small; or, if they
  /// lie elsewhere, their size.
  Bytes constants() const noexcept { return contents_.constants; }

  /// The size of the image's symbol for embedded weights: 1 if it was compiled without any; 8,
  /// which holds their size, if they are in a file beside it; 0 if the image does not say.
  std::uint64_t weights_size() const noexcept { return contents_.weights_size; }

  /// The changes that move a model's embedded weights to another address of this process: the
  /// symbols of their start and end become absolute.
  std::vector<ImageEdit> move_weights(const std::byte* to) const {
    std::vector<ImageEdit> edits;
    place(edits, contents_.weights_start, to);
    place(edits, contents_.weights_end, to + contents_.weights.size());
    return edits;
  }

 private:
  using Contents = detail::ImageContents<>;

  /// Gives the symbol at an offset of the file an absolute address.
  static void place(std::vector<ImageEdit>& edits, std::uint64_t symbol, const void* address) {
    constexpr std::uint64_t absolute = 0xfff1;  // SHN_ABS
    edits.push_back({symbol + offsetof(detail::ElfSymbol, section), absolute, 2});
    edits.push_back({symbol + offsetof(detail::ElfSymbol, value),
                     reinterpret_cast<std::uintptr_t>(address), 8});
  }

  Contents contents_;
};

using Image = BasicImage<>;

}  // namespace aoti::inline AOTI_ABI
