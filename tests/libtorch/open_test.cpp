// Every way to open a model, and what is left behind: no file, no descriptor, no mapping, no word.
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "libtorch/models.hpp"

namespace {

using aoti::Backing;
using aoti::Bytes;
using aoti::Errc;
using aoti::OpenOptions;
using aoti::Package;
using aoti_test::close;
using aoti_test::expect_error;
using aoti_test::Footprint;
using aoti_test::good;
using aoti_test::model_path;
using aoti_test::names_in;
using aoti_test::opened;
using aoti_test::read_file;
using aoti_test::recorded_mlp;
using aoti_test::Runner;
using aoti_test::TemporaryDirectory;
using aoti_test::value_of;

// One for each place where weights may lie; those of "wide" are large enough to be used in place.
const std::vector<const char*>& models() {
  static const std::vector<const char*> names =
      aoti_test::available({"mlp", "mlp_plain", "mlp_appended", "mlp_beside", "wide"});
  return names;
}
constexpr std::array backings{Backing::memory, Backing::temporary_file};

void write(const std::string& path, Bytes bytes) {
  std::filesystem::create_directories(std::filesystem::path{path}.parent_path());
  std::ofstream file{path, std::ios::binary};
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good()) << path;
}

/// A directory into which a package was unpacked, gone with this object.
class Unpacked {
 public:
  explicit Unpacked(std::string_view model)
      : path_{testing::TempDir() + "aoti_unpacked_" + std::to_string(::getpid())} {
    const auto package = value_of(Package::open(model_path(model)));
    for (const aoti::Entry& entry : package.files()) {
      write(path_ + "/" + std::string{entry.name}, entry.data);
    }
  }
  Unpacked(const Unpacked&) = delete;
  Unpacked& operator=(const Unpacked&) = delete;
  ~Unpacked() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// The image of a package's only model.
std::vector<std::byte> image_of(std::string_view name) {
  const auto package = value_of(Package::open(model_path(name)));
  const auto model = value_of(package.model());
  return {model.image.begin(), model.image.end()};
}

aoti_test::Recorded recorded_of(std::string_view name) {
  return name == "wide" ? aoti_test::recorded_wide() : recorded_mlp();
}

void expect_works(const Runner& runner, std::string_view name) {
  const auto [input, output] = recorded_of(name);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(close(value_of(runner.run<1>(input))[0], output));
}

TEST(Open, TakesAPath) {
  for (const char* name : models()) {
    SCOPED_TRACE(name);
    for (const Backing backing : backings) {
      const auto runner = opened(name, {.backing = backing});
      EXPECT_EQ(runner.origin(), model_path(name) + " (model)");
      expect_works(runner, name);
    }
  }
}

TEST(Open, TakesAPackageThatMayBeClosed) {
  for (const char* name : models()) {
    SCOPED_TRACE(name);
    for (const Backing backing : backings) {
      std::optional<Package> package = value_of(Package::open(model_path(name)));
      const auto runner = value_of(Runner::open(*package, {.backing = backing}));
      package.reset();
      expect_works(runner, name);
    }
  }
}

TEST(Open, TakesBytesThatMayGo) {
  for (const char* name : models()) {
    SCOPED_TRACE(name);
    for (const Backing backing : backings) {
      std::vector<std::byte> bytes = read_file(model_path(name));
      const auto runner = value_of(Runner::open(bytes, {.backing = backing}));
      std::fill(bytes.begin(), bytes.end(), std::byte{0xee});
      expect_works(runner, name);
      EXPECT_EQ(runner.spec() == nullptr, std::string_view{name} == "mlp_plain");
    }
  }
}

TEST(Open, TakesADirectory) {
  for (const char* name : models()) {
    SCOPED_TRACE(name);
    for (const Backing backing : backings) {
      std::optional<Unpacked> directory{name};
      const auto runner = value_of(Runner::open(directory->path(), {.backing = backing}));
      EXPECT_EQ(runner.origin(), directory->path() + " (model)");
      directory.reset();
      expect_works(runner, name);
    }
  }
}

TEST(Open, TakesABareImage) {
  const TemporaryDirectory directory;
  for (const char* name : aoti_test::available({"mlp", "mlp_plain", "mlp_appended", "wide"})) {
    SCOPED_TRACE(name);
    const std::string path = directory.path() + "/" + name + ".so";
    std::vector<std::byte> image = image_of(name);
    write(path, image);
    for (const Backing backing : backings) {
      const auto by_path = value_of(Runner::open(path, {.backing = backing}));
      EXPECT_EQ(by_path.origin(), path);
      EXPECT_EQ(by_path.spec(), nullptr);
      EXPECT_TRUE(by_path.metadata().items.empty());
      expect_works(by_path, name);
      const auto by_bytes = value_of(Runner::open(image, {.backing = backing}));
      EXPECT_EQ(by_bytes.spec(), nullptr);
      expect_works(by_bytes, name);
    }
    expect_error(Runner::open(path, {.model = "model"}), Errc::no_such_model, {path, "'model'"});
    std::filesystem::remove(path);
  }
  if (aoti_test::unavailable("mlp_beside").empty()) {
    expect_error(Runner::open(image_of("mlp_beside")), Errc::unsupported, {"no weights"});
  }
}

TEST(Open, TakesBytesAndDirectoriesOfSeveralModels) {
  const at::Tensor a = at::randn({8}), b = at::randn({8});
  const Unpacked directory{"pair"};
  const auto bytes = read_file(model_path("pair"));
  const auto package = value_of(Package::open(model_path("pair")));
  const OpenOptions second{.model = "model2"};
  for (const auto& runner : {Runner::open(directory.path(), second), Runner::open(bytes, second),
                             Runner::open(package, second)}) {
    ASSERT_TRUE(good(runner));
    EXPECT_TRUE(aoti_test::same(value_of(runner.value().run<1>(a, b))[0], a - b));
  }
  expect_error(Runner::open(directory.path()), Errc::ambiguous_model, {"model, model2"});
  expect_error(Runner::open(bytes), Errc::ambiguous_model, {"model, model2"});
  expect_error(Runner::open(package), Errc::ambiguous_model, {"model, model2"});
}

TEST(Open, GivesRunnersThatDoNotTouchEachOther) {
  for (const char* name : models()) {
    SCOPED_TRACE(name);
    for (const Backing backing : backings) {
      const auto first = opened(name, {.backing = backing});
      {
        auto second = opened(name, {.backing = backing});
        EXPECT_NE(first.container().handle(), second.container().handle());
        EXPECT_NE(first.container().exports().run, second.container().exports().run);
        expect_works(first, name);
        expect_works(second, name);
        std::move(second).unload();
      }
      const auto third = opened(name, {.backing = backing});
      expect_works(first, name);
      expect_works(third, name);
    }
  }
}

// On one thread that lives on: a model keeps the text of its last error in a thread-local string,
// which would keep its image loaded if it registered the string's destructor.
TEST(Open, LeavesNothingOnceUnloaded) {
  const bool leaves = aoti_test::compiled_before(2, 12);
  for (const char* name : models()) {
    if (leaves && std::string_view{name} == "mlp_appended") continue;
    SCOPED_TRACE(name);
    for (const Backing backing : backings) {
      const auto once = [&] {
        auto runner = opened(name, {.backing = backing});
        expect_works(runner, name);
        std::move(runner).unload();
      };
      once();
      const Footprint before;
      for (int i = 0; i < 200; ++i) once();
      EXPECT_EQ(Footprint{}, before);
    }
  }
  if (leaves) aoti_test::skip("these models never unmap weights that were appended to their image");
}

TEST(Open, GivesRunnersThatMayMove) {
  for (const char* name : models()) {
    SCOPED_TRACE(name);
    std::optional<Runner> first = opened(name);
    Runner second = std::move(*first);
    first.reset();
    expect_works(second, name);
    Runner other = opened("add");
    other = std::move(second);
    expect_works(other, name);
  }
}

TEST(Open, LeavesTheImageLoadedUnlessToldOtherwise) {
  const auto open = [](bool unloads) {
    auto runner = opened("add");
    if (unloads) std::move(runner).unload();
  };
  open(true);
  const Footprint before;
  open(true);
  EXPECT_EQ(Footprint{}, before);
  for (int i = 0; i < 10; ++i) open(false);
  EXPECT_EQ(Footprint{}.descriptors, before.descriptors);
  EXPECT_GE(Footprint{}.mappings, before.mappings + 10);
}

TEST(Open, LeavesNothingWhenItFails) {
  const bool old = !aoti_test::unavailable("mlp_beside").empty();
  const char* beside = old ? "linear_none" : "mlp_beside";
  const auto bytes = read_file(model_path(beside));
  const auto cut = Bytes{bytes}.first(bytes.size() / 2);
  const std::vector<std::byte> image = image_of(beside);
  const auto once = [&] {
    for (const Backing backing : backings) {
      EXPECT_FALSE(Runner::open(model_path("missing"), {.backing = backing}));
      EXPECT_FALSE(Runner::open(model_path("exported"), {.backing = backing}));
      EXPECT_FALSE(Runner::open(model_path("custom"), {.backing = backing}));
      EXPECT_FALSE(Runner::open(model_path("pair"), {.backing = backing}));
      EXPECT_FALSE(Runner::open(cut, {.backing = backing}));
      EXPECT_FALSE(Runner::open(Bytes{image}.first(10'000), {.backing = backing}));
    }
  };
  const Footprint before;
  for (int i = 0; i < 50; ++i) once();
  EXPECT_EQ(Footprint{}, before);

  const auto once_loaded = [&] {
    for (const Backing backing : backings) {
      expect_error(Runner::open(image, {.backing = backing}), Errc::unsupported, {"no weights"});
    }
  };
  once_loaded();
  const Footprint loaded;
  for (int i = 0; i < 50; ++i) once_loaded();
  EXPECT_EQ(Footprint{}, loaded);
}

TEST(Open, WritesNoFile) {
  const TemporaryDirectory directory;
  for (const char* name : models()) {
    SCOPED_TRACE(name);
    for (const Backing backing : backings) {
      const auto runner = opened(name, {.backing = backing});
      EXPECT_EQ(names_in(directory.path()), std::set<std::string>{});
      expect_works(runner, name);
    }
  }
  EXPECT_EQ(names_in(directory.path()), std::set<std::string>{});

  // In memory it does not even look for the directory.
  const std::string nowhere = directory.path() + "/nowhere";
  ::setenv("TMPDIR", nowhere.c_str(), 1);
  for (const char* name : models()) {
    expect_works(opened(name, {.backing = Backing::memory}), name);
    expect_error(Runner::open(model_path(name), {.backing = Backing::temporary_file}),
                 Errc::library_load_failed, {nowhere, "No such file or directory"});
  }
  ::setenv("TMPDIR", directory.path().c_str(), 1);
}

TEST(Open, PrintsNothing) {
  const at::Tensor wrong = at::full({4, 63}, 1.0f);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  bool ok = true;
  for (const char* name : models()) {
    const at::Tensor x = recorded_of(name).input;
    for (const Backing backing : backings) {
      auto runner = Runner::open(model_path(name), {.backing = backing});
      ok = ok && runner && runner.value().run<1>(x) && !runner.value().run<1>(x, x) &&
           !runner.value().run<1>(at::Tensor{}) && runner.value().call_spec() &&
           !runner.value().input_name(9);
      if (runner && runner.value().spec() != nullptr) ok = ok && !runner.value().run<1>(wrong);
      if (runner) std::move(runner).value().unload();
    }
  }
  for (const char* name : {"missing", "exported", "custom", "pair"}) {
    ok = ok && !Runner::open(model_path(name));
  }
  ok = ok && !Runner::open(image_of("linear_none")) &&
       !Runner::open(model_path("add"), {.device = {3}});
  const std::string out = testing::internal::GetCapturedStdout();
  const std::string err = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(ok);
  EXPECT_EQ(out, "");
  EXPECT_EQ(err, "");
}

TEST(Open, IsSafeFromSeveralThreads) {
  const Footprint before;
  std::array<std::string, 4> problems;
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < problems.size(); ++thread) {
    threads.emplace_back([&, thread] {
      for (std::size_t i = 0; i < 50 && problems[thread].empty(); ++i) {
        const char* name = models()[(i + thread) % models().size()];
        auto runner = Runner::open(model_path(name), {.backing = backings[i % 2]});
        if (!runner) {
          problems[thread] = runner.error().message();
          break;
        }
        const auto [input, output] = recorded_of(name);
        const auto result = runner.value().run<1>(input);
        if (!result || !close(result.value()[0], output)) problems[thread] = "a wrong result";
        std::move(runner).value().unload();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(problems, testing::Each(""));
  EXPECT_EQ(Footprint{}.descriptors, before.descriptors);
}

}  // namespace
