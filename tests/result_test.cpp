#include <aoti/result.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "support/support.hpp"

namespace {

using aoti::Errc;
using aoti::Error;
using aoti::Result;

Result<int> half(int number) {
  if (number % 2 != 0) return Error{Errc::invalid_argument, "half", "odd", number};
  return number / 2;
}

TEST(Result, HoldsAValueOrAnError) {
  const Result<int> good = half(8);
  ASSERT_TRUE(good);
  EXPECT_EQ(good.value(), 4);
  const Result<int> bad = half(7);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message(), "half: invalid argument: odd");
  EXPECT_EQ(bad.error().native_code(), 7);
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(3);
  Result<std::unique_ptr<int>> moved = std::move(result);
  ASSERT_TRUE(moved);
  EXPECT_EQ(*moved.value(), 3);
}

TEST(Result, OfVoidIsASuccessOrAnError) {
  const Result<void> good = aoti::success();
  EXPECT_TRUE(good);
  const Result<void> bad = Error{Errc::bad_state};
  aoti_test::expect_error(bad, Errc::bad_state);
}

template <class Good, class Bad> Result<std::unique_ptr<int>> boxed(int number) {
  if (number < 0) return Error{Errc::bad_state, "boxed", "below zero"};
  return std::make_unique<int>(number);
}

Result<void> must_be_small(int number) {
  if (number > 100) return Error{Errc::unsupported, "must_be_small", "large"};
  return aoti::success();
}

Result<int> half_of_half(int number) {
  AOTI_TRYV(must_be_small(number));
  AOTI_TRY(const auto box, boxed<int, int>(number));
  AOTI_TRY(int result, half(*box));
  AOTI_TRY(result, half(result));
  return result;
}

Result<int> small_or_else(bool asked, int number) {
  if (asked) AOTI_TRYV(must_be_small(number));
  else number = -1;
  return number;
}

TEST(Try, IsOneStatement) {
  EXPECT_EQ(small_or_else(true, 8).value(), 8);
  EXPECT_EQ(small_or_else(false, 800).value(), -1);
  aoti_test::expect_error(small_or_else(true, 800), Errc::unsupported);
}

TEST(Try, TakesTheValueOrReturnsTheError) {
  EXPECT_EQ(half_of_half(8).value(), 2);
  aoti_test::expect_error(half_of_half(102), Errc::unsupported, {"must_be_small", "large"});
  aoti_test::expect_error(half_of_half(-4), Errc::bad_state, {"boxed", "below zero"});
  aoti_test::expect_error(half_of_half(7), Errc::invalid_argument, {"half", "odd"});
  aoti_test::expect_error(half_of_half(6), Errc::invalid_argument, {"half", "odd"});
}

TEST(ResultDeathTest, EndsTheProcessWhereTheValueIsNotThere) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(static_cast<void>(half(7).value()), "");
  EXPECT_EQ(half(8).value(), 4);
}

TEST(Guard, PassesOnWhatTheBodyReturns) {
  const auto guarded = [](int number) {
    return aoti::detail::guard(Errc::model_threw, "guarded", [&] { return half(number); });
  };
  EXPECT_EQ(guarded(8).value(), 4);
  aoti_test::expect_error(guarded(7), Errc::invalid_argument, {"half", "odd"});
}

#if defined(__cpp_exceptions)
TEST(Guard, TurnsExceptionsIntoErrors) {
  const struct {
    void (*act)();
    Errc code;
    const char* message;
  } cases[] = {
      {[] { throw std::runtime_error{"what"}; }, Errc::model_threw,
       "guarded: the model threw: what"},
      {[] { throw std::runtime_error{"DefaultCPUAllocator: can't allocate memory"}; },
       Errc::out_of_memory, "guarded: out of memory: DefaultCPUAllocator: can't allocate memory"},
      {[] { throw std::bad_alloc{}; }, Errc::out_of_memory,
       "guarded: out of memory: memory could not be allocated"},
      {[] { throw 3; }, Errc::model_threw,
       "guarded: the model threw: an exception that is not a std::exception"},
  };
  for (const auto& test : cases) {
    const auto result = aoti::detail::guard(Errc::model_threw, "guarded", [&]() -> Result<int> {
      test.act();
      return 1;
    });
    aoti_test::expect_error(result, test.code);
    EXPECT_EQ(result.error().message(), test.message);
  }
}
#endif

}  // namespace
