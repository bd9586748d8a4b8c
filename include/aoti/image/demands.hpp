// SPDX-License-Identifier: BSD-3-Clause
// What an image demands of the system: the loader would satisfy it silently, or refuse with an
// obscure message.
#pragma once

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "aoti/image/image.hpp"
#include "aoti/image/operator_libraries.hpp"
#include "aoti/image/processor.hpp"
#include "aoti/result.hpp"

#if defined(__GLIBC__)
#include <gnu/libc-version.h>

#include "aoti/image/system_library.hpp"
#endif

namespace aoti::inline AOTI_ABI::detail {

constexpr bool is_torch_library(std::string_view name) noexcept {
  return name.starts_with("libtorch") || name.starts_with("libc10");
}

/// Whether an image can do without a library that it needs, since the host has its functions: it is
/// one of torch's, or was given. If the image needs versions of it, the loader would end the
/// process.
inline bool can_be_dropped(const ElfLayout& image, std::string_view library, bool given) {
  return (given || is_torch_library(library)) && !image.needs_versions_of(library);
}

/// Checks an image against this system.
template <class T = void> class BasicDemands {
 public:
  /// @param given libraries loaded for the model; null if the model cannot use any
  /// @errors wrong_machine (for another system, processor or page size), library_load_failed
  ///         (needed libraries that are missing, or lack a version; all are listed)
  static Result<void> check(const BasicImage<T>& image, const std::string& origin,
                            const OperatorLibraries* given) {
    const BasicDemands demands{image.layout(), origin};
    AOTI_TRYV(demands.system());
    AOTI_TRYV(demands.notes());
    AOTI_TRYV(demands.pages());
    AOTI_TRYV(demands.packed_relocations());
    return demands.libraries(image, given);
  }

 private:
  BasicDemands(const ElfLayout& elf, const std::string& origin) noexcept
      : elf_{elf}, origin_{origin} {}

  [[gnu::cold]] Error other(Errc code, std::initializer_list<Piece> text) const {
    return {code, origin_, concat(text)};
  }

  Result<void> system() const {
    constexpr unsigned char any = 0, gnu = 3, latest = 3;  // the latest GNU version known here
    if ((elf_.abi == any && elf_.abi_version == 0) ||
        (elf_.abi == gnu && elf_.abi_version <= latest)) {
      return success();
    }
    const auto name = [](unsigned char abi) -> std::string {
      switch (abi) {
        case any:
          return "an unknown system";
        case 2:
          return "NetBSD";
        case gnu:
          return "a newer Linux";
        case 6:
          return "Solaris";
        case 9:
          return "FreeBSD";
        case 12:
          return "OpenBSD";
        default:
          return concat({"the system with the number ", int{abi}});
      }
    };
    return wrong_system(name(elf_.abi));
  }

  [[gnu::cold]] Error wrong_system(std::string_view found) const {
    return other(Errc::wrong_machine,
                 {"the image is for ", found, "; this system is ", host().sysname});
  }

  static utsname host() noexcept {
    utsname name{};
    ::uname(&name);
    return name;
  }

  Result<void> notes() const {
    for (const ElfSegment& segment : elf_.others) {
      const bool is_note = segment.type == elf_note || segment.type == elf_property;
      if (!is_note || segment.file_size == 0) continue;
      const std::uint64_t align = segment.align == 8 ? 8 : 4;
      const auto aligned = [&](std::uint64_t n) { return (n + align - 1) & ~(align - 1); };
      std::uint32_t sizes[3] = {};  // size of the name and of the content; the type
      const Bytes all = elf_.bytes.subspan(segment.offset, segment.file_size);
      for (std::uint64_t at = 0; read(all, at, sizes);) {
        const std::uint64_t content = at + aligned(sizeof sizes + std::uint64_t{sizes[0]});
        if (!within(content, sizes[1], all.size())) break;
        if (as_text(all).substr(at + sizeof sizes).starts_with(std::string_view{"GNU\0", 4})) {
          const Bytes bytes = all.subspan(content, sizes[1]);
          AOTI_TRYV(sizes[2] == 1 ? kernel(bytes) : success());
          AOTI_TRYV(sizes[2] == 5 ? properties(bytes) : success());
        }
        at = content + aligned(sizes[1]);
      }
    }
    return success();
  }

  /// The system and the kernel version that an image is for. Loaders only say "no such file".
  Result<void> kernel(Bytes note) const {
    std::uint32_t wanted[4] = {};  // the system, then the version
    if (!read(note, 0, wanted)) return success();
    constexpr std::string_view systems[] = {"Linux", "the Hurd", "Solaris", "FreeBSD", "NetBSD"};
    if (wanted[0] != 0) return wrong_system(wanted[0] < 5 ? systems[wanted[0]] : "another system");
    const utsname here = host();
    const char* release = here.release;
    for (int i = 1; i < 4; ++i) {
      char* end = nullptr;
      const unsigned long has = std::strtoul(release, &end, 10);
      if (has > wanted[i]) break;
      if (has < wanted[i]) {
        return other(Errc::wrong_machine,
                     {"the image is for Linux ", wanted[1], ".", wanted[2], ".", wanted[3],
                      " or later; this system has ", here.release});
      }
      release = *end == '.' ? end + 1 : end;
    }
    return success();
  }

  /// The instruction sets that an image is linked for.
  Result<void> properties(Bytes note) const {
    constexpr std::uint32_t x86_needed = 0xc0008002;
    constexpr std::string_view levels[] = {"SSE2", "SSE4_2", "AVX2", "AVX512"};
    std::uint32_t property[3] = {};  // its type, its size, its first four bytes
    for (std::uint64_t at = 0; read(note, at, property);
         at += (8 + std::uint64_t{property[1]} + 7) / 8 * 8) {
      if (elf_.machine != elf_x86_64 || property[0] != x86_needed) continue;
      for (std::uint32_t level = 1; level < 4; ++level) {
        if ((property[2] >> level & 1) == 0 || has_instruction_set(levels[level])) continue;
        return other(Errc::wrong_machine,
                     {"the image is linked for processors of the level x86-64-v", level + 1,
                      "; this processor is below it"});
      }
    }
    return success();
  }

  Result<void> pages() const {
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    for (const ElfSegment& segment : elf_.loads) {
      if (segment.align % page == 0 && (segment.address - segment.offset) % page == 0) continue;
      return other(Errc::wrong_machine, {"the image is linked for pages of ", segment.align,
                                         " bytes; this system has pages of ", page});
    }
    return success();
  }

  /// glibc supports them since 2.36; an older one ignores them, and the model would crash.
  Result<void> packed_relocations() const {
    if (elf_.tag(elf_relr) == 0) return success();
    bool says_so = false;
    elf_.visit_needed_versions([&](std::string_view, std::string_view version, bool) {
      says_so |= version == "GLIBC_ABI_DT_RELR";
    });
    if (says_so) return success();
    return other(Errc::library_load_failed,
                 {"the image has packed relocations but does not declare them by "
                  "GLIBC_ABI_DT_RELR; link it with -z nopack-relative-relocs"});
  }

#if defined(__GLIBC__)
  Result<void> libraries(const BasicImage<T>& image, const OperatorLibraries* given) const {
    std::vector<std::string> absent, lacking;
    for (const std::string_view name : image.needed()) {
      if (can_be_dropped(elf_, name, given != nullptr && given->has(name))) continue;
      const auto library = BasicSystemLibrary<T>::find(std::string{name}, elf_);
      if (!library.is_here()) {
        absent.emplace_back(name);
        continue;
      }
      elf_.visit_needed_versions([&](std::string_view of, std::string_view version, bool weak) {
        if (of == name && !weak && !library.has_version(version)) {
          lacking.push_back(concat({version, " of ", name}));
        }
      });
    }
    if (!absent.empty()) {
      const std::string_view path = elf_.search_path();
      return other(Errc::library_load_failed,
                   {"the image needs ", join(absent), ", not found here",
                    path.empty() ? "" : concat({", nor in its own search path ", path}),
                    "; install the package that has it, ",
                    given != nullptr ? "give its path as one of the operator_libraries, " : "",
                    "or name its folder in LD_LIBRARY_PATH before the program starts"});
    }
    if (lacking.empty()) return success();
    return other(Errc::library_load_failed,
                 {"the image is linked with newer libraries than those here: it needs ",
                  join(lacking), ", and this is glibc ", ::gnu_get_libc_version(),
                  "; compile the model on a system no newer than this one, or run it on a newer "
                  "one"});
  }
#else
  static Result<void> libraries(const BasicImage<T>&, const OperatorLibraries*) {
    return success();
  }
#endif

  const ElfLayout& elf_;
  const std::string& origin_;
};

using Demands = BasicDemands<>;

}  // namespace aoti::inline AOTI_ABI::detail
