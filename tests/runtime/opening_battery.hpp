// Every way to open a model, and that nothing is left behind: no file, descriptor, mapping or
// output. On every tensor runtime; a file for one includes how it makes tensors, and has
//   INSTANTIATE_TYPED_TEST_SUITE_P(Name, OpeningBattery, Runtime);
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/models.hpp"

namespace aoti_test {

template <class Runtime> class OpeningBattery : public testing::Test {};
TYPED_TEST_SUITE_P(OpeningBattery);

inline constexpr std::array backings{aoti::Backing::memory, aoti::Backing::temporary_file};

inline void write_file(const std::string& path, aoti::Bytes bytes) {
  std::filesystem::create_directories(std::filesystem::path{path}.parent_path());
  std::ofstream file{path, std::ios::binary};
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good()) << path;
}

/// A directory into which a package was unpacked; removed with this object.
class Unpacked {
 public:
  explicit Unpacked(std::string_view model)
      : path_{testing::TempDir() + "aoti_unpacked_" + std::to_string(::getpid())} {
    const auto package = value_of(aoti::Package::open(model_path(model)));
    for (const aoti::Entry& entry : package.files()) {
      write_file(path_ + "/" + std::string{entry.name}, entry.data);
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
inline std::vector<std::byte> image_of(std::string_view name) {
  const auto package = value_of(aoti::Package::open(model_path(name)));
  const auto model = value_of(package.model());
  return {model.image.begin(), model.image.end()};
}

template <class Runtime> struct Opening : OnRuntime<Runtime> {
  using B = OnRuntime<Runtime>;

  /// The weights of "wide" are large enough to be used in place.
  static const std::vector<const char*>& models() {
    static const std::vector<const char*> names = [] {
      auto result = B::networks();
      result.push_back(B::Case::has_operators ? "wide" : "add");
      return result;
    }();
    return names;
  }
  /// Models whose weights, if any, are in the image.
  static std::vector<const char*> whole_images() {
    if (!B::Case::has_operators) return {"add"};
    return B::available({"add", "mlp", "mlp_plain", "mlp_appended", "wide"});
  }
  /// A model whose weights are not in the image.
  static const char* image_without_weights() {
    if (!B::Case::has_operators) return "mlp_tuned";
    return aoti_test::unavailable<typename B::Runner>("mlp_beside").empty() ? "mlp_beside"
                                                                            : "linear_none";
  }

  static void expect_works(const typename B::Runner& runner, std::string_view name) {
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(B::works(runner, name));
  }
};

TYPED_TEST_P(OpeningBattery, TakesAPath) {
  using B = Opening<TypeParam>;
  for (const char* name : B::models()) {
    SCOPED_TRACE(name);
    for (const aoti::Backing backing : backings) {
      const auto runner = B::opened(name, {.backing = backing});
      EXPECT_EQ(runner.origin(), model_path(name) + " (model)");
      B::expect_works(runner, name);
    }
  }
  EXPECT_EQ(stack_permissions(), "rw-p");  // though Inductor's own images ask for an executable one
}

TYPED_TEST_P(OpeningBattery, TakesAPackageThatMayBeClosed) {
  using B = Opening<TypeParam>;
  for (const char* name : B::models()) {
    SCOPED_TRACE(name);
    for (const aoti::Backing backing : backings) {
      std::optional<aoti::Package> package = value_of(aoti::Package::open(model_path(name)));
      const auto runner = value_of(B::Runner::open(*package, {.backing = backing}));
      package.reset();
      B::expect_works(runner, name);
    }
  }
}

TYPED_TEST_P(OpeningBattery, TakesBytesThatMayGo) {
  using B = Opening<TypeParam>;
  for (const char* name : B::models()) {
    SCOPED_TRACE(name);
    for (const aoti::Backing backing : backings) {
      std::vector<std::byte> bytes = read_file(model_path(name));
      const auto runner = value_of(B::Runner::open(bytes, {.backing = backing}));
      std::fill(bytes.begin(), bytes.end(), std::byte{0xee});
      B::expect_works(runner, name);
      EXPECT_EQ(runner.spec() == nullptr, std::string_view{name} == "mlp_plain");
    }
  }
}

TYPED_TEST_P(OpeningBattery, TakesADirectory) {
  using B = Opening<TypeParam>;
  for (const char* name : B::models()) {
    SCOPED_TRACE(name);
    for (const aoti::Backing backing : backings) {
      std::optional<Unpacked> directory{name};
      const auto runner = value_of(B::Runner::open(directory->path(), {.backing = backing}));
      EXPECT_EQ(runner.origin(), directory->path() + " (model)");
      directory.reset();
      B::expect_works(runner, name);
    }
  }
}

TYPED_TEST_P(OpeningBattery, TakesABareImage) {
  using B = Opening<TypeParam>;
  using Runner = typename B::Runner;
  const TemporaryDirectory directory;
  for (const char* name : B::whole_images()) {
    SCOPED_TRACE(name);
    const std::string path = directory.path() + "/" + name + ".so";
    const std::vector<std::byte> image = image_of(name);
    write_file(path, image);
    for (const aoti::Backing backing : backings) {
      const auto by_path = value_of(Runner::open(path, {.backing = backing}));
      EXPECT_EQ(by_path.origin(), path);
      EXPECT_EQ(by_path.spec(), nullptr);
      EXPECT_TRUE(by_path.metadata().items.empty());
      B::expect_works(by_path, name);
      const auto by_bytes = value_of(Runner::open(image, {.backing = backing}));
      EXPECT_EQ(by_bytes.spec(), nullptr);
      B::expect_works(by_bytes, name);
    }
    expect_error(Runner::open(path, {.model = "model"}), aoti::Errc::no_such_model,
                 {path, "'model'"});
    std::filesystem::remove(path);
  }
}

TYPED_TEST_P(OpeningBattery, TakesBytesAndDirectoriesOfSeveralModels) {
  using B = Opening<TypeParam>;
  using Runner = typename B::Runner;
  const auto a = B::floats({8}, B::count_from(5, 8)), b = B::floats({8}, B::count_from(1, 8));
  const Unpacked directory{"pair"};
  const auto bytes = read_file(model_path("pair"));
  const auto package = value_of(aoti::Package::open(model_path("pair")));
  const aoti::OpenOptions second{.model = "model2"};
  for (const auto& runner : {Runner::open(directory.path(), second), Runner::open(bytes, second),
                             Runner::open(package, second)}) {
    ASSERT_TRUE(good(runner));
    const auto difference = value_of(runner.value().template run<1>(a, b));
    EXPECT_EQ(B::floats_in(difference[0]), typename B::Floats(8, 4));
  }
  const auto ambiguous = aoti::Errc::ambiguous_model;
  expect_error(Runner::open(directory.path()), ambiguous, {"model, model2"});
  expect_error(Runner::open(bytes), ambiguous, {"model, model2"});
  expect_error(Runner::open(package), ambiguous, {"model, model2"});
}

TYPED_TEST_P(OpeningBattery, CarriesMetadata) {
  using B = Opening<TypeParam>;
  for (const char* name : B::models()) {
    const auto runner = B::opened(name);
    EXPECT_EQ(runner.metadata()["AOTI_DEVICE_KEY"], "cpu");
    const bool old = compiled_before(2, 9);  // which do not record the system
    EXPECT_EQ(runner.metadata()["AOTI_PLATFORM"], old ? "" : "linux");
    EXPECT_EQ(runner.metadata()["AOTI_MACHINE"],
              old ? "" : aoti::machine_name(aoti::detail::host_machine));
    EXPECT_EQ(runner.metadata()["no such key"], "");
    EXPECT_EQ(runner.metadata()["aoti.spec"].empty(), runner.spec() == nullptr);
  }
}

TYPED_TEST_P(OpeningBattery, GivesRunnersThatDoNotTouchEachOther) {
  using B = Opening<TypeParam>;
  for (const char* name : B::models()) {
    SCOPED_TRACE(name);
    for (const aoti::Backing backing : backings) {
      const auto first = B::opened(name, {.backing = backing});
      {
        auto second = B::opened(name, {.backing = backing});
        EXPECT_NE(first.container().handle(), second.container().handle());
        EXPECT_NE(first.container().exports().run, second.container().exports().run);
        B::expect_works(first, name);
        B::expect_works(second, name);
        std::move(second).unload();
      }
      const auto third = B::opened(name, {.backing = backing});
      B::expect_works(first, name);
      B::expect_works(third, name);
    }
  }
}

TYPED_TEST_P(OpeningBattery, GivesRunnersThatMayMove) {
  using B = Opening<TypeParam>;
  using Runner = typename B::Runner;
  for (const char* name : B::models()) {
    SCOPED_TRACE(name);
    std::optional<Runner> first = B::opened(name);
    Runner second = std::move(*first);
    first.reset();
    B::expect_works(second, name);
    Runner other = B::opened("pair", {.model = "model2"});
    other = std::move(second);
    B::expect_works(other, name);
  }
}

// On one long-lived thread: a model keeps the text of its last error in a thread-local string, and
// would keep its image loaded if it registered the string's destructor.
constexpr int rounds = emulated ? 5 : 20;

TYPED_TEST_P(OpeningBattery, LeavesNothingOnceUnloaded) {
  using B = Opening<TypeParam>;
  const bool leaves = B::Case::has_operators && compiled_before(2, 12);
  for (const char* name : B::models()) {
    if (leaves && std::string_view{name} == "mlp_appended") continue;
    SCOPED_TRACE(name);
    for (const aoti::Backing backing : backings) {
      const auto once = [&] {
        auto runner = B::opened(name, {.backing = backing});
        B::expect_works(runner, name);
        std::move(runner).unload();
      };
      once();
      const Footprint before;
      for (int i = 0; i < rounds; ++i) once();
      EXPECT_EQ(Footprint{}, before);
    }
  }
  if (leaves) skip("these models never unmap weights that were appended to their image");
}

TYPED_TEST_P(OpeningBattery, LeavesTheImageLoadedUnlessToldOtherwise) {
  using B = Opening<TypeParam>;
  const auto open = [](bool unloads) {
    auto runner = B::opened("add");
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

TYPED_TEST_P(OpeningBattery, LeavesNothingWhenItFails) {
  using B = Opening<TypeParam>;
  using Runner = typename B::Runner;
  const char* beside = B::image_without_weights();
  const auto bytes = read_file(model_path(beside));
  const auto cut = aoti::Bytes{bytes}.first(bytes.size() / 2);
  const std::vector<std::byte> image = image_of(beside);
  const auto once = [&] {
    for (const aoti::Backing backing : backings) {
      EXPECT_FALSE(Runner::open(model_path("missing"), {.backing = backing}));
      EXPECT_FALSE(Runner::open(model_path("exported"), {.backing = backing}));
      EXPECT_FALSE(Runner::open(model_path("custom"), {.backing = backing}));
      EXPECT_FALSE(Runner::open(model_path("pair"), {.backing = backing}));
      EXPECT_FALSE(Runner::open(cut, {.backing = backing}));
      EXPECT_FALSE(Runner::open(aoti::Bytes{image}.first(10'000), {.backing = backing}));
    }
  };
  const Footprint before;
  for (int i = 0; i < rounds; ++i) once();
  EXPECT_EQ(Footprint{}, before);

  const auto once_loaded = [&] {
    for (const aoti::Backing backing : backings) {
      expect_error(Runner::open(image, {.backing = backing}), aoti::Errc::unsupported,
                   {"no weights"});
    }
  };
  once_loaded();
  const Footprint loaded;
  for (int i = 0; i < rounds; ++i) once_loaded();
  EXPECT_EQ(Footprint{}, loaded);
}

TYPED_TEST_P(OpeningBattery, BindsStreamsWhereThereAreSome) {
  using B = Opening<TypeParam>;
  const aoti::OpenOptions bound{.stream_affinity = true};
  expect_error(B::Runner::open(model_path("add"), bound), aoti::Errc::invalid_argument,
               {"Access::shared"});
  if (compiled_before(2, 15)) {
    expect_error(B::SharedRunner::open(model_path("add"), bound), aoti::Errc::unsupported, {});
  } else {
    expect_error(B::SharedRunner::open(model_path("add"), bound), aoti::Errc::model_failed,
                 {"only supported for device runtimes"});
  }
}

TYPED_TEST_P(OpeningBattery, WritesNoFile) {
  using B = Opening<TypeParam>;
  const TemporaryDirectory directory;
  for (const char* name : B::models()) {
    SCOPED_TRACE(name);
    for (const aoti::Backing backing : backings) {
      const auto runner = B::opened(name, {.backing = backing});
      EXPECT_EQ(names_in(directory.path()), std::set<std::string>{});
      B::expect_works(runner, name);
    }
  }
  EXPECT_EQ(names_in(directory.path()), std::set<std::string>{});

  // If loaded from memory, it does not even look for the directory.
  const std::string nowhere = directory.path() + "/nowhere";
  ::setenv("TMPDIR", nowhere.c_str(), 1);
  for (const char* name : B::models()) {
    B::expect_works(B::opened(name, {.backing = aoti::Backing::memory}), name);
    expect_error(B::Runner::open(model_path(name), {.backing = aoti::Backing::temporary_file}),
                 aoti::Errc::library_load_failed, {nowhere, "No such file or directory"});
  }
  ::setenv("TMPDIR", directory.path().c_str(), 1);
}

TYPED_TEST_P(OpeningBattery, PrintsNothing) {
  using B = Opening<TypeParam>;
  using Runner = typename B::Runner;
  using Tensors = typename B::Tensors;
  const Tensors wrong{B::random({4, 63}, 1), B::random({9}, 1)};
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  bool ok = true;
  for (const char* name : B::models()) {
    for (const aoti::Backing backing : backings) {
      auto opened = Runner::open(model_path(name), {.backing = backing});
      ok = ok && opened;
      if (!opened) continue;
      auto& runner = opened.value();
      ok = ok && B::works(runner, name) && runner.call_spec() && !runner.input_name(9) &&
           !runner.run(Tensors(3, wrong[0])) && !runner.run(Tensors(runner.input_count()));
      if (runner.spec() != nullptr) ok = ok && !runner.run(Tensors(runner.input_count(), wrong[0]));
      std::move(runner).unload();
    }
  }
  for (const char* name : {"missing", "exported", "custom", "pair"}) {
    ok = ok && !Runner::open(model_path(name));
  }
  ok = ok && !Runner::open(image_of(B::image_without_weights())) &&
       !Runner::open(model_path("add"), {.device = {3}});
  const std::string out = testing::internal::GetCapturedStdout();
  const std::string err = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(ok);
  EXPECT_EQ(out, "");
  EXPECT_EQ(err, "");
}

TYPED_TEST_P(OpeningBattery, IsSafeFromSeveralThreads) {
  using B = Opening<TypeParam>;
  const auto& names = B::models();
  const Footprint before;
  std::array<std::string, 4> problems;
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < problems.size(); ++thread) {
    threads.emplace_back([&, thread] {
      for (std::size_t i = 0; i < (emulated ? 10 : 50) && problems[thread].empty(); ++i) {
        const char* name = names[(i + thread) % names.size()];
        auto runner = B::Runner::open(model_path(name), {.backing = backings[i % 2]});
        if (!runner) {
          problems[thread] = runner.error().message();
          break;
        }
        if (!B::works(runner.value(), name)) problems[thread] = "a wrong result";
        std::move(runner).value().unload();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(problems, testing::Each(""));
  EXPECT_EQ(Footprint{}.descriptors, before.descriptors);
}

REGISTER_TYPED_TEST_SUITE_P(OpeningBattery, TakesAPath, TakesAPackageThatMayBeClosed,
                            TakesBytesThatMayGo, TakesADirectory, TakesABareImage,
                            TakesBytesAndDirectoriesOfSeveralModels, CarriesMetadata,
                            GivesRunnersThatDoNotTouchEachOther, GivesRunnersThatMayMove,
                            LeavesNothingOnceUnloaded, LeavesTheImageLoadedUnlessToldOtherwise,
                            LeavesNothingWhenItFails, BindsStreamsWhereThereAreSome, WritesNoFile,
                            PrintsNothing, IsSafeFromSeveralThreads);

}  // namespace aoti_test
