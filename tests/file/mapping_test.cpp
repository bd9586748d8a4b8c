#include <aoti/file/mapping.hpp>

#include <sys/stat.h>

#include <utility>

#include "support/support.hpp"

namespace {

using aoti::Errc;
using aoti::Mapping;
using aoti_test::package;

TEST(Mapping, HoldsTheBytesOfAFileAndGivesThemBack) {
  const aoti_test::Footprint before;
  {
    auto mapping = Mapping::open(package("small.pt2"));
    ASSERT_TRUE(aoti_test::good(mapping));
    const auto expected = aoti_test::read_file(package("small.pt2"));
    Mapping moved = std::move(mapping).value();
    EXPECT_TRUE(
        std::equal(moved.bytes().begin(), moved.bytes().end(), expected.begin(), expected.end()));
    auto other = Mapping::open(package("add.pt2"));
    ASSERT_TRUE(aoti_test::good(other));
    moved = std::move(other).value();
    EXPECT_EQ(moved.bytes().size(), aoti_test::read_file(package("add.pt2")).size());
    EXPECT_NE(aoti_test::Footprint{}, before);
  }
  EXPECT_EQ(aoti_test::Footprint{}, before);
}

TEST(Mapping, OfAnEmptyFileIsEmpty) {
  auto mapping = Mapping::open(package("empty.pt2"));
  ASSERT_TRUE(aoti_test::good(mapping));
  EXPECT_TRUE(mapping.value().bytes().empty());
}

TEST(Mapping, RefusesWhatIsNoFile) {
  const aoti_test::TemporaryDirectory directory;
  const std::string pipe = directory.path() + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const aoti_test::Footprint before;
  for (const std::string& path :
       {package("absent.pt2"), package("unpacked"), pipe, std::string{}}) {
    aoti_test::expect_error(Mapping::open(path), Errc::not_found, {path});
  }
  EXPECT_EQ(aoti_test::Footprint{}, before);
}

}  // namespace
