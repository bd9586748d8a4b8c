// Images with one damaged number in their tables: the system's loader, which trusts these, must
// never be given one that ends the process.
#include <aoti/image/image.hpp>
#include <aoti/image/library.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "support/sanitizers.hpp"
#include "support/support.hpp"

namespace {

using aoti::Image;
using aoti_test::fake;
using aoti_test::read_file;
using Range = std::pair<std::size_t, std::size_t>;  // of the file: [begin, end)

/// The positions of the headers, the dynamic section and the tables that it refers to.
std::vector<Range> headers_and_tables(const std::vector<std::byte>& bytes) {
  using namespace aoti::detail;
  ElfHeader header{};
  EXPECT_TRUE(read(bytes, 0, header));
  std::vector<Range> ranges{
      {0, sizeof header},
      {header.segments, header.segments + header.segment_count * sizeof(ElfSegment)}};
  ElfLayout elf;
  elf.bytes = bytes;
  for (std::size_t i = 0; i < header.segment_count; ++i) {
    ElfSegment segment{};
    EXPECT_TRUE(read(bytes, header.segments + i * sizeof segment, segment));
    if (segment.type == elf_load) elf.loads.push_back(segment);
    if (segment.type == elf_dynamic) elf.dynamic = segment;
  }
  const auto add = [&](std::size_t offset, std::size_t size) {
    ranges.emplace_back(offset, offset + size);
  };
  const auto add_at = [&](std::int64_t tag, std::size_t size) {
    const aoti::Bytes found = elf.at(elf.tag(tag));
    if (size <= found.size()) add(static_cast<std::size_t>(found.data() - bytes.data()), size);
  };
  add(elf.dynamic.offset, elf.dynamic.file_size);
  add_at(elf_rela, elf.tag(elf_rela_size));
  add_at(elf_plt_rela, elf.tag(elf_plt_rela_size));
  add_at(elf_symbols, 60 * sizeof(ElfSymbol));
  add_at(elf_gnu_hash, 256);
  add_at(elf_version_symbols, 64);
  add_at(elf_needed_versions, 128);
  return ranges;
}

/// Whether a child process loads and unloads the image, or gets an error, and then exits normally.
bool ends_well(const std::vector<std::byte>& bytes, const Image& image) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto keep = [](std::string_view) { return false; };
    auto library = aoti::Library::load(bytes, image.edits(keep), "damaged");
    if (library) library.value().unload();
    ::_exit(42);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

// The sanitizers see nothing of the system's loader and, like the emulator of ./dev aarch64, make
// child processes slow: a part is enough.
constexpr std::size_t step = aoti_test::emulated ? 21 : aoti_test::asan || aoti_test::tsan ? 7 : 1;

TEST(DamagedImage, DoesNotReachTheSystemsLoader) {
  auto bytes = read_file(fake("add"));
  const std::uint32_t values[] = {0, 1, 0x7fffffff, 0xffffffff, 0x1000, 250, 2};
  std::size_t refused = 0, loaded = 0, number = 0;
  for (const auto& [begin, end] : headers_and_tables(bytes)) {
    for (std::size_t at = begin; at + 4 <= end; at += 4, ++number) {
      std::uint32_t old = 0;
      std::memcpy(&old, bytes.data() + at, sizeof old);
      for (const std::uint32_t value : values) {
        if (number++ % step != 0) continue;
        std::memcpy(bytes.data() + at, &value, sizeof value);
        const auto image = Image::parse(bytes, "damaged");
        ++(image ? loaded : refused);
        if (image) {
          EXPECT_TRUE(ends_well(bytes, image.value()))
              << std::hex << "at 0x" << at << ": 0x" << value << " instead of 0x" << old;
        }
      }
      std::memcpy(bytes.data() + at, &old, sizeof old);
    }
  }
  EXPECT_GT(refused, 2000u / step);
  EXPECT_GT(loaded, 1000u / step);
  EXPECT_TRUE(ends_well(bytes, Image::parse(bytes, "whole").value()));
}

}  // namespace
