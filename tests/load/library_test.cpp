#include <aoti/load/library.hpp>

#include <string>
#include <vector>

#include "support/fake_runtime.hpp"
#include "support/support.hpp"

namespace {

using aoti::Backing;
using aoti::Errc;
using aoti::Library;
using aoti_test::fake;
using aoti_test::Footprint;
using aoti_test::read_file;

class LibraryOf : public testing::TestWithParam<Backing> {
 protected:
  static aoti::Result<Library> load(const std::string& path) {
    const auto bytes = read_file(path);
    const auto image = aoti::Image::parse(bytes, path);
    EXPECT_TRUE(aoti_test::good(image));
    return Library::load(bytes, image.value().edits([](std::string_view) { return false; }), path,
                         GetParam());
  }
};

TEST_P(LibraryOf, EachLoadIsALibraryOfItsOwn) {
  std::vector<Library> libraries;
  std::vector<void*> addresses;
  // The descriptors of those that are closed are used again.
  for (const char* name : {"add", "add", "minimal", "add", "unique", "unique"}) {
    auto library = load(fake(name));
    ASSERT_TRUE(aoti_test::good(library)) << name;
    void* run = library.value().symbol("AOTInductorModelContainerRun");
    ASSERT_NE(run, nullptr) << name;
    for (const void* other : addresses) EXPECT_NE(run, other) << name;
    addresses.push_back(run);
    EXPECT_EQ(library.value().symbol("AOTInductorGetLastError") != nullptr,
              std::string{name} != "minimal")
        << name;
    EXPECT_EQ(library.value().symbol("no_such_symbol"), nullptr);
    library.value().close_file();
    libraries.push_back(std::move(library).value());
  }
  EXPECT_NE(libraries[4].symbol("runs"), libraries[5].symbol("runs"));
  for (Library& library : libraries) library.unload();
}

TEST_P(LibraryOf, UnloadingGivesEverythingBack) {
  const aoti_test::TemporaryDirectory directory;
  for (const char* name : {"add", "unique"}) {
    const Footprint before;
    auto library = load(fake(name));
    ASSERT_TRUE(aoti_test::good(library));
    EXPECT_EQ(aoti_test::names_in(directory.path()).size(),
              GetParam() == Backing::temporary_file ? 1u : 0u);
    library.value().close_file();
    EXPECT_TRUE(aoti_test::names_in(directory.path()).empty());
    EXPECT_EQ(Footprint{}.descriptors, before.descriptors);
    EXPECT_GT(Footprint{}.mappings, before.mappings);
    library.value().unload();
    EXPECT_EQ(Footprint{}, before) << name;
    EXPECT_EQ(library.value().symbol("AOTInductorModelContainerRun"), nullptr);
  }
}

TEST_P(LibraryOf, StaysLoadedWhenTheObjectDies) {
  const Footprint before;
  void* symbol = nullptr;
  {
    auto library = load(fake("add"));
    ASSERT_TRUE(aoti_test::good(library));
    symbol = library.value().symbol("AOTInductorModelContainerGetNumInputs");
  }
  EXPECT_EQ(Footprint{}.descriptors, before.descriptors);
  ASSERT_NE(symbol, nullptr);
  std::size_t count = 0;
  reinterpret_cast<AOTIRuntimeError (*)(AOTInductorModelContainerHandle, std::size_t*)>(symbol)(
      nullptr, &count);
  EXPECT_EQ(count, 2u);
}

TEST_P(LibraryOf, AFailureLeavesNothing) {
  const aoti_test::TemporaryDirectory directory;
  const auto add = read_file(fake("add"));
  const Footprint before;
  const std::vector<std::byte> images[] = {
      {}, {add.begin(), add.begin() + 40}, read_file(aoti_test::package("add.pt2"))};
  for (const auto& image : images) {
    aoti_test::expect_error(Library::load(image, {}, "the name", GetParam()),
                            Errc::library_load_failed, {"the name"});
  }
  aoti_test::expect_error(load(fake("lacks_import")), Errc::library_load_failed, {"aoti_torch_"});
  EXPECT_EQ(Footprint{}, before);
  EXPECT_TRUE(aoti_test::names_in(directory.path()).empty());
}

TEST_P(LibraryOf, TakesAnyName) {
  const auto bytes = read_file(fake("none"));
  for (const std::string& name :
       {std::string{}, std::string(5000, 'x'), std::string{"a/b (c)\n%s"}, std::string{"ends/"}}) {
    auto library = Library::load(bytes, {}, name, GetParam());
    ASSERT_TRUE(aoti_test::good(library)) << name;
    library.value().unload();
  }
}

INSTANTIATE_TEST_SUITE_P(EachBacking, LibraryOf,
                         testing::Values(Backing::memory, Backing::temporary_file),
                         [](const auto& test) {
                           return test.param == Backing::memory ? "memory" : "temporary_file";
                         });

TEST(Library, SaysWhereATemporaryFileCannotBeMade) {
  const aoti_test::TemporaryDirectory directory;
  ::setenv("TMPDIR", "/no/such/directory", 1);
  const Footprint before;
  const auto bytes = read_file(fake("none"));
  aoti_test::expect_error(Library::load(bytes, {}, "the name", Backing::temporary_file),
                          Errc::library_load_failed,
                          {"the name", "/no/such/directory", "No such file or directory"});
  EXPECT_EQ(Footprint{}, before);
  auto library = Library::load(bytes, {}, "the name", Backing::memory);
  EXPECT_TRUE(aoti_test::good(library));
}

TEST(IsLoaded, TellsWhetherTheProcessHasALibrary) {
  EXPECT_TRUE(aoti::is_loaded("libc.so.6"));
  EXPECT_FALSE(aoti::is_loaded("libno_such_library.so"));
}

}  // namespace
