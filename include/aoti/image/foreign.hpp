// SPDX-License-Identifier: BSD-3-Clause
// Shared objects of systems without ELF, recognised by their first bytes.
#pragma once

#include <cstdint>
#include <string_view>

#include "aoti/file/bytes.hpp"
#include "aoti/image/elf.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// The kind of another system's file, and the processor that it is for.
struct Foreign {
  std::string_view kind;  ///< Empty if it is not known here.
  std::string_view machine = "an unknown machine";
};

/// Recognises Windows' PE and Apple's Mach-O files.
inline Foreign foreign_image(Bytes bytes) noexcept {
  struct Machine {
    std::uint32_t number;
    std::string_view name;
  };
  constexpr Machine windows[] = {
      {0x8664, "x86_64"}, {0xaa64, "aarch64"}, {0x14c, "i386"}, {0x1c4, "arm"}};
  constexpr Machine apple[] = {
      {0x1000007, "x86_64"}, {0x100000c, "arm64"}, {7, "i386"}, {12, "arm"}};
  const auto found = [](std::string_view kind, const auto& machines, std::uint32_t number) {
    Foreign result{kind};
    for (const Machine& machine : machines) {
      if (machine.number == number) result.machine = machine.name;
    }
    return result;
  };
  std::uint32_t place = 0, processor = 0;
  std::uint16_t machine = 0;
  const std::string_view text = as_text(bytes);
  if (text.starts_with("MZ") && read(bytes, 60, place) && place < text.size() &&
      text.substr(place).starts_with(std::string_view{"PE\0\0", 4}) &&
      read(bytes, std::uint64_t{place} + 4, machine)) {
    return found("a library of Windows (PE)", windows, machine);
  }
  if ((text.starts_with("\xcf\xfa\xed\xfe") || text.starts_with("\xce\xfa\xed\xfe")) &&
      read(bytes, 4, processor)) {
    return found("a library of macOS (Mach-O)", apple, processor);
  }
  // Java classes begin like this, too, with a version of 45 or more in place of the count.
  if (text.starts_with("\xca\xfe\xba\xbe") && read(bytes, 4, processor) && processor >> 24 != 0 &&
      processor >> 24 < 45) {
    return {"a library of macOS (Mach-O)", "several machines"};
  }
  return {};
}

}  // namespace aoti::inline AOTI_ABI::detail
