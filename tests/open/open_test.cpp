// Opening a runner: from every kind of source, and the errors if that fails.
#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "support/runners.hpp"

namespace aoti_test {
namespace {

using aoti::Backing;
using aoti::Errc;
using aoti::OpenOptions;

class Open : public Tidy {};

void expect_adds(const Runner& runner) {
  const auto result = runner.run<1>(a23(), b23());
  ASSERT_TRUE(good(result));
  EXPECT_EQ(elements<float>(result.value()[0]), sum23);
}

TEST_F(Open, TakesPackagesDirectoriesAndSharedObjects) {
  for (const std::string& path :
       {package("add.pt2"), package("add_plain.pt2"), package("no_root.pt2"), package("zip64.pt2"),
        package("unpacked"), package("unpacked_rooted"), package("no_metadata.pt2"), fake("add"),
        package("minimal.pt2"), fake("minimal")}) {
    SCOPED_TRACE(path);
    auto runner = Runner::open(path);
    ASSERT_TRUE(good(runner));
    EXPECT_EQ(runner.value().input_count(), 2u);
    EXPECT_EQ(runner.value().output_count(), 1u);
    EXPECT_THAT(runner.value().origin(), testing::StartsWith(path));
    expect_adds(runner.value());
  }
}

TEST_F(Open, TakesBytesThatAreNotNeededAfterwards) {
  for (const std::string& path : {package("add.pt2"), fake("add")}) {
    auto bytes = read_file(path);
    auto runner = Runner::open(bytes);
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    ASSERT_TRUE(good(runner)) << path;
    expect_adds(runner.value());
  }
  aoti::Bytes nothing;
  expect_error(Runner::open(nothing), Errc::not_a_package, {"empty"});
}

TEST_F(Open, TakesModelsOfAnOpenPackageByName) {
  auto two = aoti::Package::open(package("two.pt2"));
  ASSERT_TRUE(good(two));
  auto first = Runner::open(two.value(), {.model = "model"});
  auto second = Runner::open(two.value(), {.model = "model2"});
  ASSERT_TRUE(good(first));
  ASSERT_TRUE(good(second));
  two = aoti::Error{Errc::none};  // closes the package
  expect_adds(first.value());
  EXPECT_EQ(second.value().input_count(), 40u);
  EXPECT_EQ(first.value().origin(), package("two.pt2") + " (model)");
  EXPECT_EQ(opened(package("two_reversed.pt2"), {.model = "model"}).input_count(), 2u);
}

TEST_F(Open, LoadsWeightsThatLieBesideTheImage) {
  const Runner runner = opened(package("weights.pt2"));
  const auto result = runner.run<1>(tensor<float>({8}, {1, 1, 1, 1, 1, 1, 1, 1}));
  ASSERT_TRUE(good(result));
  EXPECT_EQ(elements<float>(result.value()[0]), (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}));
}

// Weights inside the image are used in the package, if it stays mapped.
TEST_F(Open, FindsEmbeddedWeightsWhereverTheImageComesFrom) {
  std::vector<std::int32_t> places{0, 1, 393'214, 393'215};
  for (std::int32_t i = 4096; i < 393'216; i += 4093) places.push_back(i);
  const auto numbers = tensor<std::int32_t>({static_cast<std::int64_t>(places.size())}, places);
  const auto expect_finds = [&](const Runner& runner) {
    const auto result = runner.run<1>(numbers);
    ASSERT_TRUE(good(result));
    EXPECT_EQ(elements<std::int32_t>(result.value()[0]), places);
  };
  for (const Backing backing : {Backing::memory, Backing::temporary_file}) {
    const OpenOptions options{.backing = backing};
    const Footprint before;
    for (const std::string& path :
         {package("embedded.pt2"), package("unpacked_embedded"), fake("embedded")}) {
      SCOPED_TRACE(path);
      Runner runner = opened(path, options);
      Runner other = opened(path, options);
      std::move(other).unload();
      expect_finds(runner);
      Runner moved = std::move(runner);
      expect_finds(moved);
      std::move(moved).unload();
    }
    for (const std::string& path : {package("embedded.pt2"), fake("embedded")}) {
      auto bytes = read_file(path);
      auto runner = Runner::open(bytes, options);
      std::fill(bytes.begin(), bytes.end(), std::byte{0xee});
      ASSERT_TRUE(good(runner));
      expect_finds(runner.value());
      std::move(runner).value().unload();
    }
    EXPECT_EQ(Footprint{}, before);
  }
}

TEST_F(Open, KeepsTheImageReadableWhileTheModelIsCreated) {
  for (const Backing backing : {Backing::memory, Backing::temporary_file}) {
    expect_adds(opened(package("appended.pt2"), {.backing = backing}));
  }
  expect_error(Runner::open(fake("appended")), Errc::model_failed, {"no weights at the end"});
}

TEST_F(Open, LeavesOutTorchsEmptyLibraries) { expect_adds(opened(package("needs_torch.pt2"))); }

TEST_F(Open, NeedsNoMoreFromTheProcessThanBefore) {
  const TemporaryDirectory directory;
  expect_adds(opened(package("add.pt2")));
  for (const Backing backing : {Backing::memory, Backing::temporary_file}) {
    const Footprint before;
    auto runner = opened(package("add.pt2"), {.backing = backing});
    EXPECT_EQ(Footprint{}.descriptors, before.descriptors);
    EXPECT_TRUE(names_in(directory.path()).empty());
    expect_adds(runner);
    std::move(runner).unload();
    EXPECT_EQ(Footprint{}, before);
  }
}

// Two models from one image behave as two models: nothing that they write to is shared.
TEST_F(Open, GivesEachRunnerAModelOfItsOwn) {
  const auto count = [](int number) { return tensor<std::int32_t>({1}, {number}); };
  const Runner first = opened(package("unique.pt2")), second = opened(package("unique.pt2"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(good(first.run<1>(count(i)))) << i;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(good(second.run<1>(count(i)))) << i;
  expect_error(second.run<1>(count(7)), Errc::model_failed, {"the count differs"});
}

// Packages closed and opened in turn, so that descriptors are reused for other images. The threads
// of an OpenMP library outlive the model that loaded it.
TEST_F(Open, LeavesWhatTheImageBroughtWhenItIsUnloaded) {
  ASSERT_FALSE(aoti::is_loaded("libgomp.so.1"));
  for (int i = 0; i < 5; ++i) {
    Runner runner = opened(package("parallel.pt2"));
    expect_adds(runner);
    std::move(runner).unload();
    EXPECT_TRUE(aoti::is_loaded("libgomp.so.1"));
    ::usleep(1000);  // so that the threads go to sleep
  }
}

TEST_F(Open, NeverTakesOneModelForAnother) {
  for (int i = 0; i < 20; ++i) {
    Runner add = opened(package("add.pt2"));
    Runner many = opened(package("many.pt2"));
    ASSERT_EQ(add.input_count(), 2u);
    ASSERT_EQ(many.input_count(), 40u);
    if (i % 2 == 0) std::move(add).unload();
    if (i % 3 == 0) std::move(many).unload();
  }
}

struct Case {
  const char* name;
  Errc code;
  std::vector<std::string> parts{};
  OpenOptions options{};
};

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

class CannotOpen : public Tidy, public testing::WithParamInterface<Case> {};

TEST_P(CannotOpen, SaysWhyAndLeavesNothing) {
  const Case& test = GetParam();
  const std::string path = package(test.name);
  const TemporaryDirectory directory;
  for (const Backing backing : {Backing::memory, Backing::temporary_file}) {
    OpenOptions options = test.options;
    options.backing = backing;
    const Footprint before;
    testing::internal::CaptureStderr();
    const auto runner = Runner::open(path, options);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    expect_error(runner, test.code, test.parts);
    EXPECT_EQ(Footprint{}, before);
    EXPECT_TRUE(names_in(directory.path()).empty());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Each, CannotOpen,
    testing::Values(
        Case{"absent.pt2", Errc::not_found, {"absent.pt2", "No such file"}},
        Case{"empty.pt2", Errc::not_a_package, {"empty.pt2", "the file is empty"}},
        Case{"text.pt2", Errc::not_a_package, {"text.pt2", "does not begin as a zip file does"}},
        Case{"other.zip", Errc::not_a_package, {"other.zip", "data/aotinductor"}},
        Case{"no_model", Errc::not_a_package, {"no_model", "data/aotinductor"}},
        Case{"exported.pt2",
             Errc::no_such_model,
             {"exported.pt2", "torch.export.save", "aoti_compile_and_package"}},
        Case{"cut.pt2", Errc::damaged_package, {"cut.pt2", "cut off"}},
        Case{"compressed.pt2", Errc::unsupported, {"compressed.pt2", "is compressed"}},
        Case{"encrypted.pt2", Errc::unsupported, {"encrypted.pt2", "is encrypted"}},
        Case{"parent.pt2", Errc::damaged_package, {"parent.pt2", "../../etc/passwd"}},
        Case{"absolute.pt2", Errc::damaged_package, {"absolute.pt2", "/etc/passwd"}},
        Case{"twice.pt2", Errc::damaged_package, {"twice.pt2", "two entries"}},
        Case{"two_images.pt2",
             Errc::damaged_package,
             {"two_images.pt2 (model)", "more than one image"}},
        Case{"bad_metadata.pt2", Errc::damaged_package, {"bad_metadata.pt2 (model)", "metadata"}},
        Case{"two.pt2", Errc::ambiguous_model, {"two.pt2", "model, model2"}},
        Case{"two_reversed.pt2",
             Errc::no_such_model,
             {"two_reversed.pt2", "'mode'", "model, model2"},
             {.model = "mode"}},
        Case{"add.pt2",
             Errc::no_such_model,
             {"add.pt2", "'other'", "holds model"},
             {.model = "other"}},
        Case{"add_plain.pt2",
             Errc::invalid_argument,
             {"add_plain.pt2 (model)", "found 0 instances, expected 1"},
             {.instances = 0}},
        Case{"zip64.pt2",
             Errc::invalid_argument,
             {"zip64.pt2 (model)", "found 2 instances, expected 1"},
             {.instances = 2}},
        Case{"no_root.pt2", Errc::device_unavailable, {"cpu:3"}, {.device = {3}}},
        Case{"cuda.pt2", Errc::wrong_device, {"cuda.pt2 (model)", "compiled for cuda", "for cpu"}},
        Case{"machine.pt2", Errc::wrong_machine, {"machine.pt2 (model)", "compiled for sparc"}},
        Case{"platform.pt2", Errc::wrong_machine, {"platform.pt2 (model)", "compiled for win32"}},
        Case{"elf_machine.pt2", Errc::wrong_machine, {"elf_machine.pt2 (model)", "compiled for"}},
        Case{"elf_32_bit.pt2", Errc::wrong_machine, {"elf_32_bit.pt2 (model)", "64-bit"}},
        Case{"elf_big_endian.pt2",
             Errc::wrong_machine,
             {"elf_big_endian.pt2 (model)", "little-endian"}},
        Case{"elf_executable.pt2",
             Errc::damaged_package,
             {"elf_executable.pt2 (model)", "not a shared object"}},
        Case{"no_elf.pt2", Errc::not_a_package, {"no_elf.pt2 (model)", "not an ELF"}},
        Case{"cut_image.pt2", Errc::damaged_package, {"cut_image.pt2 (model)", "cut off"}},
        Case{"windows.pt2", Errc::wrong_machine, {"windows.pt2 (model)", "Windows (PE)"}},
        Case{"newer_libc.pt2",
             Errc::library_load_failed,
             {"newer_libc.pt2 (model)", "it needs GLIBC_9.9"}},
        Case{"sources_only.pt2", Errc::unsupported, {"sources_only.pt2 (model)", "sources only"}},
        Case{"lacks_required.pt2",
             Errc::missing_export,
             {"lacks_required.pt2 (model)", "AOTInductorModelContainerRun"}},
        Case{"lacks_import.pt2",
             Errc::missing_import,
             {"lacks_import.pt2 (model)", "aoti_torch_no_such_function"}},
        Case{"operators.pt2",
             Errc::unsupported,
             {"operators.pt2 (model)", "proxy executor",
              "mylib::twice, mylib::thrice, __torch__.torch.classes.mylib.Table"}},
        Case{"nodes_no_list.pt2",
             Errc::damaged_package,
             {"nodes_no_list.pt2 (model)", "extern nodes"}},
        Case{"nodes_no_target.pt2",
             Errc::damaged_package,
             {"nodes_no_target.pt2 (model)", "extern nodes"}},
        Case{"nodes_no_inputs.pt2",
             Errc::damaged_package,
             {"nodes_no_inputs.pt2 (model)", "extern nodes"}},
        Case{"bad_nodes.pt2", Errc::damaged_package, {"bad_nodes.pt2 (model)", "extern nodes"}},
        Case{"needs_other.pt2",
             Errc::library_load_failed,
             {"needs_other.pt2 (model)", "libother_fake.so"}},
        Case{"no_weights.pt2", Errc::unsupported, {"no_weights.pt2 (model)", "no weights"}},
        Case{"short_weights.pt2",
             Errc::damaged_package,
             {"short_weights.pt2 (model)", "have 28 bytes, expected 32"}},
        Case{"unasked_weights.pt2",
             Errc::unsupported,
             {"AOTInductorModelContainerGetConstantsBlobSize", "torch 2.11"}},
        Case{"spec_no_json.pt2",
             Errc::damaged_package,
             {"spec_no_json.pt2 (model)", "input spec", "JSON"}},
        Case{"spec_counts.pt2",
             Errc::damaged_package,
             {"spec_counts.pt2 (model)", "lists 1 inputs and 1 outputs", "has 2 and 1"}},
        Case{"spec_later.pt2", Errc::unsupported, {"spec_later.pt2 (model)", "version 3"}},
        Case{"spec_dtype.pt2",
             Errc::damaged_package,
             {"spec_dtype.pt2 (model)", "no known dtype for b"}},
        Case{"fails_create.pt2",
             Errc::model_failed,
             {"AOTInductorModelContainerCreateWithDevice", "the fake cannot be created"}},
        Case{"huge.pt2",
             Errc::unsupported,
             {"huge.pt2 (model)", "found 1025 inputs", "at most 1024"}}),
    [](const auto& test) {
      std::string name = test.param.name;
      for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
      return name;
    });

TEST_F(Open, ASharedObjectHasNoModelNames) {
  expect_error(Runner::open(fake("add"), {.model = "model"}), Errc::no_such_model,
               {fake("add"), "'model'"});
}

TEST_F(Open, OtherPackagesCarryNodesWithoutOperators) {
  expect_adds(opened(package("no_nodes.pt2")));
}

#if defined(__cpp_exceptions)
TEST_F(Open, AModelThatThrowsWhileItIsCreatedIsAnError) {
  const Footprint before;
  expect_error(
      Runner::open(package("throws_create.pt2")), Errc::model_threw,
      {"AOTInductorModelContainerCreateWithDevice", "the fake threw while it was created"});
  EXPECT_EQ(Footprint{}.descriptors, before.descriptors);
}
#endif

// GPU models load each kernel from a file when they first run it.
TEST_F(Open, GivesKernelsAFolderAsLongAsTheModelLives) {
  const TemporaryDirectory temporary;
  {
    Runner runner = opened(package("kernels.pt2"));
    const std::set<std::string> folders = names_in(temporary.path());
    ASSERT_EQ(folders.size(), 1u);
    EXPECT_EQ(names_in(temporary.path() + "/" + *folders.begin()),
              (std::set<std::string>{"one.cubin", "two.cubin"}));
    Runner moved = std::move(runner);
    for (int i = 0; i < 2; ++i) {
      const auto sum = moved.run<1>(a23(), b23());
      ASSERT_TRUE(good(sum));
      EXPECT_EQ(elements<float>(sum.value()[0]), sum23);
    }
  }
  EXPECT_TRUE(names_in(temporary.path()).empty());
  {
    const Runner unpacked = opened(package("unpacked_kernels"));
    EXPECT_TRUE(names_in(temporary.path()).empty());
    EXPECT_TRUE(good(unpacked.run<1>(a23(), b23())));
  }
  const std::string folder = package("unpacked_kernels/data/aotinductor/model");
  EXPECT_EQ(names_in(folder).size(), 5u);
  for (const std::string& path : {fake("kernels"), package("kernels.pt2")}) {
    const Runner told = opened(path, {.kernel_folder = folder});
    EXPECT_TRUE(names_in(temporary.path()).empty());
    EXPECT_TRUE(good(told.run<1>(a23(), b23())));
  }
  expect_error(opened(fake("kernels")).run<1>(a23(), b23()), Errc::model_failed);
  ::setenv("TMPDIR", "/no/such/folder", 1);
  expect_error(Runner::open(package("kernels.pt2")), Errc::library_load_failed,
               {"kernels.pt2 (model)", "writing the kernel /no/such/folder/aoti-"});
  ::setenv("TMPDIR", temporary.path().c_str(), 1);
}

}  // namespace
}  // namespace aoti_test
