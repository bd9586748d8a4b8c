#include <aoti/package/files.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "support/support.hpp"

namespace {

using aoti::Errc;
using aoti::Files;
using aoti_test::good;
using aoti_test::package;

std::vector<std::string> names(const Files& files) {
  std::vector<std::string> result;
  for (const aoti::Entry& entry : files.entries()) result.emplace_back(entry.name);
  return result;
}

TEST(Files, OfAnArchiveAndOfADirectoryAreTheSame) {
  const auto zip = Files::open(package("no_root.pt2")),
             directory = Files::open(package("unpacked"));
  ASSERT_TRUE(good(zip));
  ASSERT_TRUE(good(directory));
  const std::string folder = "data/aotinductor/model/cabc1234.wrapper";
  EXPECT_EQ(names(zip.value()),
            (std::vector<std::string>{folder + ".cpp", folder + ".so", folder + "_metadata.json"}));
  EXPECT_EQ(names(directory.value()),
            (std::vector<std::string>{"archive_format", "archive_version", "byteorder",
                                      folder + ".cpp", folder + ".so", folder + "_metadata.json"}));
  EXPECT_TRUE(std::equal(zip.value().entries()[1].data.begin(), zip.value().entries()[1].data.end(),
                         directory.value().entries()[4].data.begin()));
}

TEST(Files, OfADirectoryAreRegularFilesOnly) {
  const aoti_test::TemporaryDirectory directory;
  const auto at = [&](const char* name) { return directory.path() + "/" + name; };
  std::ofstream{at("file")} << "content";
  ASSERT_EQ(::mkfifo(at("pipe").c_str(), 0600), 0);
  ASSERT_EQ(::symlink("nowhere", at("dangling").c_str()), 0);
  ASSERT_EQ(::symlink("file", at("link").c_str()), 0);
  ASSERT_EQ(::symlink(".", at("loop").c_str()), 0);
  const auto files = Files::open(directory.path());
  ASSERT_TRUE(good(files));
  const auto found = names(files.value());
  EXPECT_THAT(found, testing::ElementsAre("file", "link"));
}

TEST(Files, TellsWhatCannotBeRead) {
  aoti_test::expect_error(Files::open("/no/such/file"), Errc::not_found,
                          {"/no/such/file", "No such file"});
  aoti_test::expect_error(Files::from_bytes({}, "nothing"), Errc::not_a_package,
                          {"nothing", "empty"});
  const auto pipe = aoti_test::TemporaryDirectory{};
  const std::string path = pipe.path() + "/pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  aoti_test::expect_error(Files::open(path), Errc::not_found, {path, "not a regular file"});
}

}  // namespace
