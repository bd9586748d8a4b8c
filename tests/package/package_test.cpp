#include <aoti/package/package.hpp>

#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "support/support.hpp"

namespace {

using aoti::Errc;
using aoti::Package;
using aoti::PackagedModel;
using aoti_test::expect_error;
using aoti_test::Footprint;
using aoti_test::good;
using aoti_test::package;
using aoti_test::read_file;

std::string text(aoti::Bytes bytes) { return std::string{aoti::detail::as_text(bytes)}; }

TEST(Package, OpensInEveryForm) {
  const Footprint before;
  const auto image = read_file(aoti_test::fake("add"));
  for (const char* name :
       {"add.pt2", "add_plain.pt2", "no_root.pt2", "zip64.pt2", "zip64_no_descriptors.pt2",
        "no_descriptors.pt2", "unaligned.pt2", "commented.pt2", "by_zipfile.pt2", "extra.pt2",
        "no_metadata.pt2", "unpacked", "unpacked/", "unpacked_rooted"}) {
    SCOPED_TRACE(name);
    const auto opened = Package::open(package(name));
    ASSERT_TRUE(good(opened));
    EXPECT_EQ(opened.value().origin(), package(name));
    EXPECT_EQ(opened.value().model_names(), std::vector<std::string>{"model"});
    for (const char* asked : {"", "model"}) {
      const auto model = opened.value().model(asked);
      ASSERT_TRUE(good(model));
      EXPECT_EQ(model.value().name, "model");
      EXPECT_EQ(model.value().origin, package(name) + " (model)");
      EXPECT_TRUE(std::equal(image.begin(), image.end(), model.value().image.begin(),
                             model.value().image.end()));
      EXPECT_EQ(model.value().files.size(), std::string_view{name} == "no_metadata.pt2" ? 2u : 3u);
      EXPECT_EQ(model.value().metadata["AOTI_DEVICE_KEY"],
                std::string_view{name} == "no_metadata.pt2" ? "" : "cpu");
      EXPECT_TRUE(model.value().weights.empty());
      EXPECT_TRUE(model.value().extern_nodes.empty());
    }
  }
  EXPECT_EQ(Footprint{}, before);
}

TEST(Package, TakesABareImageAndWhatLiesBesideIt) {
  const aoti_test::TemporaryDirectory folder;
  const std::string stem = folder.path() + "/m.wrapper", path = stem + ".so";
  const auto write = [](const std::string& to, std::string_view content) {
    std::ofstream{to, std::ios::binary} << content;
  };
  const auto model_of = [&] {
    const auto package = Package::open(path);
    EXPECT_TRUE(good(package));
    EXPECT_EQ(package.value().model_names(), std::vector<std::string>{""});
    expect_error(package.value().model("model"), Errc::no_such_model, {path, "'model'"});
    auto model = package.value().model();
    EXPECT_TRUE(good(model));
    return text(model.value().extern_nodes) + "|" + text(model.value().weights) + "|" +
           std::string{model.value().metadata["AOTI_DEVICE_KEY"]} + "|" +
           std::to_string(model.value().files.size());
  };
  write(path, text(read_file(aoti_test::fake("calls"))));
  EXPECT_EQ(model_of(), "|||1");
  write(stem + ".cpp", "// generated");
  write(stem + ".json", "nodes");
  write(stem + "_weights.blob", "weights");
  write(stem + "_metadata.json", R"({"AOTI_DEVICE_KEY": "cpu"})");
  EXPECT_EQ(model_of(), "nodes|weights|cpu|5");
  // A file that has the name by chance does no harm.
  write(stem + "_metadata.json", R"({"author": 3})");
  write(path, text(read_file(aoti_test::fake("add"))));
  EXPECT_EQ(model_of(), "|weights||5");

  const auto bytes = read_file(path);
  const auto in_memory = Package::from_bytes(bytes, "my bytes");
  ASSERT_TRUE(good(in_memory));
  const auto model = in_memory.value().model();
  ASSERT_TRUE(good(model));
  EXPECT_EQ(model.value().image.data(), bytes.data());
  EXPECT_EQ(model.value().origin, "my bytes");
}

TEST(Package, OpensFromMemoryWithoutCopies) {
  const auto bytes = read_file(package("weights.pt2"));
  const auto opened = Package::from_bytes(bytes, "my bytes");
  ASSERT_TRUE(good(opened));
  const auto model = opened.value().model();
  ASSERT_TRUE(good(model));
  EXPECT_EQ(model.value().origin, "my bytes (model)");
  EXPECT_EQ(model.value().weights.size(), 32u);
  EXPECT_GE(model.value().image.data(), bytes.data());
  EXPECT_LT(model.value().image.data(), bytes.data() + bytes.size());
}

TEST(Package, SurvivesBeingMoved) {
  for (const char* name : {"add.pt2", "unpacked"}) {
    auto opened = Package::open(package(name));
    ASSERT_TRUE(good(opened));
    const Package moved = std::move(opened).value();
    const auto model = moved.model("model");
    ASSERT_TRUE(good(model));
    EXPECT_FALSE(model.value().image.empty());
    EXPECT_EQ(text(moved.file("archive_format").value()), "pt2");
  }
}

TEST(Package, KeepsModelsOfSimilarNamesApart) {
  const auto add = read_file(aoti_test::fake("add")), many = read_file(aoti_test::fake("many"));
  for (const char* name : {"two.pt2", "two_reversed.pt2"}) {
    const auto opened = Package::open(package(name));
    ASSERT_TRUE(good(opened));
    EXPECT_EQ(opened.value().model_names(), (std::vector<std::string>{"model", "model2"}));
    const auto first = opened.value().model("model"), second = opened.value().model("model2");
    ASSERT_TRUE(good(first));
    ASSERT_TRUE(good(second));
    EXPECT_EQ(text(first.value().image), text(add));
    EXPECT_EQ(text(second.value().image), text(many));
    EXPECT_EQ(first.value().files.size(), 3u);
    expect_error(opened.value().model(), Errc::ambiguous_model, {package(name), "model, model2"});
    for (const char* wrong : {"mode", "model22", "Model", "model/", "two", "odel", ".", "*"}) {
      expect_error(opened.value().model(wrong), Errc::no_such_model,
                   {package(name), "'" + std::string{wrong} + "'", "model, model2"});
    }
  }
}

TEST(Package, HandsOutFilesAndMetadata) {
  const auto opened = Package::open(package("extra.pt2"));
  ASSERT_TRUE(good(opened));
  const struct {
    const char* path;
    std::string_view content;
  } cases[] = {
      {"extra/notes.txt", "notes"},
      {"extra/deep/er.bin", {"\0\1\2", 3}},
      {"extra/none", ""},
      {"archive_version", "0"},
  };
  for (const auto& [path, content] : cases) {
    const auto file = opened.value().file(path);
    ASSERT_TRUE(good(file)) << path;
    EXPECT_EQ(text(file.value()), content) << path;
  }
  for (const char* path :
       {"extra/notes", "notes.txt", "extra", "extra/", "", "extra/extra/notes.txt"}) {
    expect_error(opened.value().file(path), Errc::not_found, {package("extra.pt2"), path});
  }
  EXPECT_EQ(opened.value().files().size(), 9u);

  const auto described = Package::open(package("add.pt2"));
  ASSERT_TRUE(good(described));
  const auto model = described.value().model();
  ASSERT_TRUE(good(model));
  EXPECT_EQ(model.value().metadata["author"], "the tests");
  EXPECT_EQ(model.value().metadata["AOTI_PLATFORM"], "linux");
  EXPECT_EQ(model.value().metadata["no such key"], "");
  EXPECT_FALSE(model.value().metadata.contains("no such key"));
  EXPECT_EQ(model.value().metadata.find("no such key"), nullptr);
  EXPECT_TRUE(model.value().metadata.contains("author"));
  EXPECT_EQ(model.value().metadata.items.size(), 6u);
}

struct Case {
  const char* name;
  Errc code;
  std::vector<std::string> parts;
};

class BadPackage : public testing::TestWithParam<Case> {};

TEST_P(BadPackage, IsRefusedAndLeavesNothing) {
  const auto& [name, code, parts] = GetParam();
  const std::string path = package(name);
  const Footprint before;
  {
    const auto opened = Package::open(path);
    expect_error(opened, code, parts);
    expect_error(opened, code, {path});
  }
  EXPECT_EQ(Footprint{}, before);
}

INSTANTIATE_TEST_SUITE_P(
    Each, BadPackage,
    testing::Values(
        Case{"absent.pt2", Errc::not_found, {"No such file or directory"}},
        Case{"empty.pt2", Errc::not_a_package, {"the file is empty"}},
        Case{"text.pt2", Errc::not_a_package, {"does not begin as a zip file does"}},
        Case{"other.zip", Errc::not_a_package, {"archive_format", "data/aotinductor"}},
        Case{"no_model", Errc::not_a_package, {"archive_format", "data/aotinductor"}},
        Case{"no_files", Errc::not_a_package, {"archive_format", "data/aotinductor"}},
        Case{"unpacked/data", Errc::not_a_package, {"archive_format", "data/aotinductor"}},
        Case{"several", Errc::not_a_package, {"several packages", "one/", "two/"}},
        Case{"add.pt2/add", Errc::not_found, {"Not a directory"}},
        Case{
            "exported.pt2", Errc::no_such_model, {"torch.export.save", "aoti_compile_and_package"}},
        Case{"cut.pt2", Errc::damaged_package, {"cut off"}},
        Case{"compressed.pt2", Errc::unsupported, {"is compressed", "stored", "`zip -0 -r`"}},
        Case{"exported_before.pt2",
             Errc::not_a_package,
             {"an exported program", "torch.export.save", "torch.export.load(file)"}},
        Case{"script.pt2", Errc::not_a_package, {"a TorchScript file", "torch.export"}},
        Case{"saved.pt2", Errc::not_a_package, {"torch.save", "aoti.export"}},
        Case{"arrays.npz", Errc::not_a_package, {"numpy arrays"}},
        Case{"model.safetensors", Errc::not_a_package, {"a safetensors file", "no model"}},
        Case{"old.pth", Errc::not_a_package, {"a pickle", "aoti.export"}},
        Case{"model.gguf", Errc::not_a_package, {"another runtime", "GGUF"}},
        Case{"model.pte", Errc::not_a_package, {"another runtime", "ExecuTorch"}},
        Case{"model.pt2.gz", Errc::not_a_package, {"a program other than zip", "unpack it"}},
        Case{"pointer.pt2", Errc::not_a_package, {"git lfs pull"}},
        Case{"page.pt2", Errc::not_a_package, {"a web page"}},
        Case{"encrypted.pt2", Errc::unsupported, {"is encrypted", "stored"}},
        Case{"parent.pt2", Errc::damaged_package, {"'r/../../etc/passwd'"}},
        Case{"absolute.pt2", Errc::damaged_package, {"'/etc/passwd'"}},
        Case{"twice.pt2", Errc::damaged_package, {"two entries are named r/byteorder"}}),
    [](const auto& test) {
      std::string name = test.param.name;
      for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
      return name;
    });

TEST(Package, TellsOfADamagedModelWhenThatIsAskedFor) {
  const Case cases[] = {
      {"two_images.pt2", Errc::damaged_package, {"more than one image"}},
      {"bad_metadata.pt2", Errc::damaged_package, {"metadata", "JSON"}},
      {"list_metadata.pt2", Errc::damaged_package, {"metadata"}},
  };
  for (const auto& [name, code, parts] : cases) {
    SCOPED_TRACE(name);
    const auto opened = Package::open(package(name));
    ASSERT_TRUE(good(opened));
    expect_error(opened.value().model(), code, parts);
    expect_error(opened.value().model(), code, {package(name)});
  }
}

// A truncated package is an error at every length, however it is opened.
TEST(Package, CutOffAnywhereIsAnError) {
  const auto bytes = read_file(package("small.pt2"));
  ASSERT_TRUE(good(Package::from_bytes(bytes)));
  const aoti_test::TemporaryDirectory directory;
  const std::string path = directory.path() + "/cut.pt2";
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<std::byte> cut(bytes.begin(),
                                     bytes.begin() + static_cast<std::ptrdiff_t>(size));
    const Errc code = size < 4 ? Errc::not_a_package : Errc::damaged_package;
    expect_error(Package::from_bytes(cut), code, {"package in memory"});
    if (size % 37 != 0) continue;
    std::ofstream{path, std::ios::binary} << text(cut);
    expect_error(Package::open(path), code, {path});
  }
}

}  // namespace
