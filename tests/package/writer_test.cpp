// Packages that are written, and read again.
#include <aoti/package/writer.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "support/support.hpp"

namespace aoti_test {
namespace {

using aoti::Errc;
using aoti::ModelFiles;
using aoti::Package;

class Writer : public testing::Test {
 protected:
  TemporaryDirectory directory;
  std::string path = directory.path() + "/some.name.pt2";
  const aoti::Metadata metadata{{{"AOTI_DEVICE_KEY", "cpu"}, {"note", "a \"quoted\"\n line"}}};
  const std::string image =
                        "\x7f"
                        "ELF",
                    weights = std::string(100, 'w'), text = "more";
  const aoti::Entry more{"more.txt", as_bytes(text)};

  ModelFiles model(std::string_view name = "model") const {
    return {name, as_bytes(image), as_bytes(weights), metadata, {&more, 1}};
  }
};

TEST_F(Writer, WritesWhatIsReadAgain) {
  const ModelFiles models[] = {model("first"), model("second")};
  ASSERT_TRUE(good(aoti::write_package(path, models)));
  const auto package = Package::open(path);
  ASSERT_TRUE(good(package));
  EXPECT_EQ(package.value().model_names(), (std::vector<std::string>{"first", "second"}));
  const auto found = package.value().model("second");
  ASSERT_TRUE(good(found));
  EXPECT_EQ(found.value().image.size(), image.size());
  EXPECT_EQ(found.value().weights.size(), weights.size());
  EXPECT_EQ(found.value().metadata["note"], "a \"quoted\"\n line");
  EXPECT_EQ(found.value().files.size(), 4u);
  const auto added = package.value().file("data/aotinductor/second/more.txt");
  ASSERT_TRUE(good(added));
  EXPECT_EQ(added.value().size(), text.size());
  for (const aoti::Entry& file : package.value().files()) {
    const auto at = reinterpret_cast<std::uintptr_t>(file.data.data());
    EXPECT_EQ(at % aoti::ArchiveWriter::alignment, 0u) << file.name;
    EXPECT_TRUE(file.name.starts_with("some.name/")) << file.name;
  }
}

TEST_F(Writer, GivesTheSameBytesForTheSameModels) {
  const ModelFiles one = model();
  ASSERT_TRUE(good(aoti::write_package(path, {&one, 1})));
  const auto before = read_file(path);
  ASSERT_TRUE(good(aoti::write_package(path, {&one, 1})));
  EXPECT_EQ(read_file(path), before);
}

TEST_F(Writer, RefusesWhatNoLoaderWouldTake) {
  const auto refused = [&](std::vector<ModelFiles> models, const char* part) {
    expect_error(aoti::write_package(path, models), Errc::invalid_argument, {path, part});
  };
  refused({}, "no models");
  refused({model("a"), model("a")}, "two models named 'a'");
  refused({model("")}, "model name ''");
  refused({model("a/b")}, "model name 'a/b'");
  refused({model(".hidden")}, "model name '.hidden'");
  ModelFiles bare = model();
  bare.metadata = {};
  refused({bare}, "lacks AOTI_DEVICE_KEY");
  EXPECT_TRUE(names_in(directory.path()).empty());
}

TEST_F(Writer, LeavesTheOldFileIfItFails) {
  const ModelFiles one = model();
  ASSERT_TRUE(good(aoti::write_package(path, {&one, 1})));
  auto writer = aoti::ArchiveWriter::create(path);
  ASSERT_TRUE(good(writer));
  EXPECT_EQ(names_in(directory.path()).size(), 2u);
  const std::string name(70'000, 'n');
  expect_error(writer.value().add(name, {}), Errc::invalid_argument, {"70000 bytes"});
  { auto unfinished = std::move(writer).value(); }
  EXPECT_EQ(names_in(directory.path()), std::set<std::string>{"some.name.pt2"});
  EXPECT_TRUE(good(Package::open(path)));
  expect_error(aoti::write_package(directory.path() + "/none/x.pt2", {&one, 1}), Errc::not_found,
               {"none/x.pt2", "No such file or directory"});
}

}  // namespace
}  // namespace aoti_test
