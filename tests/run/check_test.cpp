#include <aoti/run/check.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "support/fake_runtime.hpp"
#include "support/support.hpp"

namespace {

using aoti::Errc;
using aoti::ModelSpec;
using aoti::detail::Fit;
using aoti_test::DeviceType;
using aoti_test::DType;
using aoti_test::FakeRuntime;
using aoti_test::FakeTensor;
using aoti_test::Sizes;

std::string input(std::string_view name, std::string_view shape, std::string_view layout = {}) {
  return aoti::detail::concat({R"({"name":")", name,
                               R"(","dtype":"float32","device":"cpu","shape":[)", shape, "]",
                               layout, "}"});
}

ModelSpec spec(std::string_view inputs, std::string_view guards = {}) {
  auto parsed =
      ModelSpec::parse(aoti::detail::concat({R"({"version":2,"inputs":[)", inputs,
                                             R"(],"outputs":[],"guards":[)", guards, "]}"}),
                       "spec");
  EXPECT_TRUE(aoti_test::good(parsed)) << inputs;
  return parsed ? std::move(parsed).value() : ModelSpec{};
}

FakeTensor floats(Sizes sizes, Sizes strides = {}) {
  return aoti_test::empty(DType::float32, std::move(sizes), std::move(strides));
}

struct Outcome {
  Fit fit;           // the worst of all inputs
  std::string text;  // for the first input that does not fit
  Errc code = Errc::none;
};

/// As in a runner: each input in turn, up to the first that does not fit.
Outcome check(const ModelSpec& model, const std::vector<FakeTensor>& inputs) {
  Outcome outcome{Fit::yes, {}};
  for (std::size_t i = 0; i < model.inputs.size(); ++i) {
    const aoti::detail::InputCheck rules{model, i};
    const Fit fit = rules.fit<FakeRuntime>(model, std::span{inputs}, i);
    outcome.fit = std::min(outcome.fit, fit);
    if (fit != Fit::no) continue;
    aoti::Error error{Errc::none};
    rules.fit<FakeRuntime>(model, std::span{inputs}, i, aoti::detail::InWords{error});
    return {fit, error.message(), error.code()};
  }
  return outcome;
}

struct Case {
  std::vector<FakeTensor> inputs;
  Fit fit;
  Errc code = Errc::none;
  std::string text{};
};

void expect(const ModelSpec& model, const std::vector<Case>& cases) {
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Outcome outcome = check(model, cases[i].inputs);
    EXPECT_EQ(outcome.fit, cases[i].fit) << "case " << i << ": " << outcome.text;
    EXPECT_EQ(outcome.code, cases[i].code) << "case " << i << ": " << outcome.text;
    EXPECT_EQ(outcome.text, cases[i].text) << "case " << i;
  }
}

TEST(Check, ComparesKindRankAndSizes) {
  const ModelSpec model = spec(input("x", R"(2,{"min":1,"max":4},{"min":3})"));
  FakeTensor sparse = floats({2, 1, 3}), doubles = aoti_test::empty(DType::float64, {2, 1, 3}),
             cuda = floats({2, 1, 3});
  sparse.strided = false;
  cuda.device = DeviceType::cuda;
  const auto no = Fit::no;
  expect(model, {{{floats({2, 1, 3})}, Fit::yes},
                 {{floats({2, 4, 300})}, Fit::yes},
                 {{FakeTensor{}},
                  no,
                  Errc::undefined_tensor,
                  "input 0 'x': undefined tensor: the tensor is undefined"},
                 {{sparse},
                  no,
                  Errc::input_layout,
                  "input 0 'x': wrong input layout: found a sparse, quantized, nested, or lazily "
                  "conjugated or negated tensor, expected a plain strided one"},
                 {{doubles},
                  no,
                  Errc::input_dtype,
                  "input 0 'x': wrong input dtype: found float64, expected float32"},
                 {{cuda},
                  no,
                  Errc::input_device,
                  "input 0 'x': wrong input device: found a tensor on cuda, expected one on cpu"},
                 {{floats({2, 1})},
                  no,
                  Errc::input_rank,
                  "input 0 'x': wrong input rank: found 2 dimensions, expected 3"},
                 {{floats({2, 1, 3, 1})},
                  no,
                  Errc::input_rank,
                  "input 0 'x': wrong input rank: found 4 dimensions, expected 3"},
                 {{floats({})},
                  no,
                  Errc::input_rank,
                  "input 0 'x': wrong input rank: found 0 dimensions, expected 3"},
                 {{floats({3, 1, 3})},
                  no,
                  Errc::input_shape,
                  "input 0 'x': wrong input shape: dimension 0: found 3, expected 2"},
                 {{floats({0, 1, 3})},
                  no,
                  Errc::input_shape,
                  "input 0 'x': wrong input shape: dimension 0: found 0, expected 2"},
                 {{floats({2, 5, 3})},
                  no,
                  Errc::input_shape,
                  "input 0 'x': wrong input shape: dimension 1: found 5, expected 1 to 4"},
                 {{floats({2, 0, 3})},
                  no,
                  Errc::input_shape,
                  "input 0 'x': wrong input shape: dimension 1: found 0, expected 1 to 4"},
                 {{floats({2, 1, 2})},
                  no,
                  Errc::input_shape,
                  "input 0 'x': wrong input shape: dimension 2: found 2, expected 3 or more"}});
}

TEST(Check, TellsEveryDtypeFromEveryOther) {
  for (const auto& wanted : aoti::abi::dtype_rows) {
    const ModelSpec model = spec(aoti::detail::concat(
        {R"({"name":"x","dtype":")", wanted.name, R"(","device":"cpu","shape":[1]})"}));
    for (const auto& given : aoti::abi::dtype_rows) {
      const Outcome outcome = check(model, {aoti_test::empty(given.dtype, {1})});
      EXPECT_EQ(outcome.fit == Fit::yes, given.dtype == wanted.dtype)
          << given.name << " for " << wanted.name;
    }
  }
}

TEST(Check, ComparesDimensionsThatShareASymbol) {
  const ModelSpec model = spec(
      input("x", R"({"symbol":"n","max":9})") + "," + input("y", R"(3,{"symbol":"n","max":9})") +
      "," +
      input(
          "z",
          R"({"symbol":"n","scale":2,"offset":1,"max":19},{"symbol":"m"},{"symbol":"m","scale":-1,"offset":5})"));
  expect(model, {{{floats({4}), floats({3, 4}), floats({9, 2, 3})}, Fit::yes},
                 {{floats({0}), floats({3, 0}), floats({1, 0, 5})}, Fit::yes},
                 {{floats({4}), floats({3, 5}), floats({9, 2, 3})},
                  Fit::no,
                  Errc::input_shape,
                  "input 1 'y': wrong input shape: dimension 1 (n): found 5, expected 4, since "
                  "dimension 0 of input 0 'x' is 4"},
                 {{floats({4}), floats({3, 4}), floats({8, 2, 3})},
                  Fit::no,
                  Errc::input_shape,
                  "input 2 'z': wrong input shape: dimension 0 (n): found 8, expected 9, since "
                  "dimension 0 of input 0 'x' is 4"},
                 {{floats({4}), floats({3, 4}), floats({11, 2, 3})},
                  Fit::no,
                  Errc::input_shape,
                  "input 2 'z': wrong input shape: dimension 0 (n): found 11, expected 9, since "
                  "dimension 0 of input 0 'x' is 4"},
                 {{floats({4}), floats({3, 4}), floats({9, 2, 2})},
                  Fit::no,
                  Errc::input_shape,
                  "input 2 'z': wrong input shape: dimension 2 (m): found 2, expected 3, since "
                  "dimension 1 of input 2 'z' is 2"}});
}

// A size that no value of the symbol gives, although it is the symbol's first occurrence.
TEST(Check, WantsMultiplesWhereTheSpecSaysSo) {
  const ModelSpec model = spec(input("x", R"({"symbol":"n","scale":4,"offset":-1,"min":3})") + "," +
                               input("y", R"({"symbol":"n"})"));
  expect(model, {{{floats({7}), floats({2})}, Fit::yes},
                 {{floats({3}), floats({1})}, Fit::yes},
                 {{floats({8}), floats({2})},
                  Fit::no,
                  Errc::input_shape,
                  "input 0 'x': wrong input shape: dimension 0 (n): found 8, expected 4 times an "
                  "integer plus -1"},
                 {{floats({7}), floats({1})},
                  Fit::no,
                  Errc::input_shape,
                  "input 1 'y': wrong input shape: dimension 0 (n): found 1, expected 2, since "
                  "dimension 0 of input 0 'x' is 7"}});
}

TEST(Check, ComparesSizesThatARelationTies) {
  const std::string any = R"({"symbol":"a"},{"symbol":"b"})";
  const ModelSpec model =
      spec(input("x", any) + "," + input("y", R"({"min":0})") + "," + input("z", "3"),
           R"_({"text":"x.size(0) * x.size(1) == y.size(0)","check":["==",["*",[0,0],[0,1]],[1,0]]},
              {"text":"x.size(1) % 2 == 0","check":["==",["%",[0,1],2],0]})_");
  expect(model,
         {{{floats({2, 4}), floats({8}), floats({3})}, Fit::yes},
          {{floats({0, 4}), floats({0}), floats({3})}, Fit::yes},
          {{floats({2, 4}, {1, 2}), floats({8}), floats({3})}, Fit::reordered},
          {{floats({2, 3}), floats({6}), floats({3})},
           Fit::no,
           Errc::input_shape,
           "input 0 'x': wrong input shape: found x.size(1) = 3; expected x.size(1) % 2 == 0"},
          {{floats({2, 4}), floats({7}), floats({3})},
           Fit::no,
           Errc::input_shape,
           "input 1 'y': wrong input shape: found x.size(0) = 2, x.size(1) = 4, y.size(0) = "
           "7; expected x.size(0) * x.size(1) == y.size(0)"},
          {{floats({2, 4}), floats({8}), floats({4})},
           Fit::no,
           Errc::input_shape,
           "input 2 'z': wrong input shape: dimension 0: found 4, expected 3"}});
}

TEST(Check, KnowsWhichMemoryMustBeLaidOutAnew) {
  const struct {
    const char* layout;
    Sizes sizes, strides;
    Fit fit;
  } cases[] = {
      // Row-major
      {"", {2, 3}, {}, Fit::yes},
      {"", {2, 3}, {1, 2}, Fit::reordered},
      {"", {2, 3}, {6, 2}, Fit::reordered},
      {"", {2, 3}, {0, 1}, Fit::reordered},
      {"", {1, 3}, {77, 1}, Fit::yes},
      {"", {2, 1}, {1, 77}, Fit::yes},
      {"", {0, 3}, {1, 7}, Fit::yes},
      // Column-major
      {R"(,"order":[1,0])", {2, 3}, {1, 2}, Fit::yes},
      {R"(,"order":[1,0])", {2, 3}, {}, Fit::reordered},
      {R"(,"order":[1,0])", {2, 3}, {1, 3}, Fit::reordered},
      {R"(,"order":[1,0])", {1, 3}, {77, 1}, Fit::yes},
      {R"(,"order":[1,0])", {0, 3}, {7, 7}, Fit::yes},
      // With gaps: such a model must be given exactly the layout that it was compiled for
      {R"(,"strides":[8,1])", {2, 3}, {8, 1}, Fit::yes},
      {R"(,"strides":[8,1])", {2, 3}, {}, Fit::no},
      {R"(,"strides":[8,1])", {1, 3}, {3, 1}, Fit::yes},
      {R"(,"strides":[null,1])", {2, 3}, {11, 1}, Fit::yes},
      {R"(,"strides":[null,1])", {2, 3}, {11, 2}, Fit::no},
      {R"(,"strides":[0,1])", {2, 3}, {0, 1}, Fit::yes},
  };
  for (const auto& [layout, sizes, strides, fit] : cases) {
    const ModelSpec model = spec(input("x", R"({"min":0},{"min":0})", layout));
    const Outcome outcome = check(model, {floats(sizes, strides)});
    EXPECT_EQ(outcome.fit, fit) << layout << testing::PrintToString(sizes)
                                << testing::PrintToString(strides);
    EXPECT_EQ(outcome.code, fit == Fit::no ? Errc::input_layout : Errc::none) << outcome.text;
  }
  const ModelSpec model = spec(input("x", "2,3", R"(,"strides":[null,1])"));
  EXPECT_EQ(check(model, {floats({2, 3}, {1, 2})}).text,
            "input 0 'x': wrong input layout: found strides 1, 2, expected -1, 1 (-1 for any)");
}

TEST(Check, WorksOnScalars) {
  expect(spec(input("x", "")), {{{floats({})}, Fit::yes}});
  expect(spec(input("x", "", R"(,"order":[])")), {{{floats({})}, Fit::yes}});
}

// Anything that a model writes into a copy would be lost.
TEST(Check, DoesNotReorderWhatTheModelWritesTo) {
  const std::string text =
      "input 0 'x': wrong input layout: found strides 1, 2; the model writes to it, so it "
      "must be laid out as the example that it was exported with: without gaps, ";
  expect(spec(input("x", "2,2", R"(,"mutated":true)")),
         {{{floats({2, 2})}, Fit::yes},
          {{floats({2, 2}, {1, 2})}, Fit::no, Errc::input_layout, text + "row-major"}});
  expect(spec(input("x", "2,2,1", R"(,"order":[1,0,2],"mutated":true)")),
         {{{floats({2, 2, 1}, {1, 2, 1})}, Fit::yes}});
  expect(spec(input("x", "2,2", R"(,"mutated":false)")),
         {{{floats({2, 2}, {1, 2})}, Fit::reordered}});
}

// Sizes, and numbers in the spec, at the limits of their ranges.
TEST(Check, DoesNotOverflow) {
  const ModelSpec model = spec(input(
      "x",
      R"(0,{"symbol":"n","scale":-2147483648,"offset":-2147483648},{"symbol":"n","scale":2147483648,"offset":2147483648})"));
  for (const std::int64_t a : {std::int64_t{0}, std::int64_t{1}, INT64_MAX / 2, INT64_MAX / 2 + 1,
                               INT64_MAX - 1, INT64_MAX}) {
    for (const std::int64_t b : {std::int64_t{0}, INT64_MAX / 2, INT64_MAX}) {
      FakeTensor tensor = floats({0, 1, 1});
      tensor.sizes = {0, a, b};
      const Fit fit = aoti::detail::InputCheck{model, 0}.fit<FakeRuntime>(model, &tensor, 0);
      if (std::max(a, b) > INT64_MAX / 2) {
        EXPECT_EQ(fit, Fit::no) << a << ", " << b;
      }
    }
  }
}

}  // namespace
