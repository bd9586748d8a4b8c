#include <aoti/image/image.hpp>

#include <algorithm>
#include <aoti/image/demands.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "support/sanitizers.hpp"
#include "support/support.hpp"

namespace {

using aoti::Errc;
using aoti::Image;
using aoti::Result;
using aoti_test::fake;
using aoti_test::read_file;

Result<Image> parse(const std::vector<std::byte>& bytes) {
  return Image::parse(bytes, "the image");
}

bool imports(const Image& image, std::string_view name) {
  return std::any_of(image.imports().begin(), image.imports().end(),
                     [&](const aoti::ImageImport& import) { return import.name == name; });
}

TEST(Image, TellsWhatItIs) {
  const auto bytes = read_file(fake("add"));
  const auto image = parse(bytes);
  ASSERT_TRUE(aoti_test::good(image));
  EXPECT_EQ(image.value().machine(), aoti::detail::host_machine);
  const struct {
    const char* name;
    bool exported, imported;
  } cases[] = {
      {"AOTInductorModelContainerRun", true, false}, {"AOTInductorGetLastError", true, false},
      {"AOTInductorModelContainerRu", false, false}, {"aoti_torch_empty_strided", false, true},
      {"aoti_torch_get_dtype", false, false},        {"", false, false},
  };
  for (const auto& [name, exported, imported] : cases) {
    EXPECT_EQ(image.value().has_export(name), exported) << name;
    EXPECT_EQ(imports(image.value(), name), imported) << name;
  }
  for (const aoti::ImageImport& import : image.value().imports()) {
    if (import.name.starts_with("aoti_") || import.name == "__gmon_start__") {
      EXPECT_EQ(import.weak, import.name == "__gmon_start__") << import.name;
    }
  }
}

TEST(Image, DropsNeededLibrariesByName) {
  const auto bytes = read_file(fake("minimal"));
  const auto image = parse(bytes);
  ASSERT_TRUE(aoti_test::good(image));
  const auto& needed = image.value().needed();
  ASSERT_FALSE(needed.empty());
  const auto nothing = [](std::string_view) { return false; };
  const auto everything = [](std::string_view) { return true; };
  const std::size_t kept = image.value().edits(nothing).size();
  const auto edits = image.value().edits(everything);
  ASSERT_EQ(edits.size(), kept + needed.size());

  // Each is replaced by an entry that no loader knows.
  std::size_t dropped = 0;
  for (const aoti::ImageEdit& edit : edits) {
    aoti::detail::ElfDynamic before{};
    ASSERT_TRUE(aoti::detail::read(bytes, edit.offset, before));
    if (edit.size != sizeof before.tag) continue;
    EXPECT_EQ(before.tag, aoti::detail::elf_needed);
    EXPECT_EQ(edit.value, 0x60000fffu);
    ++dropped;
  }
  EXPECT_EQ(dropped, needed.size());
}

// For a note without content, whose offset may point anywhere.
TEST(Image, DemandsNothingInAnEmptyNote) {
  auto bytes = read_file(fake("minimal"));
  aoti::detail::ElfHeader header{};
  ASSERT_TRUE(aoti::detail::read(bytes, 0, header));
  bool found = false;
  for (std::uint64_t i = 0; i < header.segment_count; ++i) {
    const std::uint64_t at = header.segments + i * sizeof(aoti::detail::ElfSegment);
    aoti::detail::ElfSegment segment{};
    ASSERT_TRUE(aoti::detail::read(bytes, at, segment));
    if (segment.type != aoti::detail::elf_note) continue;
    found = true;
    segment.file_size = 0;
    segment.offset = ~std::uint64_t{0};
    std::memcpy(bytes.data() + at, &segment, sizeof segment);
  }
  ASSERT_TRUE(found);
  const auto image = parse(bytes);
  ASSERT_TRUE(aoti_test::good(image));
  EXPECT_TRUE(aoti_test::good(aoti::detail::Demands::check(image.value(), "the image", nullptr)));
}

// In place of DT_RELACOUNT, which loaders do not need.
TEST(Image, LosesItsNameAndItsRefusalToBeOpened) {
  using namespace aoti::detail;
  const auto bytes = read_file(fake("minimal"));
  const auto whole = parse(bytes);
  ASSERT_TRUE(aoti_test::good(whole));
  std::uint64_t at = 0;
  whole.value().layout().visit([&](const ElfDynamic& item, std::uint64_t offset) {
    if (item.tag == elf_rela_count) at = offset;
  });
  ASSERT_NE(at, 0u);
  const struct {
    ElfDynamic entry;
    std::uint64_t offset, value;
  } cases[] = {{{elf_soname, 1}, at, 0x60000fff}, {{elf_flags_1, 0x41}, at + 8, 1}};
  for (const auto& one : cases) {
    auto changed = bytes;
    std::memcpy(changed.data() + at, &one.entry, sizeof one.entry);
    const auto image = parse(changed);
    ASSERT_TRUE(aoti_test::good(image));
    const auto edits = image.value().edits([](std::string_view) { return false; });
    const bool found = std::any_of(edits.begin(), edits.end(), [&](const aoti::ImageEdit& edit) {
      return edit.offset == one.offset && edit.value == one.value && edit.size == 8;
    });
    EXPECT_TRUE(found) << std::hex << one.entry.tag;
  }
}

TEST(Image, MakesUniqueSymbolsOrdinary) {
  auto bytes = read_file(fake("unique"));
  const auto image = parse(bytes);
  ASSERT_TRUE(aoti_test::good(image));
  EXPECT_TRUE(image.value().has_export("runs"));
  const auto keep = [](std::string_view) { return false; };
  const auto edits = image.value().edits(keep);
#if !defined(__clang__)  // which makes no such symbols
  EXPECT_FALSE(edits.empty());
#endif
  for (const aoti::ImageEdit& edit : edits)
    std::memcpy(bytes.data() + edit.offset, &edit.value, edit.size);
  const auto second = parse(bytes);
  ASSERT_TRUE(aoti_test::good(second));
  EXPECT_TRUE(second.value().edits(keep).empty());
  EXPECT_TRUE(second.value().has_export("runs"));
}

TEST(Image, KnowsItsEmbeddedWeightsAndWhatElseIsNeeded) {
  const auto size_of = [](const Image& image, bool without_weights) {
    std::uint64_t size = 0;
    for (const aoti::ImagePart& part : image.parts(without_weights)) size += part.size;
    return size;
  };
  const auto bytes = read_file(fake("embedded"));
  const auto image = parse(bytes);
  ASSERT_TRUE(aoti_test::good(image));
  const aoti::Bytes weights = image.value().weights();
  ASSERT_EQ(weights.size(), 393'216u * 4);
  std::uint32_t number = 0;
  ASSERT_TRUE(aoti::detail::read(weights, 393'215 * 4, number));
  EXPECT_EQ(number, 393'215u);
  EXPECT_LT(size_of(image.value(), true), 400'000u);
  EXPECT_GT(size_of(image.value(), false), weights.size());

  // Anything appended to the image belongs to it.
  auto longer = bytes;
  longer.resize(bytes.size() + 100'000);
  const auto appended = parse(longer);
  ASSERT_TRUE(aoti_test::good(appended));
  EXPECT_EQ(size_of(appended.value(), true), size_of(image.value(), true) + 100'000);

  const auto add = read_file(fake("add"));
  const auto without = parse(add);
  ASSERT_TRUE(aoti_test::good(without));
  EXPECT_TRUE(without.value().weights().empty());
  EXPECT_EQ(size_of(without.value(), true), size_of(without.value(), false));
}

TEST(Image, RefusesWhatIsNoImageForThisLibrary) {
  const auto good = read_file(fake("minimal"));
  const struct {
    const char* name;
    std::size_t offset;
    std::vector<int> bytes;
    Errc code;
    const char* part;
  } cases[] = {
      {"magic", 0, {'M', 'Z'}, Errc::not_a_package, "not an ELF"},
      {"32 bits", 4, {1}, Errc::wrong_machine, "64-bit little-endian"},
      {"big-endian", 5, {2}, Errc::wrong_machine, "64-bit little-endian"},
      {"executable", 16, {2, 0}, Errc::damaged_package, "not a shared object"},
      {"program header size", 54, {55, 0}, Errc::damaged_package, "program headers"},
      {"program headers' place",
       32,
       {255, 255, 255, 255, 255, 255, 255, 255},
       Errc::damaged_package,
       "program headers"},
      {"no program headers", 56, {0, 0}, Errc::damaged_package, "no dynamic section"},
  };
  for (const auto& [name, offset, changes, code, part] : cases) {
    SCOPED_TRACE(name);
    auto bytes = good;
    for (std::size_t i = 0; i < changes.size(); ++i)
      bytes[offset + i] = static_cast<std::byte>(changes[i]);
    aoti_test::expect_error(parse(bytes), code, {"the image", part});
  }
  aoti_test::expect_error(parse({}), Errc::not_a_package, {"not an ELF"});
  EXPECT_TRUE(aoti_test::good(parse(good)));
}

TEST(Image, NamesTheMachinesThatTorchRunsOn) {
  EXPECT_EQ(aoti::machine_name(62), "x86_64");
  EXPECT_EQ(aoti::machine_name(183), "aarch64");
  EXPECT_EQ(aoti::machine_name(0), "an unknown machine");
}

/// An image as for another processor: what is read differs only in this number and in the types of
/// relocations, which are not checked.
std::vector<std::byte> for_machine(std::vector<std::byte> bytes, std::uint16_t machine) {
  std::memcpy(bytes.data() + offsetof(aoti::detail::ElfHeader, machine), &machine, sizeof machine);
  return bytes;
}

TEST(Image, ReadsThoseOfEveryMachine) {
  const auto drop_all = [](std::string_view) { return true; };
  const auto bind_all = [](const aoti::ImageImport&, const void*& address) {
    address = &address;
    return true;
  };
  const auto own_bytes = read_file(fake("add"));
  const auto own = parse(own_bytes);
  ASSERT_TRUE(aoti_test::good(own));
  constexpr std::uint16_t machines[] = {62, 183, 243, 21, 0xfffe};
  for (const std::uint16_t machine : machines) {
    const auto bytes = for_machine(own_bytes, machine);
    const auto image = parse(bytes);
    ASSERT_TRUE(aoti_test::good(image)) << machine;
    EXPECT_EQ(image.value().machine(), machine);
    EXPECT_EQ(image.value().exports(), own.value().exports());
    EXPECT_EQ(image.value().needed(), own.value().needed());
    EXPECT_EQ(image.value().imports().size(), own.value().imports().size());
    EXPECT_EQ(image.value().edits(drop_all).size(), own.value().edits(drop_all).size());
    EXPECT_EQ(image.value().bind_imports(bind_all).size(), 3 * image.value().imports().size());
  }
}

TEST(Image, CutOffAnywhereIsReadWithoutHarm) {
  const auto bytes = read_file(fake("minimal"));
  const auto whole = parse(bytes);
  ASSERT_TRUE(aoti_test::good(whole));
  std::size_t errors = 0;
  for (std::size_t size = 0; size < bytes.size(); size += size < 4096 ? 1 : 7) {
    const std::vector<std::byte> cut(bytes.begin(),
                                     bytes.begin() + static_cast<std::ptrdiff_t>(size));
    const auto image = parse(cut);
    if (!image) {
      ++errors;
      const Errc code = image.error().code();
      EXPECT_TRUE(code == Errc::damaged_package || (code == Errc::not_a_package && size < 4))
          << size;
    } else {
      // Only what no loader needs may be missing.
      EXPECT_EQ(image.value().exports().size(), whole.value().exports().size()) << size;
    }
  }
  EXPECT_GT(errors, 4096u);
}

/// Whether everything that an image states about itself lies within its bytes.
bool lies_within(const Image& image, const std::vector<std::byte>& bytes) {
  const auto inside = [&](std::uint64_t offset, std::uint64_t size) {
    return aoti::detail::within(offset, size, bytes.size());
  };
  const auto drop_all = [](std::string_view) { return true; };
  bool good = true;
  for (const aoti::ImageEdit& edit : image.edits(drop_all)) good &= inside(edit.offset, edit.size);
  for (const bool without_weights : {false, true}) {
    for (const aoti::ImagePart& part : image.parts(without_weights))
      good &= inside(part.offset, part.size);
  }
  if (const aoti::Bytes weights = image.weights(); !weights.empty()) {
    good &= weights.data() >= bytes.data() && weights.size() <= bytes.size();
    good &= inside(static_cast<std::uint64_t>(weights.data() - bytes.data()), weights.size());
    for (const aoti::ImageEdit& edit : image.move_weights(bytes.data()))
      good &= inside(edit.offset, edit.size);
  }
  return good;
}

/// Where the tables that Image reads lie: [begin, end) in the file.
std::vector<std::pair<std::size_t, std::size_t>> tables(const std::vector<std::byte>& bytes) {
  const auto number = [&](std::size_t at) {
    std::uint64_t value = 0;
    EXPECT_TRUE(aoti::detail::read(bytes, at, value));
    return value;
  };
  std::vector<std::pair<std::size_t, std::size_t>> result{{0, 64}};
  std::uint16_t count = 0;
  EXPECT_TRUE(aoti::detail::read(bytes, 56, count));
  const std::size_t headers = number(32);
  result.emplace_back(headers, headers + count * 56u);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t type = 0;
    EXPECT_TRUE(aoti::detail::read(bytes, headers + i * 56, type));
    const std::size_t offset = number(headers + i * 56 + 8), size = number(headers + i * 56 + 32);
    if (type == aoti::detail::elf_dynamic) result.emplace_back(offset, offset + size);
    // The first segment begins with the hash table, the symbols and their names.
    if (type == aoti::detail::elf_load && offset == 0) {
      result.emplace_back(0, std::min<std::size_t>(size, 6000));
    }
  }
  return result;
}

// Reading outside of the bytes shows with AddressSanitizer: elsewhere, some of the changes are
// enough.
constexpr std::size_t step = aoti_test::asan ? 1 : aoti_test::emulated ? 21 : 3;

TEST(Image, ChangedAnywhereIsReadWithoutHarm) {
  for (const char* name : {"none", "embedded"}) {
    auto bytes = read_file(fake(name));
    ASSERT_TRUE(aoti_test::good(parse(bytes)));
    std::size_t errors = 0, names = 0;
    for (const auto& [begin, end] : tables(bytes)) {
      for (std::size_t at = begin; at < end; at += step) {
        for (const int change : {0xff, 1, 2, 4, 8, 16, 32, 64, 128}) {
          bytes[at] ^= static_cast<std::byte>(change);
          const auto image = parse(bytes);
          if (image) {
            for (const std::string_view text : image.value().exports()) names += text.size();
            for (const aoti::ImageImport& import : image.value().imports())
              names += import.name.size();
            EXPECT_TRUE(lies_within(image.value(), bytes))
                << name << ": byte " << at << " ^ " << change;
          } else {
            ++errors;
          }
          bytes[at] ^= static_cast<std::byte>(change);
        }
      }
    }
    EXPECT_GT(errors, 100u);
    EXPECT_GT(names, 0u);
  }
}

}  // namespace
