// Models that call operators: custom ones, methods of objects, and torch's own without C functions.
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/frontend/function_schema_parser.h>

#include <aoti/runtime/libtorch_operators.hpp>
#include <aoti/weights.hpp>
#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
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

// First, since libraries stay loaded. In a program that runs all of the tests, only earlier tests
// have loaded these two.
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
  // Only later torch releases record that an operator was written in Python.
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
  const auto again = opened<Operated>("throwing");  // it stays loaded
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
  std::string from;  // if empty, the whole file is replaced
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

/// The first result of "operators" and those of its `pieces`, which torch numbers arbitrarily.
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
  const Errc damaged = Errc::damaged_package, unfit = Errc::unsupported;
  expect_refused(
      "operators", ".wrapper.json",
      {
          {"", "{", damaged, {"extern nodes", "JSON"}},
          {"", "{}", damaged, {"extern nodes"}},
          {"\"target\"", "\"goal\"", damaged, {"extern nodes"}},
          {"\"factor\"", "\"vector\"", unfit, {"aoti_tests::mix", "takes no argument vector"}},
          {", {\"name\": \"mode\", \"arg\": {\"as_string\": \"positive\"}, \"kind\": 1}",
           "",
           unfit,
           {"aoti_tests::mix", "the call lacks the argument mode"}},
          {"\"positive\"",
           "3",
           damaged,
           {"aoti_tests::mix", "argument mode is not of kind string"}},
          {"{\"as_string\": \"positive\"}", "{}", damaged, {"argument mode has no value"}},
          {"{\"as_string\": \"positive\"}",
           "{\"as_strings\": [\"a\"]}",
           unfit,
           {"aoti_tests::mix", "argument 'mode': found strings, expected str"}},
          {"{\"as_ints\": [1, 2]}",
           "{\"as_floats\": [1, 2]}",
           unfit,
           {"argument 'shifts': found floats, expected List[int]"}},
          {"{\"as_ints\": [1, 2]}",
           "{\"as_none\": true}",
           unfit,
           {"'shifts': found None, expected List[int]"}},
          {"{\"as_int\": 2}", "{\"as_bool\": true}", unfit, {"'count': found bool, expected int"}},
          {"{\"as_int\": 2}",
           "{\"as_tensor\": {}}",
           unfit,
           {"'count': found tensor, expected int"}},
          {"{\"as_scalar_type\": 8}", "{\"as_scalar_type\": 20}", damaged, {"argument dtype"}},
          {"{\"as_scalar_type\": 8}", "{\"as_scalar_type\": -1}", damaged, {"argument dtype"}},
          {"{\"as_float\": 0.5}", "{\"as_complex\": 1}", unfit, {"found complex, expected float"}},
          {"{\"as_float\": 0.5}", "{\"as_float\": [0.5]}", unfit, {"argument 'factor'"}},
          {first_result(), "[]", unfit, {"number of results"}},
          {first_result(),
           "[{\"as_tensors\": []}]",
           unfit,
           {"result 0: the model takes tensors, the operator returns Tensor"}},
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
                 {{"add_to", "take_from", Errc::unsupported, {"no method take_from"}},
                  {"\"target\": \"call_torchbind\"",
                   "\"target\": \"aten::relu\"",
                   Errc::unsupported,
                   {"aten::relu", "takes no argument"}}});
}

// Nodes that do not match the model's code are detected when it calls them.
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

/// A setting of torch's for the thread or the program; in effect until the returned object is
/// destroyed.
struct Setting {
  const char* name;
  std::function<std::shared_ptr<void>()> set;
};

std::shared_ptr<void> until(std::function<void()> undo) {
  return {static_cast<void*>(nullptr), [undo = std::move(undo)](void*) { undo(); }};
}
template <auto key> std::shared_ptr<void> included() {
  return std::make_shared<c10::impl::IncludeDispatchKeyGuard>(key);
}

const std::vector<Setting> settings{
    {"nothing", [] { return std::shared_ptr<void>{}; }},
    {"autocast",
     [] {
       at::autocast::set_autocast_enabled(at::kCPU, true);
       return until([] { at::autocast::set_autocast_enabled(at::kCPU, false); });
     }},
    {"inference mode", [] { return std::make_shared<c10::InferenceMode>(); }},
    {"no gradients", [] { return std::make_shared<at::NoGradGuard>(); }},
    {"a Python mode", included<c10::DispatchKey::Python>},
    {"functorch", included<c10::DispatchKey::FuncTorchDynamicLayerFrontMode>},
    {"functionalization", included<c10::DispatchKey::Functionalize>},
    {"a default dtype",
     [] {
       c10::set_default_dtype(caffe2::TypeMeta::fromScalarType(at::kDouble));
       return until([] { c10::set_default_dtype(caffe2::TypeMeta::fromScalarType(at::kFloat)); });
     }},
    {"deterministic algorithms",
     [] {
       at::globalContext().setDeterministicAlgorithms(true, false);
       return until([] { at::globalContext().setDeterministicAlgorithms(false, false); });
     }},
};

class Settings : public Operators {
 protected:
  /// Expects the same results as without a setting, and a buffer of `runs` times the input.
  void expect_right(const Tensors& found, int runs) const {
    ASSERT_EQ(found.size(), 4u);
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_FALSE(found[i].requires_grad()) << "output " << i;
      EXPECT_FALSE(found[i].is_inference()) << "output " << i;
      EXPECT_TRUE(close(found[i], i < 3 ? right[i] : x[0] * runs)) << "output " << i;
    }
  }

  const at::Tensor x = at::rand({6, 2, 8});
  const Tensors right = value_of(opened("modes").run(Tensors{x}));
};

TEST_F(Settings, OfTheThreadDoNotReachRuns) {
  const auto runner = opened("modes");
  const auto shared = value_of(SharedOperated::open(model_path("modes"), libraries));
  int runs = 0;
  for (const Setting& setting : settings) {
    SCOPED_TRACE(setting.name);
    Tensors a, b(4), c;
    {
      const auto set = setting.set();
      a = value_of(runner.run(std::vector{x}));
      ASSERT_TRUE(good(runner.run_into(std::vector{x}, b)));
      c = value_of(shared.run(std::vector{x}));
    }
    runs += 2;
    expect_right(a, runs - 1);
    expect_right(b, runs);
    expect_right(c, runs / 2);
  }
}

TEST_F(Settings, OfTheThreadDoNotReachOpening) {
  for (const Setting& setting : settings) {
    SCOPED_TRACE(setting.name);
    std::optional<Operated> runner;
    {
      const auto set = setting.set();
      runner.emplace(opened("modes"));
    }
    expect_right(value_of(runner->run(Tensors{x})), 1);
  }
}

TEST_F(Settings, OfTheThreadDoNotReachUpdates) {
  for (const bool shares : {false, true}) {
    for (const Setting& setting : settings) {
      SCOPED_TRACE(setting.name);
      auto runner = opened("modes");
      std::vector<std::pair<std::string, at::Tensor>> copies;
      for (const auto& [name, tensor] : value_of(aoti::weights(runner))) {
        copies.emplace_back(name, tensor.clone());
      }
      {
        const auto set = setting.set();
        auto update = value_of(aoti::update_weights(runner));
        for (const auto& [name, copy] : copies) {
          ASSERT_TRUE(good(shares ? update.share(name, copy) : update.set(name, copy)));
        }
        ASSERT_TRUE(good(update.commit()));
      }
      expect_right(value_of(runner.run(Tensors{x})), 1);
    }
  }
}

// Such tensors may be written to only in that mode.
TEST_F(Settings, OfInferenceModeDoNotStayWithTensors) {
  auto runner = opened("modes");
  at::Tensor total, input;
  {
    const c10::InferenceMode mode;
    total = at::zeros({2, 8});
    input = x.clone();
  }
  auto update = value_of(aoti::update_weights(runner));
  ASSERT_TRUE(good(update.share("total", total)));
  ASSERT_TRUE(good(update.commit()));
  expect_right(value_of(runner.run(Tensors{input})), 1);
  EXPECT_TRUE(close(total, x[0]));
  {
    const c10::InferenceMode mode;
    EXPECT_TRUE(close(value_of(runner.run(Tensors{input}))[3], x[0] * 2));
  }
}

TEST_F(Settings, OfProfilersStay) {
  static std::vector<std::string> seen;
  const auto runner = opened("modes");
  const auto handle = at::addThreadLocalCallback(at::RecordFunctionCallback(
      [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
        seen.emplace_back(function.name());
        return nullptr;
      }));
  const c10::InferenceMode mode;
  const Tensors found = value_of(runner.run(std::vector{x}));
  at::removeCallback(handle);
  EXPECT_THAT(seen, testing::Contains("aten::conv_tbc"));
  expect_right(found, 1);
}

/// The name of an operator's first result in the model's code, as recorded by aoti.export.
std::string noted_result(std::string_view model, std::string_view name_of_operator) {
  const auto package = value_of(aoti::Package::open(model_path(model)));
  const std::string_view before = R"(\"outputs\":[{\"name\":\")";
  for (const aoti::Entry& entry : package.files()) {
    const std::string_view text = aoti::detail::as_text(entry.data);
    if (!entry.name.ends_with(".wrapper.json")) continue;
    const std::size_t at = text.find(before, text.find(name_of_operator));
    if (at == text.npos) continue;
    const std::string_view name = text.substr(at + before.size());
    return std::string{name.substr(0, name.find('\\'))};
  }
  skip("the torch that compiled the models does not tell what operators return");
}

TEST_F(Operators, ThatReturnWhatTheirFakesDidNotSayAreAnError) {
  needs("fallback");
  const at::Tensor x = at::rand({4, 3});
  const auto expect = [&](const std::string& from, const std::string& to, const char* text) {
    SCOPED_TRACE(text);
    const Altered package{"fallback", ".wrapper.json", from, to};
    const auto runner = value_of(Operated::open(package.path(), libraries));
    expect_error(runner.run<3>(x), Errc::model_failed, {"aoti_tests::resized: result 0: ", text});
  };
  const std::string name = R"(\"name\":\")" + noted_result("fallback", "aoti_tests::resized") +
                           R"(\",)",
                    dtype = R"(\"dtype\":\"float32\",)", device = R"(\"device\":\"cpu\",)";
  expect(name + dtype, name + R"(\"dtype\":\"float64\",)", "found float32, expected float64");
  expect(name + dtype + device, name + dtype + R"(\"device\":\"cuda\",)",
         "found a tensor on cpu, expected a strided tensor on cuda");
  expect(R"(\"scale\":2)", R"(\"scale\":3)", "found sizes [8, 3], expected [12, 3]");
  expect(R"(\"scale\":2,\"offset\":0},3])", R"(\"scale\":2,\"offset\":0},3,1])",
         "found sizes [8, 3], expected [8, 3, 1]");
}

TEST_F(Operators, ThatLayResultsOutOtherwiseAreCopied) {
  needs("fallback");
  const std::string end = R"(\"offset\":0},3])";  // the last one is the result's
  const Altered package{"fallback", ".wrapper.json", R"(\"scale\":2,)" + end,
                        R"(\"scale\":2,)" + end + R"(,\"order\":[1,0])"};
  const auto runner = value_of(Operated::open(package.path(), libraries));
  const at::Tensor x = at::rand({4, 3});
  const at::Tensor found = value_of(runner.run<3>(x))[2];
  EXPECT_EQ(found.strides(), (Sizes{1, 8}));
  EXPECT_TRUE(same(found, value_of(opened("fallback").run<3>(x))[2]));
}

// Compiled code reads their memory.
TEST(ExpectedResults, LeaveNothingToBeDoneLazily) {
  const auto expected = value_of(aoti::detail::ExpectedResults::parse(
      R"({"version":1,"inputs":[],"outputs":[
          {"name":"y","dtype":"complex64","device":"cpu","shape":[3]}]})",
      "tests::conj"));
  const at::Tensor x = at::complex(at::rand({3}), at::rand({3}));
  at::Tensor y = x.conj();
  ASSERT_TRUE(y.is_conj());
  expected.adopt(y, 0, {}, "tests::conj");
  EXPECT_FALSE(y.is_conj());
  EXPECT_TRUE(y.equal(x.conj()));
  EXPECT_NE(y.data_ptr(), x.data_ptr());
}

/// How an argument of that type is read; an error if it is refused.
aoti::Result<std::string> read_argument(const std::string& type, const std::string& argument) {
  const auto schema = torch::jit::parseSchema("tests::op(" + type + " a) -> ()");
  const aoti::detail::ArgumentReader reader{"tests::op", schema, {}, c10::Device{"cpu"}};
  auto read = reader.read(0, value_of(aoti::Json::parse(argument, "argument")));
  if (!read) return std::move(read).error();
  std::ostringstream text;
  for (const auto& item : read.value().items) {
    using Kind = aoti::detail::CallArgument::Kind;
    text << (text.str().empty() ? "" : ", ");
    if (item.kind == Kind::fixed) text << item.fixed;
    if (item.kind != Kind::fixed) text << (item.kind == Kind::tensor ? "tensor" : "integer");
  }
  return (read.value().element != nullptr ? "[" : "") + text.str() +
         (read.value().element != nullptr ? "]" : "");
}

// Every kind of argument that torch writes, with every type that schemas have.
TEST(Serialized, ArgumentsAreTakenAsTheirSchemaSays) {
  const std::map<std::string, std::string> arguments{
      {"as_none", "true"},
      {"as_tensor", R"({"name": "x"})"},
      {"as_tensors", R"([{"name": "x"}])"},
      {"as_int", "2"},
      {"as_ints", "[2, 3]"},
      {"as_float", "1.5"},
      {"as_floats", "[1.5, NaN, \"Infinity\"]"},
      {"as_string", "\"cpu\""},
      {"as_strings", "[\"a\"]"},
      {"as_sym_int", R"({"as_name": "s0"})"},
      {"as_sym_ints", R"([{"as_name": "s0"}, {"as_int": 2}])"},
      {"as_scalar_type", "7"},
      {"as_memory_format", "2"},
      {"as_layout", "7"},
      {"as_device", R"({"type": "cpu", "index": null})"},
      {"as_bool", "true"},
      {"as_bools", "[true, false]"},
      {"as_sym_bool", R"({"as_name": "u0"})"},
      {"as_sym_bools", R"([{"as_name": "u0"}])"},
      {"as_graph", R"({"name": "g", "graph": {}})"},
      {"as_optional_tensors", R"([{"as_tensor": {"name": "x"}}, {"as_none": true}])"},
      {"as_custom_obj", R"({"name": "x", "class_fqn": "y"})"},
      {"as_operator", "\"aten::add\""},
      {"as_sym_float", R"({"as_name": "f0"})"},
      {"as_sym_floats", R"([{"as_name": "f0"}])"},
      {"as_optional_tensor", R"({"as_none": true})"},
      {"as_complex", R"({"real": 1.0, "imag": 2.0})"},
      {"as_nested_tensors", R"([[{"name": "x"}]])"},
      {"as_int_lists", "[[1]]"},
      {"as_string_to_argument", R"({"a": {"as_int": 1}})"},
      {"as_float_lists", "[[1.5]]"},
  };
  using Taken = std::map<std::string, std::string>;
  const Taken integer{{"as_int", "integer"}, {"as_sym_int", "integer"}};
  const Taken integers{{"as_ints", "[integer, integer]"}, {"as_sym_ints", "[integer, integer]"}};
  const Taken scalar{{"as_int", "integer"},
                     {"as_sym_int", "integer"},
                     {"as_float", "1.5"},
                     {"as_bool", "True"},
                     {"as_complex", "1.+2.j"}};
  const Taken floating{{"as_float", "1.5"}, {"as_int", "2."}, {"as_bool", "1."}};
  const Taken boolean{{"as_bool", "True"}, {"as_int", "True"}, {"as_float", "True"}};
  Taken any = scalar;
  any.merge(Taken{
      {"as_none", "None"}, {"as_tensor", "tensor"}, {"as_string", "cpu"}, {"as_device", "cpu"}});
  const std::map<std::string, Taken> types{
      {"Tensor", {{"as_tensor", "tensor"}}},
      {"Tensor[]", {{"as_tensors", "[tensor]"}}},
      {"Tensor?[]", {{"as_tensors", "[tensor]"}, {"as_optional_tensors", "[tensor, None]"}}},
      {"int", integer},
      {"SymInt", integer},
      {"int[]", integers},
      {"int[2]", integers},
      {"SymInt[]", integers},
      {"float", floating},
      {"float[]",
       {{"as_floats", "[1.5, nan, inf]"}, {"as_ints", "[2., 3.]"}, {"as_bools", "[1., 0.]"}}},
      {"bool", boolean},
      {"bool[]",
       {{"as_bools", "[True, False]"},
        {"as_ints", "[True, True]"},
        {"as_floats", "[True, True, True]"}}},
      {"Scalar", scalar},
      {"Scalar[]",
       {{"as_ints", "[integer, integer]"},
        {"as_sym_ints", "[integer, integer]"},
        {"as_floats", "[1.5, nan, inf]"},
        {"as_bools", "[True, False]"}}},
      {"str", {{"as_string", "cpu"}}},
      {"str[]", {{"as_strings", "[a]"}}},
      {"ScalarType", {{"as_scalar_type", "6"}, {"as_int", "2"}, {"as_bool", "1"}}},
      {"Layout", {{"as_layout", "0"}, {"as_int", "2"}, {"as_bool", "1"}}},
      {"MemoryFormat", {{"as_memory_format", "2"}, {"as_int", "2"}, {"as_bool", "1"}}},
      {"Device", {{"as_device", "cpu"}, {"as_string", "cpu"}}},
      {"Generator", {}},
      {"Any", any},
  };
  for (const auto& [type, takes] : types) {
    for (const bool optional : {false, true}) {
      if (optional && type == "Any") continue;
      for (const auto& [tag, value] : arguments) {
        SCOPED_TRACE(type + (optional ? "? " : " ") + tag);
        const auto found =
            read_argument(type + (optional ? "?" : ""), "{\"" + tag + "\": " + value + "}");
        const bool none = optional && tag == "as_none";
        if (none || takes.contains(tag)) {
          ASSERT_TRUE(good(found));
          EXPECT_EQ(found.value(), none ? "None" : takes.at(tag));
        } else if (tag == "as_custom_obj") {
          expect_error(found, Errc::damaged_package, {"argument a is not of kind custom_obj"});
        } else {
          expect_error(found, Errc::unsupported, {"tests::op", "argument 'a': found "});
        }
      }
    }
  }
}

TEST(Arguments, ThatNameNoDeviceAreDamaged) {
  for (const char* value : {R"({"as_device": {"type": "toaster"}})", R"({"as_string": "cpu:x"})",
                            R"({"as_device": {"type": 3}})"}) {
    expect_error(read_argument("Device", value), Errc::damaged_package,
                 {"tests::op", "argument a is not of kind "});
  }
}

TEST(Arguments, OfKindsThatNoOperatorTakesAreNamedWhole) {
  expect_error(read_argument("int[]", R"({"as_int_lists": [[1]]})"), Errc::unsupported,
               {"argument 'a': found int_lists, which cannot be passed to an operator"});
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
  agree(aoti::detail::serialized_dtypes, torch::aot_inductor::convertSerializedScalarType);
  agree(aoti::detail::serialized_layouts, torch::aot_inductor::convertSerializedLayout);
  agree(aoti::detail::serialized_memory_formats,
        torch::aot_inductor::convertSerializedMemoryFormat);
}
#endif

}  // namespace
}  // namespace aoti_test
