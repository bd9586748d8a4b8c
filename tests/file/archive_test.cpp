#include <aoti/file/archive.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "support/support.hpp"

namespace {

using aoti::Archive;
using aoti::Errc;
using aoti::Result;
using aoti_test::package;
using aoti_test::read_file;

using Contents = std::vector<std::pair<std::string, std::string>>;

Contents contents(const Archive& archive) {
  Contents result;
  for (const aoti::Entry& entry : archive.entries()) {
    result.emplace_back(entry.name, aoti::detail::as_text(entry.data));
  }
  return result;
}

Result<Archive> parse(const std::vector<std::byte>& bytes) {
  return Archive::parse(bytes, "the file");
}

TEST(Archive, ReadsEveryWayOfWritingTheSameFiles) {
  const auto reference = parse(read_file(package("by_zipfile.pt2")));
  ASSERT_TRUE(aoti_test::good(reference));
  for (const char* name : {"no_descriptors.pt2", "unaligned.pt2", "commented.pt2"}) {
    const auto bytes = read_file(package(name));
    const auto archive = parse(bytes);
    ASSERT_TRUE(aoti_test::good(archive)) << name;
    ASSERT_EQ(archive.value().entries().size(), 6u) << name;
  }
  const auto files = [](const char* name) {
    const auto bytes = read_file(package(name));
    const auto archive = parse(bytes);
    EXPECT_TRUE(aoti_test::good(archive)) << name;
    return archive ? contents(archive.value()) : Contents{};
  };
  const Contents expected = files("by_zipfile.pt2");
  ASSERT_EQ(expected.size(), 6u);
  EXPECT_TRUE(std::is_sorted(expected.begin(), expected.end()));
  EXPECT_EQ(expected[1], std::make_pair(std::string{"r/archive_version"}, std::string{"0"}));
  EXPECT_EQ(files("no_descriptors.pt2"), expected);
  EXPECT_EQ(files("unaligned.pt2"), expected);
  EXPECT_EQ(files("commented.pt2"), expected);
  const Contents zip64 = files("zip64.pt2");
  EXPECT_EQ(files("zip64_no_descriptors.pt2"), zip64);
  ASSERT_EQ(zip64.size(), expected.size());
  for (std::size_t i = 0; i < zip64.size(); ++i) {
    EXPECT_EQ(zip64[i].first, "zip64" + expected[i].first.substr(1));
    EXPECT_EQ(zip64[i].second, expected[i].second);
  }
}

TEST(Archive, GivesTheBytesWhereTheyLie) {
  const auto bytes = read_file(package("add.pt2"));
  const auto archive = parse(bytes);
  ASSERT_TRUE(aoti_test::good(archive));
  for (const aoti::Entry& entry : archive.value().entries()) {
    EXPECT_GE(entry.data.data(), bytes.data());
    EXPECT_LE(entry.data.data() + entry.data.size(), bytes.data() + bytes.size());
    EXPECT_EQ((entry.data.data() - bytes.data()) % 64, 0) << entry.name;
  }
}

TEST(Archive, RefusesWhatAPackageMustNotBe) {
  const struct {
    const char* file;
    Errc code;
    std::vector<std::string> parts;
  } cases[] = {
      {"empty.pt2", Errc::not_a_package, {"the file is empty"}},
      {"text.pt2", Errc::not_a_package, {"does not begin as a zip file does"}},
      {"cut.pt2", Errc::damaged_package, {"cut off"}},
      {"compressed.pt2", Errc::unsupported, {"is compressed", "r/data/aotinductor/model/"}},
      {"encrypted.pt2", Errc::unsupported, {"is encrypted", "r/data/aotinductor/model/"}},
      {"parent.pt2", Errc::damaged_package, {"r/../../etc/passwd"}},
      {"absolute.pt2", Errc::damaged_package, {"/etc/passwd"}},
      {"twice.pt2", Errc::damaged_package, {"two entries are named r/byteorder"}},
  };
  for (const auto& [file, code, parts] : cases) {
    SCOPED_TRACE(file);
    const auto result = parse(read_file(package(file)));
    aoti_test::expect_error(result, code, parts);
    aoti_test::expect_error(result, code, {"the file"});
  }
}

TEST(Archive, KnowsSafeNames) {
  for (const std::string_view name : {"a", "a/b", "a/b/", ".a/..b/c..", "a.b", "a b"}) {
    EXPECT_TRUE(aoti::detail::is_safe_name(name)) << name;
  }
  using namespace std::string_view_literals;
  for (const std::string_view name : {""sv, "/"sv, "/a"sv, ".."sv, "../a"sv, "a/.."sv, "a/../b"sv,
                                      "."sv, "a/./b"sv, "a//b"sv, "a//"sv, "a\\b"sv, "a\0b"sv}) {
    EXPECT_FALSE(aoti::detail::is_safe_name(name)) << name;
  }
}

// Bytes at the end of a heap block of exactly their size, so that a read beyond them is noticed.
TEST(Archive, CutOffAnywhereIsAnError) {
  for (const char* name : {"small.pt2", "small_zip64.pt2"}) {
    const auto bytes = read_file(package(name));
    ASSERT_TRUE(aoti_test::good(parse(bytes))) << name;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto end = bytes.begin() + static_cast<std::ptrdiff_t>(size);
      const auto result = parse({bytes.begin(), end});
      ASSERT_FALSE(result) << name << " cut to " << size;
      const Errc code = result.error().code();
      EXPECT_EQ(code, size < 4 ? Errc::not_a_package : Errc::damaged_package)
          << name << " cut to " << size;
    }
    // Cut off at the front, too.
    for (std::size_t skip = 1; skip < bytes.size(); ++skip) {
      const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(skip);
      const auto result = parse({begin, bytes.end()});
      EXPECT_FALSE(result) << name << " without its first " << skip;
    }
  }
}

// A changed byte of a header is detected, or changes nothing that is read.
TEST(Archive, ChangedAnywhereIsAnErrorOrTheSame) {
  for (const char* name : {"small.pt2", "small_zip64.pt2"}) {
    auto bytes = read_file(package(name));
    const auto original = parse(bytes);
    ASSERT_TRUE(aoti_test::good(original)) << name;
    const Contents expected = contents(original.value());
    std::vector<bool> is_data(bytes.size());
    for (const aoti::Entry& entry : original.value().entries()) {
      const auto begin = static_cast<std::size_t>(entry.data.data() - bytes.data());
      std::fill_n(is_data.begin() + static_cast<std::ptrdiff_t>(begin), entry.data.size(), true);
    }
    std::size_t errors = 0;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      if (is_data[at]) continue;
      for (const int change : {0xff, 1, 2, 4, 8, 16, 32, 64, 128}) {
        bytes[at] ^= static_cast<std::byte>(change);
        const auto result = parse(bytes);
        if (result) {
          EXPECT_EQ(contents(result.value()), expected)
              << name << ": byte " << at << " ^ " << change;
        } else {
          ++errors;
          EXPECT_FALSE(result.error().message().empty());
        }
        bytes[at] ^= static_cast<std::byte>(change);
      }
    }
    EXPECT_GT(errors, bytes.size()) << name;
  }
}

// Hostile numbers in each field that holds a size or an offset.
TEST(Archive, RefusesNumbersThatOverflow) {
  const auto bytes = read_file(package("small_zip64.pt2"));
  const auto original = parse(bytes);
  ASSERT_TRUE(aoti_test::good(original));
  const std::uint64_t numbers[] = {UINT64_MAX, UINT64_MAX - 21, std::uint64_t{1} << 63,
                                   bytes.size(), bytes.size() - 1};
  for (std::size_t at = 0; at + 8 <= bytes.size(); ++at) {
    for (const std::uint64_t number : numbers) {
      auto changed = bytes;
      std::memcpy(changed.data() + at, &number, sizeof number);
      const auto result = parse(changed);
      if (!result) continue;
      for (const aoti::Entry& entry : result.value().entries()) {
        EXPECT_GE(entry.data.data(), changed.data());
        EXPECT_LE(entry.data.data() + entry.data.size(), changed.data() + changed.size());
      }
    }
  }
}

}  // namespace
