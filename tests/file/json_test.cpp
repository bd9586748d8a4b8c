#include <aoti/file/json.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "support/support.hpp"

namespace {

using aoti::Errc;
using aoti::Json;
using Kind = aoti::JsonKind;

Json parsed(std::string_view text) {
  auto json = Json::parse(text, "text");
  EXPECT_TRUE(aoti_test::good(json)) << text;
  return json ? std::move(json).value() : Json{};
}

TEST(Json, ReadsEachKindOfValue) {
  const struct {
    std::string_view text;
    Kind kind;
    std::int64_t integer = 0;
    double number = 0;
    std::string string{};
  } cases[] = {
      {"null", Kind::null},
      {"true", Kind::boolean, 1},
      {"false", Kind::boolean, 0},
      {"0", Kind::integer, 0},
      {"-7", Kind::integer, -7},
      {"9223372036854775807", Kind::integer, INT64_MAX},
      {"-9223372036854775808", Kind::integer, INT64_MIN},
      {"9223372036854775808", Kind::number, 0, 9223372036854775808.0},
      {"1.5", Kind::number, 0, 1.5},
      {"1e3", Kind::number, 0, 1000},
      {R"("a\n\u00e9")", Kind::string, 0, 0, "a\n\xc3\xa9"},
      {"\"\"", Kind::string},
      {" [] ", Kind::array},
      {"{}", Kind::object},
  };
  for (const auto& [text, kind, integer, number, string] : cases) {
    const Json json = parsed(text);
    EXPECT_TRUE(json.is(kind)) << text;
    EXPECT_EQ(json.integer, integer) << text;
    EXPECT_EQ(json.number, number) << text;
    EXPECT_EQ(json.string, string) << text;
    EXPECT_TRUE(json.items.empty()) << text;
  }
}

TEST(Json, KeepsNestsAndTheOrderOfMembers) {
  const Json json = parsed(R"({"b": [1, [2, {"c": "d"}], 3], "a": {"e": null}, "f": 4})");
  EXPECT_EQ(json.keys, (std::vector<std::string>{"b", "a", "f"}));
  ASSERT_EQ(json["b"].items.size(), 3u);
  EXPECT_EQ(json["b"].items[1].items[1]["c"].string, "d");
  EXPECT_EQ(json["b"].items[2].integer, 3);
  EXPECT_TRUE(json["a"]["e"].is(Kind::null));
  EXPECT_EQ(json["f"].integer, 4);
  EXPECT_TRUE(json["none"]["of"]["these"].is(Kind::null));
}

std::string nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Json, ReadsNestsOf64Levels) { EXPECT_TRUE(parsed(nested(64)).is(Kind::array)); }

TEST(Json, RefusesWhatIsNoJson) {
  const std::string texts[] = {
      "",
      " ",
      "{",
      "}",
      "[1,",
      "[1 2]",
      "{\"a\" 1}",
      "{\"a\": 1,}",
      "{1:2}",
      "\"open",
      "nul",
      "truee",
      "1 2",
      "{} x",
      "01",
      "--1",
      "1e999",
      "\"\\x\"",
      "'a'",
      "[1]]",
      nested(65),
      nested(100'000),
      std::string(100'000, '['),
      std::string("{}\0x", 4),
      std::string("[1\0]", 4),
      std::string("\"a\0b\"", 5),
  };
  for (const std::string& text : texts) {
    aoti_test::expect_error(Json::parse(text, "the text"), Errc::damaged_package,
                            {"the text", "not readable as JSON at byte"});
  }
}

// Every proper prefix of a document is refused.
TEST(Json, RefusesADocumentThatIsCutOff) {
  const std::string text = R"({"a": [1, -2.5e3, "b\u0041", true, null], "c": {"d": []}})";
  ASSERT_TRUE(parsed(text).is(Kind::object));
  for (std::size_t size = 0; size < text.size(); ++size) {
    const std::vector<char> exact(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(Json::parse({exact.data(), exact.size()}, "cut")) << size;
  }
}

}  // namespace
