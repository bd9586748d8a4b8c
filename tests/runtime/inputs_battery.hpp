// How a runner answers inputs that a model cannot take, and that it works afterwards, on every
// tensor runtime. A file for one runtime includes how it makes tensors, and has
//   INSTANTIATE_TYPED_TEST_SUITE_P(Name, InputsBattery, Runtime);
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "runtime/models.hpp"
#include "support/sanitizers.hpp"

namespace aoti_test {

template <class Runtime> class InputsBattery : public testing::Test {};
TYPED_TEST_SUITE_P(InputsBattery);

/// A model of one input, x of [batch, 3], whose first output is 2 x.
template <class Runtime> struct Doubling {
  using B = OnRuntime<Runtime>;
  using Tensor = typename B::Tensor;
  using Tensors = typename B::Tensors;

  /// Refused in every form; nothing is taken over, and nothing is written.
  void expect_refused(const Tensor& input, aoti::Errc code,
                      const std::vector<std::string>& parts) const {
    const bool defined = Runtime::is_defined(input);
    const auto is_input = [&](const Tensor& tensor) {
      return Runtime::is_defined(tensor) == defined &&
             (!defined || B::Case::data(tensor) == B::Case::data(input));
    };
    expect_error(runner.template run<4>(input), code, parts);

    Tensors inputs{input}, outputs(4, marker);
    expect_error(runner.run(inputs), code, parts);
    expect_error(runner.run_into(inputs, outputs), code, parts);
    EXPECT_EQ(B::Case::owners(marker), 5u);
    expect_error(runner.boxed_run(inputs), code, parts);
    EXPECT_TRUE(is_input(inputs[0]));

    Tensor moved = input;
    expect_error(runner.template run<4>(std::move(moved)), code, parts);
    EXPECT_TRUE(is_input(moved));  // NOLINT(bugprone-use-after-move): that is the point
    moved = Tensor{};

    AtenTensorHandle in[] = {Runtime::share(input)}, out[4] = {};
    const AtenTensorHandle given = in[0];
    expect_error(runner.run_handles(in, out), code, parts);
    EXPECT_EQ(in[0], given);
    EXPECT_EQ(out[0], nullptr);
    Runtime::destroy(in[0]);
    inputs.clear();
    if (defined) {
      EXPECT_EQ(B::Case::owners(input), 1u);
    }
    expect_works();
  }

  void expect_works() const {
    EXPECT_EQ(B::floats_in(value_of(runner.template run<4>(x))[0]), twice);
  }

  const Tensor x = B::floats({4, 3}, B::count_from(1, 12));
  const typename B::Floats twice = B::times(2, B::count_from(1, 12));
  const Tensor marker = B::floats({1}, {7});
  const typename B::Runner runner = B::opened("repeated");
};

// This model doubles its first input, w, and returns x + 1.
TYPED_TEST_P(InputsBattery, ThatAreWrittenMustNotShareMemory) {
  using B = OnRuntime<TypeParam>;
  const auto runner = B::opened("writing");
  const auto w = B::floats({8}, B::count_from(1, 8)), x = B::floats({8}, B::count_from(1, 8));
  expect_error(runner.template run<1>(w, w), aoti::Errc::input_layout,
               {"input 0 'w'", "found memory that is also that of input 1 'x'"});
  EXPECT_EQ(B::floats_in(w), B::count_from(1, 8));
  EXPECT_EQ(B::floats_in(value_of(runner.template run<1>(w, x))[0]), B::count_from(2, 8));
  EXPECT_EQ(B::floats_in(w), B::times(2, B::count_from(1, 8)));
}

TYPED_TEST_P(InputsBattery, MustBeAsManyAsTheModelTakes) {
  using B = OnRuntime<TypeParam>;
  using aoti::Errc;
  const Doubling<TypeParam> model;
  for (const std::size_t count : {0, 2, 3, 2000}) {
    SCOPED_TRACE(count);
    const std::vector<std::string> parts{model_path("repeated") + " (model)",
                                         "found " + std::to_string(count) + " inputs",
                                         "expected 1"};
    typename B::Tensors inputs(count, model.x), outputs(4);
    expect_error(model.runner.run(inputs), Errc::input_count, parts);
    expect_error(model.runner.run_into(inputs, outputs), Errc::input_count, parts);
    expect_error(model.runner.boxed_run(inputs), Errc::input_count, parts);
    EXPECT_EQ(B::Case::owners(model.x), count + 1);

    std::vector<AtenTensorHandle> in;
    for (std::size_t i = 0; i < count; ++i) in.push_back(TypeParam::share(model.x));
    AtenTensorHandle out[4] = {};
    expect_error(model.runner.run_handles(in, out), Errc::input_count, parts);
    for (const AtenTensorHandle handle : in) TypeParam::destroy(handle);
    model.expect_works();
  }
  expect_error(model.runner.template run<4>(), Errc::input_count, {"found 0", "expected 1"});
  expect_error(model.runner.template run<4>(model.x, model.x), Errc::input_count,
               {"found 2", "expected 1"});
  EXPECT_EQ(B::Case::owners(model.x), 1u);
  model.expect_works();
}

TYPED_TEST_P(InputsBattery, GoWithRoomForAllOutputs) {
  using B = OnRuntime<TypeParam>;
  using aoti::Errc;
  const Doubling<TypeParam> model;
  expect_error(model.runner.template run<0>(model.x), Errc::output_count,
               {"found room for 0", "expected 4"});
  expect_error(model.runner.template run<5>(model.x), Errc::output_count,
               {"found room for 5", "expected 4"});
  const typename B::Tensors inputs{model.x};
  for (const std::size_t count : {0, 3, 5}) {
    typename B::Tensors outputs(count, model.marker);
    expect_error(model.runner.run_into(inputs, outputs), Errc::output_count, {"expected 4"});
    EXPECT_EQ(B::Case::owners(model.marker), count + 1);
  }
  model.expect_works();
}

TYPED_TEST_P(InputsBattery, MustHaveTheDtype) {
  using B = OnRuntime<TypeParam>;
  const Doubling<TypeParam> model;
  for (const auto& row : aoti::abi::dtype_rows) {
    if (row.dtype == aoti::DType::float32) continue;
    SCOPED_TRACE(row.name);
    model.expect_refused(B::Case::empty({4, 3}, row.dtype), aoti::Errc::input_dtype,
                         {"input 0 'x'", "found " + std::string{row.name}, "expected float32"});
  }
}

TYPED_TEST_P(InputsBattery, MustHaveTheRankAndShape) {
  using B = OnRuntime<TypeParam>;
  const Doubling<TypeParam> model;
  using aoti::Errc;
  const struct {
    typename B::Numbers sizes;
    Errc code;
    std::vector<std::string> parts;
  } cases[] = {
      {{}, Errc::input_rank, {"found 0 dimensions", "expected 2"}},
      {{3}, Errc::input_rank, {"found 1 dimensions", "expected 2"}},
      {{1, 4, 3}, Errc::input_rank, {"found 3 dimensions", "expected 2"}},
      {{4, 3, 1, 1, 1, 1, 1}, Errc::input_rank, {"found 7 dimensions", "expected 2"}},
      {{4, 2}, Errc::input_shape, {"dimension 1", "found 2", "expected 3"}},
      {{4, 4}, Errc::input_shape, {"dimension 1", "found 4", "expected 3"}},
      {{4, 0}, Errc::input_shape, {"dimension 1", "found 0", "expected 3"}},
      {{3, 4}, Errc::input_shape, {"dimension 1", "found 4", "expected 3"}},
      {{0, 3}, Errc::input_shape, {"dimension 0 (batch)", "found 0", "expected 1 to 64"}},
      {{65, 3}, Errc::input_shape, {"dimension 0 (batch)", "found 65", "expected 1 to 64"}},
  };
  for (auto [sizes, code, parts] : cases) {
    SCOPED_TRACE(testing::PrintToString(sizes));
    parts.push_back("input 0 'x'");
    model.expect_refused(B::random(sizes, 1), code, parts);
  }
  for (const std::int64_t batch : {1, 64}) {
    EXPECT_TRUE(good(model.runner.template run<4>(B::random({batch, 3}, 1))));
  }
}

TYPED_TEST_P(InputsBattery, MustBeThere) {
  const Doubling<TypeParam> model;
  model.expect_refused({}, aoti::Errc::undefined_tensor, {"input 0 'x'", "undefined"});
}

TYPED_TEST_P(InputsBattery, AreNamedByTheirOwnIndex) {
  using B = OnRuntime<TypeParam>;
  using aoti::Errc;
  const auto add = B::opened("add");
  const auto a = B::floats({8}, B::count_from(1, 8)), nine = B::random({9}, 1);
  const auto wrong = B::longs({1, 2, 3, 4, 5, 6, 7, 8});
  expect_error(add.template run<1>(wrong, a), Errc::input_dtype,
               {"input 0 'a'", "int64", "float32"});
  expect_error(add.template run<1>(a, wrong), Errc::input_dtype,
               {"input 1 'b'", "int64", "float32"});
  expect_error(add.template run<1>(typename B::Tensor{}, wrong), Errc::undefined_tensor,
               {"input 0 'a'"});
  expect_error(add.template run<1>(a, nine), Errc::input_shape,
               {"input 1 'b'", "dimension 0:", "found 9", "expected 8"});
  EXPECT_TRUE(B::works(add, "add"));
  // One tensor may be passed as several inputs.
  EXPECT_EQ(B::floats_in(value_of(add.template run<1>(a, a))[0]), B::times(2, B::count_from(1, 8)));

  const auto nested = B::opened("nested");
  const auto x = B::random({4, 3}, 1);
  expect_error(nested.template run<3>(x, B::random({5, 3}, 1)), Errc::input_shape,
               {"input 1 'scale'", "dimension 0 (batch)", "found 5", "expected 4",
                "dimension 0 of input 0 'x' is 4"});
  EXPECT_TRUE(good(nested.template run<3>(x, x)));

  const auto types = B::opened("types");
  const auto ids = B::longs({1, 2}), mask = B::bools({true, false});
  expect_error(types.template run<2>(ids, ids), Errc::input_dtype,
               {"input 1 'mask'", "int64", "bool"});
  expect_error(types.template run<2>(mask, mask), Errc::input_dtype,
               {"input 0 'ids'", "bool", "int64"});
  EXPECT_TRUE(good(types.template run<2>(ids, mask)));
}

TYPED_TEST_P(InputsBattery, MayLieInMemoryAsTheyLike) {
  using B = OnRuntime<TypeParam>;
  const Doubling<TypeParam> model;
  const struct {
    const char* name;
    std::int64_t first;
    typename B::Numbers strides;
  } cases[] = {
      {"transposed", 0, {1, 4}},
      {"every second column", 0, {6, 2}},
      {"every second row", 0, {6, 1}},
      {"the middle", 7, {5, 1}},
      {"all of it upside down", 3, {2, 9}},
  };
  for (const auto& [name, first, strides] : cases) {
    SCOPED_TRACE(name);
    std::vector<float> memory(40, -1);
    for (std::int64_t i = 0; i < 12; ++i) {
      const std::int64_t at = first + i / 3 * strides[0] + i % 3 * strides[1];
      memory[static_cast<std::size_t>(at)] = static_cast<float>(i + 1);
    }
    const auto before = memory;
    const auto input = B::Case::view(memory.data() + first, {4, 3}, strides);
    EXPECT_EQ(B::floats_in(value_of(model.runner.template run<4>(input))[0]), model.twice);
    typename B::Tensors inputs{input};
    EXPECT_EQ(B::floats_in(value_of(model.runner.run(inputs))[0]), model.twice);
    EXPECT_EQ(B::floats_in(value_of(model.runner.boxed_run(inputs))[0]), model.twice);
    AtenTensorHandle in[] = {TypeParam::share(input)}, out[4] = {};
    ASSERT_TRUE(good(model.runner.run_handles(in, out)));
    EXPECT_EQ(in[0], nullptr);
    EXPECT_EQ(B::floats_in(TypeParam::take(out[0])), model.twice);
    for (const std::size_t i : {2, 3}) TypeParam::destroy(out[i]);
    EXPECT_EQ(memory, before);
    EXPECT_EQ(B::Case::owners(input), 1u);
  }

  float row[] = {1, 2, 3}, number[] = {0.5};
  const auto rows = value_of(model.runner.template run<4>(B::Case::view(row, {2, 3}, {0, 1})));
  EXPECT_EQ(B::floats_in(rows[0]), (typename B::Floats{2, 4, 6, 2, 4, 6}));
  const auto all = value_of(model.runner.template run<4>(B::Case::view(number, {5, 3}, {0, 0})));
  EXPECT_EQ(B::floats_in(all[0]), typename B::Floats(15, 1));
}

TYPED_TEST_P(InputsBattery, MayLieInMemoryAsTheyLikeForEveryModel) {
  using B = OnRuntime<TypeParam>;
  auto numbers = B::count_from(0, 16);
  const auto sum = value_of(B::opened("add").template run<1>(
      B::Case::view(numbers.data(), {8}, {2}), B::Case::view(&numbers[3], {8}, {0})));
  EXPECT_EQ(B::floats_in(sum[0]), (typename B::Floats{3, 5, 7, 9, 11, 13, 15, 17}));
  const auto products =
      value_of(B::opened("nested").template run<3>(B::Case::view(numbers.data(), {4, 3}, {1, 4}),
                                                   B::Case::view(numbers.data(), {4, 3}, {0, 1})));
  EXPECT_EQ(B::floats_in(products[0]),
            (typename B::Floats{0, 4, 16, 0, 5, 18, 0, 6, 20, 0, 7, 22}));
  std::int64_t ids[] = {1, 0, 2, 0, 3, 0};
  bool yes[] = {true};
  const auto doubled = value_of(B::opened("types").template run<2>(B::Case::view(ids, {3}, {2}),
                                                                   B::Case::view(yes, {3}, {0})));
  EXPECT_EQ(B::longs_in(doubled[1]), (typename B::Numbers{2, 4, 6}));
}

// The checks are in loops that are divided among threads.
TYPED_TEST_P(InputsBattery, ThatTheModelRefusesOnAnyThread) {
  if (tsan) GTEST_SKIP() << "the sanitizer does not see how OpenMP's threads wait for one another";
  using B = OnRuntime<TypeParam>;
  const auto checked = B::opened("checked");
  const auto x = B::floats({10}, B::count_from(0, 10));
  constexpr std::size_t count = 1 << 16;
  typename B::Numbers good(count);
  for (std::size_t i = 0; i < count; ++i) good[i] = static_cast<std::int64_t>(i % 10);
  const bool tells = checked.container().exports().get_last_error != nullptr;
  const std::string reason = tells ? "index out of bounds" : "before torch 2.13";
  for (const std::size_t place : {std::size_t{0}, count / 2 + 5, count - 1}) {
    auto ids = good;
    ids[place] = place == 0 ? -11 : std::int64_t{1} << 40;
    expect_error(checked.template run<2>(x, B::longs(ids)), aoti::Errc::model_failed, {reason});
    const auto outputs = value_of(checked.template run<2>(x, B::longs(good)));
    EXPECT_EQ(B::floats_in(outputs[0])[place], static_cast<float>(good[place]));
    EXPECT_EQ(B::floats_in(outputs[1])[0], 4596);
  }
  const typename B::Numbers all(count, 10);
  expect_error(checked.template run<2>(x, B::longs(all)), aoti::Errc::model_failed, {reason});
}

TYPED_TEST_P(InputsBattery, ThatTheModelItselfRefuses) {
  using B = OnRuntime<TypeParam>;
  const auto types = B::opened("types");
  const auto mask = B::bools({true, true});
  const bool tells = types.container().exports().get_last_error != nullptr;
  const std::string reason = tells ? "index out of bounds" : "before torch 2.13";
  for (int i = 0; i < 3; ++i) {
    expect_error(types.template run<2>(B::longs({3, 10}), mask), aoti::Errc::model_failed,
                 {reason});
    expect_error(types.template run<2>(B::longs({-11, 3}), mask), aoti::Errc::model_failed,
                 {reason});
  }
  EXPECT_EQ(B::Case::owners(mask), 1u);
  EXPECT_EQ(B::longs_in(value_of(types.template run<2>(B::longs({3, 9}), mask))[1]),
            (typename B::Numbers{6, 18}));
}

REGISTER_TYPED_TEST_SUITE_P(InputsBattery, ThatTheModelRefusesOnAnyThread,
                            ThatAreWrittenMustNotShareMemory, MustBeAsManyAsTheModelTakes,
                            GoWithRoomForAllOutputs, MustHaveTheDtype, MustHaveTheRankAndShape,
                            MustBeThere, AreNamedByTheirOwnIndex, MayLieInMemoryAsTheyLike,
                            MayLieInMemoryAsTheyLikeForEveryModel, ThatTheModelItselfRefuses);

}  // namespace aoti_test
