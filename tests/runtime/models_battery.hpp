// What models compiled by torch must do on every tensor runtime: those that import no operator. A
// file for one runtime includes how it makes tensors, and says
//   INSTANTIATE_TYPED_TEST_SUITE_P(Name, ModelsBattery, Runtime);
#pragma once

#include <aoti/aoti.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/runtime_case.hpp"

namespace aoti_test {

template <class Runtime> class ModelsBattery : public testing::Test {
 public:
  using Runner = aoti::Runner<aoti::Cpu, Runtime>;
  using SharedRunner =
      aoti::Runner<aoti::Cpu, Runtime, aoti::Options{.access = aoti::Access::shared}>;
  using Tensor = typename Runtime::Tensor;
  using Case = RuntimeCase<Runtime>;
  using Numbers = std::vector<std::int64_t>;
  using Floats = std::vector<float>;

  static std::string path(const char* model) {
    return std::string{AOTI_TEST_MODELS_DIR "/"}.append(model).append(".pt2");
  }
  template <class T> static T value_of(aoti::Result<T> result) {
    if (!result) {
      ADD_FAILURE() << result.error().message();
      std::abort();
    }
    return std::move(result).value();
  }
  template <class R = Runner>
  static R opened(const char* model, const aoti::OpenOptions& options = {}) {
    return value_of(R::open(path(model), options));
  }
  static Tensor floats(const Numbers& sizes, const Floats& elements, const Numbers& strides = {}) {
    return Case::template make<float>(sizes, elements, strides);
  }
  static Floats floats_in(const Tensor& tensor) { return Case::template elements<float>(tensor); }
  /// first, first + 1, …
  static Floats count_from(float first, std::size_t count) {
    Floats numbers(count);
    for (std::size_t i = 0; i < count; ++i) numbers[i] = first + static_cast<float>(i);
    return numbers;
  }
};
TYPED_TEST_SUITE_P(ModelsBattery);

TYPED_TEST_P(ModelsBattery, RunInEveryForm) {
  using B = ModelsBattery<TypeParam>;
  const auto runner = B::opened("add");
  const auto a = B::floats({8}, B::count_from(1, 8)), b = B::floats({8}, B::count_from(10, 8));
  const std::vector<float> sum{11, 13, 15, 17, 19, 21, 23, 25};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(B::floats_in(B::value_of(runner.template run<1>(a, b))[0]), sum);
    std::vector<typename B::Tensor> both{a, b}, one(1);
    EXPECT_EQ(B::floats_in(B::value_of(runner.run(both))[0]), sum);
    ASSERT_TRUE(good(runner.run_into(both, one)));
    EXPECT_EQ(B::floats_in(one[0]), sum);
    EXPECT_EQ(B::floats_in(B::value_of(runner.boxed_run(both))[0]), sum);
    EXPECT_FALSE(TypeParam::is_defined(both[0]));
    AtenTensorHandle in[] = {TypeParam::share(a), TypeParam::share(b)}, out[] = {nullptr};
    ASSERT_TRUE(good(runner.run_handles(in, out)));
    EXPECT_EQ(in[0], nullptr);
    EXPECT_EQ(B::floats_in(TypeParam::take(out[0])), sum);
    auto moved = B::floats({8}, B::count_from(1, 8));
    EXPECT_EQ(B::floats_in(B::value_of(runner.template run<1>(std::move(moved), b))[0]), sum);
    EXPECT_FALSE(TypeParam::is_defined(moved));  // NOLINT(bugprone-use-after-move)
  }
  EXPECT_EQ(B::floats_in(a), B::count_from(1, 8));
  // One tensor in both places.
  EXPECT_EQ(B::floats_in(B::value_of(runner.template run<1>(a, a))[0]),
            (std::vector<float>{2, 4, 6, 8, 10, 12, 14, 16}));
}

TYPED_TEST_P(ModelsBattery, RefuseInputsThatDoNotFit) {
  using B = ModelsBattery<TypeParam>;
  using aoti::Errc;
  const auto runner = B::opened("add");
  const auto good_one = B::floats({8}, B::count_from(0, 8));
  expect_error(runner.template run<1>(good_one), Errc::input_count, {"found 1", "expected 2"});
  expect_error(runner.template run<2>(good_one, good_one), Errc::output_count);
  expect_error(runner.template run<1>(good_one, B::floats({9}, B::count_from(0, 9))),
               Errc::input_shape, {"input 1 'b'", "found 9", "expected 8"});
  expect_error(runner.template run<1>(B::floats({2, 4}, B::count_from(0, 8)), good_one),
               Errc::input_rank, {"input 0 'a'"});
  expect_error(runner.template run<1>(
                   B::Case::template make<std::int64_t>({8}, {0, 1, 2, 3, 4, 5, 6, 7}), good_one),
               Errc::input_dtype, {"int64", "float32"});
  expect_error(runner.template run<1>(good_one, typename B::Tensor{}), Errc::undefined_tensor,
               {"input 1 'b'"});
  EXPECT_TRUE(good(runner.template run<1>(good_one, good_one)));
}

TYPED_TEST_P(ModelsBattery, TakeEveryLayout) {
  using B = ModelsBattery<TypeParam>;
  const auto runner = B::opened("transposed");  // x * 2 + y; x lies in memory as [4, 6]
  const auto numbers = B::count_from(0, 24);
  std::vector<float> expected;
  for (const float number : numbers) expected.push_back(3 * number);
  for (const std::vector<std::int64_t>& x :
       {std::vector<std::int64_t>{}, {1, 6}, {5, 1}, {2, 20}}) {
    for (const std::vector<std::int64_t>& y : {std::vector<std::int64_t>{}, {1, 6}, {9, 2}}) {
      SCOPED_TRACE(testing::PrintToString(x) + testing::PrintToString(y));
      const auto outputs = B::value_of(
          runner.template run<1>(B::floats({6, 4}, numbers, x), B::floats({6, 4}, numbers, y)));
      EXPECT_EQ(B::floats_in(outputs[0]), expected);
    }
  }
}

TYPED_TEST_P(ModelsBattery, TakeShapesThatVary) {
  using B = ModelsBattery<TypeParam>;
  const auto nested = B::opened("nested");
  for (const std::int64_t batch : {1, 4, 64}) {
    const auto count = static_cast<std::size_t>(3 * batch);
    const auto outputs =
        B::value_of(nested.template run<3>(B::floats({batch, 3}, std::vector<float>(count, 2)),
                                           B::floats({batch, 3}, std::vector<float>(count, -3))));
    EXPECT_EQ(B::floats_in(outputs[0]), std::vector<float>(count, -6));
    EXPECT_EQ(B::floats_in(outputs[1]), std::vector<float>{static_cast<float>(-18 * batch)});
    EXPECT_EQ(B::Case::template elements<bool>(outputs[2]), std::vector<bool>(count, false));
  }
  const auto derived = B::opened("derived");
  const auto outputs = B::value_of(derived.template run<2>(
      B::floats({1, 4}, {1, 2, 3, 4}), B::floats({2, 4}, {10, 20, 30, 40, 50, 60, 70, 80})));
  EXPECT_EQ(B::floats_in(outputs[0]), (std::vector<float>{11, 22, 33, 44}));
  EXPECT_EQ(B::floats_in(outputs[1]),
            (std::vector<float>{1, 2, 3, 4, 10, 20, 30, 40, 50, 60, 70, 80}));
  expect_error(
      derived.template run<2>(B::floats({1, 4}, {1, 2, 3, 4}), B::floats({1, 4}, {1, 2, 3, 4})),
      aoti::Errc::input_shape, {"input 1 'y'", "expected 2"});
}

TYPED_TEST_P(ModelsBattery, TakeIntegersAndBooleansAndNone) {
  using B = ModelsBattery<TypeParam>;
  const auto runner = B::opened("types");
  const auto ids = B::Case::template make<std::int64_t>({3}, {7, 0, 9});
  const auto mask = B::Case::template make<bool>({3}, {true, false, true});
  const auto outputs = B::value_of(runner.template run<2>(ids, mask));
  EXPECT_EQ(B::floats_in(outputs[0]),
            (std::vector<float>{28, 29, 30, 31, 0, 0, 0, 0, 36, 37, 38, 39}));
  EXPECT_EQ(B::Case::template elements<std::int64_t>(outputs[1]),
            (std::vector<std::int64_t>{14, -1, 18}));
  const auto none = B::value_of(runner.template run<2>(
      B::Case::template make<std::int64_t>({0}, {}), B::Case::template make<bool>({0}, {})));
  EXPECT_TRUE(B::floats_in(none[0]).empty());
}

TYPED_TEST_P(ModelsBattery, ReturnOneTensorTwiceAndNone) {
  using B = ModelsBattery<TypeParam>;
  const auto runner = B::opened("repeated");
  const auto x = B::floats({4, 3}, B::count_from(0, 12));
  for (int i = 0; i < 3; ++i) {
    auto outputs = B::value_of(runner.template run<4>(x));
    EXPECT_FALSE(TypeParam::is_defined(outputs[1]));
    EXPECT_EQ(B::Case::data(outputs[0]), B::Case::data(outputs[2]));
    outputs[0] = typename B::Tensor{};
    EXPECT_EQ(B::floats_in(outputs[2])[11], 22);
    EXPECT_EQ(B::Case::template elements<std::int64_t>(outputs[3]), std::vector<std::int64_t>{4});
  }
}

TYPED_TEST_P(ModelsBattery, OpenFromBytesAndByName) {
  using B = ModelsBattery<TypeParam>;
  const auto bytes = read_file(B::path("pair"));
  const auto a = B::floats({8}, B::count_from(5, 8)), b = B::floats({8}, B::count_from(1, 8));
  const auto runner = B::value_of(B::Runner::open(bytes, {.model = "model2"}));
  EXPECT_EQ(B::floats_in(B::value_of(runner.template run<1>(a, b))[0]), std::vector<float>(8, 4));
  expect_error(B::Runner::open(B::path("pair")), aoti::Errc::ambiguous_model);
  const auto file = B::opened("pair", {.model = "model"});
  EXPECT_EQ(B::floats_in(B::value_of(file.template run<1>(b, b))[0])[0], 2);
}

TYPED_TEST_P(ModelsBattery, NameWhatNobodyProvides) {
  using B = ModelsBattery<TypeParam>;
  auto refused = B::Runner::open(B::path("custom"));
  ASSERT_FALSE(refused);
  const aoti::Errc code = refused.error().code();
  EXPECT_TRUE(code == aoti::Errc::unsupported || code == aoti::Errc::missing_import);
}

TYPED_TEST_P(ModelsBattery, LeaveNothingBehind) {
  using B = ModelsBattery<TypeParam>;
  const auto a = B::floats({8}, B::count_from(5, 8));
  std::move(B::opened("add")).unload();
  const Footprint before;
  for (int i = 0; i < 3; ++i) {
    auto runner = B::opened("add");
    EXPECT_TRUE(good(runner.template run<1>(a, a)));
    std::move(runner).unload();
  }
  EXPECT_EQ(Footprint{}, before);
}

TYPED_TEST_P(ModelsBattery, RunOnManyThreads) {
  using B = ModelsBattery<TypeParam>;
  const auto shared = B::template opened<typename B::SharedRunner>("nested", {.instances = 2});
  std::vector<std::thread> threads;
  for (int t = 1; t <= 4; ++t) {
    threads.emplace_back([&shared, t] {
      const auto own = B::opened("nested");
      const auto x = B::floats({4, 3}, std::vector<float>(12, static_cast<float>(t)));
      const std::vector<float> expected(12, static_cast<float>(t * t));
      for (int i = 0; i < 200; ++i) {
        EXPECT_EQ(B::floats_in(B::value_of(own.template run<3>(x, x))[0]), expected);
        EXPECT_EQ(B::floats_in(B::value_of(shared.template run<3>(x, x))[0]), expected);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

REGISTER_TYPED_TEST_SUITE_P(ModelsBattery, RunInEveryForm, RefuseInputsThatDoNotFit,
                            TakeEveryLayout, TakeShapesThatVary, TakeIntegersAndBooleansAndNone,
                            ReturnOneTensorTwiceAndNone, OpenFromBytesAndByName,
                            NameWhatNobodyProvides, LeaveNothingBehind,
                            RunOnManyThreads);

}  // namespace aoti_test
