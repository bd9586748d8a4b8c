// Models that call operators: custom ones, methods of objects, and torch's own without C functions.
#include <ATen/core/dispatch/Dispatcher.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <aoti/runtime/libtorch_operators.hpp>
#include <array>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "libtorch/models.hpp"

#if __has_include(<torch/csrc/inductor/aoti_torch/generated_enum_converters.h>)
#include <torch/csrc/inductor/aoti_torch/generated_enum_converters.h>
#define HAS_CONVERTERS
#endif

namespace aoti_test {
namespace {

using aoti::Errc;
using Operated = aoti::Runner<aoti::Cpu, aoti::LibtorchWithOperators>;
using SharedOperated = aoti::Runner<aoti::Cpu, aoti::LibtorchWithOperators,
                                    aoti::Options{.access = aoti::Access::shared}>;

const std::string functions = AOTI_TEST_OPERATORS_DIR "/liboperators_functions.so";
const std::string tally = AOTI_TEST_OPERATORS_DIR "/liboperators_tally.so";
const aoti::OpenOptions libraries{.operator_libraries = {functions, tally}};

// First, since the libraries stay loaded once they are. A program that runs all of the tests has
// them loaded in these two only by what went before.
TEST(Missing, OperatorsAreAllListed) {
  needs("operators");
  const Footprint before;
  expect_error(Operated::open(model_path("operators")), Errc::missing_import,
               {model_path("operators"), "OpenOptions::operator_libraries",
                "aoti_tests::mix, aoti_tests::halves, aoti_tests::pieces, aoti_tests::accumulate, "
                "aoti_tests::sum_of, aoti_tests::gather"});
  expect_error(Operated::open(model_path("fallback")), Errc::missing_import,
               {"libraries: aoti_tests::resized", "operator_libraries"});
  expect_error(Operated::open(model_path("tally")), Errc::missing_import,
               {"__torch__.torch.classes.aoti_classes.Tally, aoti_classes::minus_tally"});
  // Torch has noted since a later release that an operator was written in Python.
  expect_error(Operated::open(model_path("custom")), Errc::missing_import,
               {compiled_before(2, 12) ? "aoti_tests::twice_plus"
                                       : "aoti_tests::twice_plus (written in Python)"});
  const std::string nowhere = "/no/such/library.so";
  expect_error(Operated::open(model_path("operators"), {.operator_libraries = {nowhere}}),
               Errc::library_load_failed, {nowhere, "cannot open shared object file"});
  EXPECT_EQ(Footprint{}, before);
}

TEST(Missing, OperatorsAreThereOnceALibraryIsGiven) {
  const auto runner = opened<Operated>("throwing", {.operator_libraries = {functions}});
  const at::Tensor x = at::rand({8});
  EXPECT_TRUE(same(value_of(runner.run<1>(x))[0], x + 1));
  const auto again = opened<Operated>("throwing");  // it stays
  EXPECT_TRUE(same(value_of(again.run<1>(x))[0], x + 1));
  expect_error(Operated::open(model_path("custom"), libraries), Errc::missing_import);
}

class Operators : public testing::Test {
 protected:
  static void SetUpTestSuite() { load_libtorch_so(); }

  static Operated opened(std::string_view model) {
    return aoti_test::opened<Operated>(model, libraries);
  }
  static torch::inductor::AOTIModelPackageLoader upstream(std::string_view model) {
    return torch::inductor::AOTIModelPackageLoader{model_path(model)};
  }
  static void expect_same(const Tensors& found, const Tensors& expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_TRUE(same(found[i], expected[i])) << "output " << i;
      EXPECT_EQ(found[i].strides(), expected[i].strides()) << "output " << i;
    }
  }
};

TEST_F(Operators, TakeAndReturnEveryKind) {
  const auto runner = opened("operators");
  auto theirs = upstream("operators");
  for (int i = 0; i < 3; ++i) {
    const Tensors x{at::randn({8})};
    const Tensors found = value_of(runner.run(x));
    // Torch 2.11 and before fail to call some of them.
    if (TORCH_VERSION_MINOR > 11) expect_same(found, theirs.run(x));
    EXPECT_EQ(found[0].dtype(), at::kDouble);
    const at::Tensor mixed = (x[0] * 0.5).roll(1).roll(2);
    EXPECT_TRUE(close(found[1], mixed.slice(0, 4) + 3 + mixed.slice(0, 0, 4)));
  }
}

TEST_F(Operators, OfTorchWithoutAFunctionInC) {
  const auto runner = opened("fallback");
  auto theirs = upstream("fallback");
  for (const std::int64_t rows : {3, 5, 64}) {
    const Tensors x{at::randn({rows, 3})};
    const Tensors found = value_of(runner.run(x));
    expect_same(found, theirs.run(x));
    EXPECT_TRUE(close(found[0].matmul(found[1]), x[0]));
    EXPECT_EQ(found[2].sizes(), (Sizes{2 * rows, 3}));
  }
}

TEST_F(Operators, TakeObjectsThatEachRunnerHasOfItsOwn) {
  const auto runner = opened("tally");
  auto theirs = upstream("tally");
  for (int i = 0; i < 3; ++i) {
    const Tensors x{at::randn({8})};
    const Tensors found = value_of(runner.run(x));
    expect_same(found, theirs.run(x));
    EXPECT_TRUE(same(found[0], x[0] + (4 + i)));
    EXPECT_TRUE(close(found[1], x[0]));
  }
  const at::Tensor x = at::zeros({8});
  EXPECT_TRUE(same(value_of(opened("tally").run<2>(x))[0], x + 4));
  EXPECT_TRUE(same(value_of(runner.run<2>(x))[0], x + 7));
}

TEST_F(Operators, ThatThrowLeaveTheRunnerAsItWas) {
  const auto runner = opened("throwing");
  const at::Tensor good = at::rand({8}), bad = -good;
  const auto round = [&] {
    expect_error(runner.run<1>(bad), Errc::model_failed,
                 {"a negative number was found by not_negative"});
    EXPECT_TRUE(same(value_of(runner.run<1>(good))[0], good + 1));
  };
  round();
  const Footprint before;
  for (int i = 0; i < 100; ++i) round();
  EXPECT_EQ(Footprint{}, before);
  EXPECT_EQ(good.use_count(), 1);
  EXPECT_EQ(bad.use_count(), 1);
}

TEST_F(Operators, AreNotRunByTheRuntimeWithoutThem) {
  needs("operators");
  expect_error(Runner::open(model_path("operators"), libraries), Errc::unsupported,
               {model_path("operators"), "aoti/runtime/libtorch_operators.hpp", "aoti_tests::mix"});
}

TEST_F(Operators, AreNotNeededByMostModels) {
  const auto runner = opened("add");
  const at::Tensor x = at::randn({8});
  EXPECT_TRUE(same(value_of(runner.run<1>(x, x))[0], x + x));
}

TEST_F(Operators, MoveWithTheRunner) {
  std::optional<Operated> first = opened("throwing");
  Operated second = std::move(*first);
  const at::Tensor x = at::rand({8});
  expect_error(first->run<1>(x), Errc::bad_state);
  first.reset();
  EXPECT_TRUE(same(value_of(second.run<1>(x))[0], x + 1));
  Operated third = opened("tally");
  third = std::move(second);
  EXPECT_TRUE(same(value_of(third.run<1>(x))[0], x + 1));
}

TEST_F(Operators, LeaveNothingOnceUnloaded) {
  const TemporaryDirectory directory;
  const at::Tensor x = at::rand({8});
  const auto once = [&] {
    for (const char* name : {"operators", "tally"}) {
      auto runner = opened(name);
      EXPECT_TRUE(good(runner.run<2>(x)));
      EXPECT_TRUE(names_in(directory.path()).empty());
      std::move(runner).unload();
    }
  };
  once();
  const Footprint before;
  for (int i = 0; i < 50; ++i) once();
  EXPECT_EQ(Footprint{}, before);
  EXPECT_EQ(x.use_count(), 1);
}

TEST_F(Operators, RunOnSeveralThreads) {
  needs("operators");
  const auto shared = value_of(SharedOperated::open(
      model_path("operators"), {.instances = 2, .operator_libraries = {functions}}));
  std::array<int, 4> right{};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < right.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto own = Operated::open(model_path("operators"));
      const auto throwing = Operated::open(model_path("throwing"));
      for (int run = 0; own && throwing && run < 50; ++run) {
        const Tensors x{at::randn({8}) - 10};
        const auto a = own.value().run(x), b = shared.run(x);
        const auto c = throwing.value().run(x);
        right[i] += a && b && !c && a.value()[0].equal(b.value()[0]) &&
                    a.value()[1].equal(b.value()[1]) &&
                    c.error().text().find("not_negative") != std::string_view::npos;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(right, testing::Each(50));
}

TEST_F(Operators, AreShownByTheirPackage) {
  const auto package = value_of(aoti::Package::open(model_path("fallback")));
  const auto calls = value_of(aoti::OperatorCalls::read(value_of(package.model())));
  EXPECT_EQ(calls.names, (std::vector<std::string>{"aten::linalg_qr", "aoti_tests::resized"}));
  EXPECT_TRUE(aoti::LibtorchOperators::has("aten::linalg_qr"));
  EXPECT_TRUE(aoti::LibtorchOperators::has("aten::linalg_qr.out"));
  for (const char* name : {"aten::linalg_qr.no", "aten::", "", ".", "__torch__.",
                           "__torch__.torch.classes.aoti_classes.Other"}) {
    EXPECT_FALSE(aoti::LibtorchOperators::has(name)) << name;
  }
}

/// A package with `from` replaced by `to` in one of its files, unpacked.
class Altered {
 public:
  Altered(std::string_view model, std::string_view ending, const std::string& from,
          const std::string& to)
      : path_{testing::TempDir() + "aoti_altered_" + std::to_string(::getpid())} {
    const auto package = value_of(aoti::Package::open(model_path(model)));
    for (const aoti::Entry& entry : package.files()) {
      std::string text{aoti::detail::as_text(entry.data)};
      if (entry.name.ends_with(ending)) {
        const std::size_t at = from.empty() ? 0 : text.find(from);
        EXPECT_NE(at, text.npos) << from;
        if (at != text.npos) text.replace(at, from.empty() ? text.size() : from.size(), to);
      }
      const std::filesystem::path file = path_ + "/" + std::string{entry.name};
      std::filesystem::create_directories(file.parent_path());
      std::ofstream{file, std::ios::binary} << text;
    }
  }
  Altered(const Altered&) = delete;
  Altered& operator=(const Altered&) = delete;
  ~Altered() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct Alteration {
  std::string from;  // where it is empty, all of the file is replaced
  std::string to;
  Errc code;
  std::vector<std::string> parts;
};

void expect_refused(std::string_view model, std::string_view ending,
                    const std::vector<Alteration>& alterations) {
  for (const auto& [from, to, code, parts] : alterations) {
    SCOPED_TRACE(from + " -> " + to);
    const Footprint before;
    const Altered package{model, ending, from, to};
    expect_error(Operated::open(package.path(), libraries), code, parts);
    EXPECT_EQ(Footprint{}, before);
  }
}

/// The first result of "operators" and those of its `pieces`, which torch numbers as it likes.
std::string first_result() {
  return compiled_before(2, 12) ? R"([{"as_tensor": {"name": "buf1"}}])"
                                : R"([{"as_tensor": {"name": "buf0"}}])";
}
std::string last_results() {
  return compiled_before(2, 12) ? R"([{"name": "buf9"}, {"name": "buf10"}]}])"
                                : R"([{"name": "buf7"}, {"name": "buf8"}]}])";
}
std::string last_result() {
  return compiled_before(2, 12) ? R"([{"name": "buf9"}]}])" : R"([{"name": "buf7"}]}])";
}

TEST_F(Operators, OfDamagedNodesAreRefused) {
  needs("operators");
  const Errc damaged = Errc::damaged_package;
  expect_refused(
      "operators", ".wrapper.json",
      {
          {"", "{", damaged, {"extern nodes", "JSON"}},
          {"", "{}", damaged, {"extern nodes"}},
          {"\"target\"", "\"goal\"", damaged, {"extern nodes"}},
          {"\"factor\"", "\"vector\"", damaged, {"aoti_tests::mix", "takes no argument vector"}},
          {", {\"name\": \"mode\", \"arg\": {\"as_string\": \"positive\"}, \"kind\": 1}",
           "",
           damaged,
           {"aoti_tests::mix", "not given the argument mode"}},
          {"\"positive\"", "3", damaged, {"aoti_tests::mix", "argument mode is no str"}},
          {"{\"as_string\": \"positive\"}", "{}", damaged, {"argument mode has no value"}},
          {"{\"as_string\": \"positive\"}",
           "{\"as_strings\": [\"a\"]}",
           damaged,
           {"mode is no list"}},
          {"{\"as_ints\": [1, 2]}",
           "{\"as_floats\": [1, 2]}",
           damaged,
           {"argument shifts is no int"}},
          {"{\"as_ints\": [1, 2]}", "{\"as_none\": true}", damaged, {"argument shifts is no List"}},
          {"{\"as_int\": 2}", "{\"as_bool\": true}", damaged, {"argument count is no int"}},
          {"{\"as_int\": 2}", "{\"as_tensor\": {}}", damaged, {"argument count is no int"}},
          {"{\"as_scalar_type\": 8}", "{\"as_scalar_type\": 20}", damaged, {"argument dtype"}},
          {"{\"as_scalar_type\": 8}", "{\"as_scalar_type\": -1}", damaged, {"argument dtype"}},
          {"{\"as_float\": 0.5}", "{\"as_complex\": 1}", Errc::unsupported, {"as_complex"}},
          {"{\"as_float\": 0.5}", "{\"as_float\": [0.5]}", damaged, {"factor is no list"}},
          {first_result(), "[]", damaged, {"number of results"}},
          {first_result(),
           "[{\"as_sym_int\": 1}]",
           Errc::unsupported,
           {"aoti_tests::mix", "as_sym_int"}},
          {"\"aoti_tests::halves\"",
           "\"aoti_tests::half\"",
           Errc::missing_import,
           {"libraries: aoti_tests::half"}},
      });
}

TEST_F(Operators, OfDamagedObjectsAreRefused) {
  needs("tally");
  expect_refused("tally", "custom_objs_config.json",
                 {{"custom_obj_0", "custom_obj_1", Errc::damaged_package, {"custom_obj_1"}},
                  {"_torchbind_obj0", "other", Errc::damaged_package, {"no such object"}},
                  {"", "{", Errc::damaged_package, {"custom_objs_config.json"}}});
  expect_refused("tally", "custom_obj_0", {{"", "x", Errc::damaged_package, {"custom_obj_0"}}});
  expect_refused("tally", ".wrapper.json",
                 {{"add_to", "take_from", Errc::damaged_package, {"no method take_from"}},
                  {"\"target\": \"call_torchbind\"",
                   "\"target\": \"aten::relu\"",
                   Errc::damaged_package,
                   {"aten::relu", "takes no argument"}}});
}

// What does not fit the model's code is found when it calls.
TEST_F(Operators, OfNodesThatDoNotFitTheModelFail) {
  needs("operators");
  const at::Tensor x = at::randn({8});
  const std::vector<Alteration> alterations{
      {"[1, 2]", "[1, 2, 3]", Errc::model_failed, {"aoti_tests::mix: found 2 integers"}},
      {"[1, 2]", "[1]", Errc::model_failed, {"aoti_tests::mix: found 2 integers"}},
      {last_results(),
       last_result(),
       Errc::model_failed,
       {"aoti_tests::pieces: found", "3 tensors, expected"}},
  };
  for (const auto& [from, to, code, parts] : alterations) {
    SCOPED_TRACE(from + " -> " + to);
    const Altered package{"operators", ".wrapper.json", from, to};
    const auto runner = value_of(Operated::open(package.path(), libraries));
    expect_error(runner.run<2>(x), code, parts);
    EXPECT_EQ(x.use_count(), 1);
  }
}

#ifdef HAS_CONVERTERS
TEST(Serialized, NumbersStandForWhatTorchSays) {
  const auto agree = [](std::span<const signed char> ours, auto theirs) {
    for (std::size_t i = 0; i < 64; ++i) {
      std::optional<int> expected;
      try {
        expected = static_cast<int>(theirs(static_cast<int>(i)));
      } catch (const c10::Error&) {
      }
      const int found = i < ours.size() ? ours[i] : -1;
      EXPECT_EQ(found, expected.value_or(-1)) << i;
    }
  };
  agree(aoti::detail::scalar_types, torch::aot_inductor::convertSerializedScalarType);
  agree(aoti::detail::layouts, torch::aot_inductor::convertSerializedLayout);
  agree(aoti::detail::memory_formats, torch::aot_inductor::convertSerializedMemoryFormat);
}
#endif

}  // namespace
}  // namespace aoti_test
