#include <aoti/error.hpp>

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using aoti::Errc;
using aoti::Error;

static_assert(std::is_nothrow_move_constructible_v<Error>);
static_assert(!std::is_copy_constructible_v<Error>);
static_assert(sizeof(Error) == 2 * sizeof(void*));

constexpr int last_code = static_cast<int>(Errc::bad_state);

TEST(Errc, EachHasAnOwnName) {
  std::set<std::string_view> names;
  for (int code = 0; code <= last_code; ++code) {
    const std::string_view name = to_string(static_cast<Errc>(code));
    EXPECT_NE(name, "unknown error") << code;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_EQ(to_string(static_cast<Errc>(last_code + 1)), "unknown error");
}

TEST(Error, SaysInOneLineWhatItKnows) {
  const struct {
    const char *operation, *text, *message;
  } cases[] = {
      {"a.pt2", "found 1", "a.pt2: not found: found 1"},
      {"", "found 1", "not found: found 1"},
      {"a.pt2", "", "a.pt2: not found"},
      {"", "", "not found"},
  };
  for (const auto& [operation, text, message] : cases) {
    const Error error{Errc::not_found, operation, text, 2};
    EXPECT_EQ(error.message(), message);
    EXPECT_EQ(error.operation(), operation);
    EXPECT_EQ(error.text(), text);
    EXPECT_EQ(error.native_code(), 2);
    EXPECT_EQ(error.code(), Errc::not_found);
  }
  EXPECT_EQ(Error{Errc::out_of_memory}.message(), "out of memory");
  EXPECT_EQ(Error{}.code(), Errc::none);
}

TEST(Error, Moves) {
  Error first{Errc::model_failed, "run", "text", 7};
  Error second = std::move(first);
  EXPECT_EQ(second.message(), "run: the model failed: text");
  EXPECT_EQ(second.native_code(), 7);
  Error third{Errc::bad_state, "other", "words"};
  third = std::move(second);
  EXPECT_EQ(third.message(), "run: the model failed: text");
  EXPECT_EQ(third.native_code(), 7);
}

TEST(Texts, AreJoined) {
  EXPECT_EQ(aoti::detail::concat({"found ", 3, " of ", std::string{"4"}, ' ' - ' '}),
            "found 3 of 40");
  EXPECT_EQ(aoti::detail::concat({}), "");
  EXPECT_EQ(aoti::detail::join(std::vector<std::string>{"a", "b", "c"}), "a, b, c");
  EXPECT_EQ(aoti::detail::join(std::vector<int>{1, -2}), "1, -2");
  EXPECT_EQ(aoti::detail::join(std::vector<int>{}), "");
}

}  // namespace
