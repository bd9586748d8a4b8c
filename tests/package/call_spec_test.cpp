#include <aoti/package/call_spec.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "support/support.hpp"

namespace {

using aoti::CallSpec;
using aoti::Errc;

constexpr std::string_view leaf = R"({"type": null, "context": null, "children_spec": []})";

std::string tree(std::string_view type, std::string_view context, std::string_view children) {
  return aoti::detail::concat({R"({"type": ")", type, R"(", "context": )", context,
                               R"(, "children_spec": [)", children, "]}"});
}
std::string tuple(std::string_view children) {
  return tree("builtins.tuple", R"("null")", children);
}
std::string version_1(std::string_view spec) { return aoti::detail::concat({"[1, ", spec, "]"}); }
std::string inputs(std::string_view args, std::string_view kwargs) {
  return version_1(tuple(aoti::detail::concat({args, ", ", kwargs})));
}
const std::string no_kwargs = tree("builtins.dict", R"("[]")", "");

TEST(CallSpec, ReadsPositionalAndKeywordArgumentsAndNestedOutputs) {
  using aoti::detail::concat;
  const std::string nested =
      tree("builtins.list", R"("null")", concat({leaf, ", ", tuple(concat({leaf, ", ", leaf}))}));
  const std::string kwargs =
      tree("builtins.dict", R"("[\"mask\", \"scale\"]")", concat({leaf, ", ", tuple(leaf)}));
  const std::string out =
      tree("builtins.dict", R"("[\"y\", \"z\"]")", concat({leaf, ", ", nested}));
  const auto spec =
      CallSpec::parse(inputs(tuple(concat({leaf, ", ", nested})), kwargs), version_1(out));
  ASSERT_TRUE(aoti_test::good(spec));
  const CallSpec& call = spec.value();
  EXPECT_EQ(call.args.type, "builtins.tuple");
  EXPECT_EQ(call.args.leaf_count(), 4u);
  ASSERT_EQ(call.args.children.size(), 2u);
  EXPECT_TRUE(call.args.children[0].is_leaf());
  EXPECT_EQ(call.args.children[1].type, "builtins.list");
  EXPECT_EQ(call.kwargs.keys, (std::vector<std::string>{"mask", "scale"}));
  EXPECT_EQ(call.kwargs.leaf_count(), 2u);
  EXPECT_EQ(call.result.type, "builtins.dict");
  EXPECT_EQ(call.result.keys, (std::vector<std::string>{"y", "z"}));
  EXPECT_EQ(call.result.leaf_count(), 4u);
  EXPECT_EQ(call.result.children[1].children[1].children.size(), 2u);
}

TEST(CallSpec, ReadsTheSmallestOnes) {
  const auto spec = CallSpec::parse(inputs(tuple(""), no_kwargs), version_1(leaf));
  ASSERT_TRUE(aoti_test::good(spec));
  EXPECT_EQ(spec.value().args.leaf_count(), 0u);
  EXPECT_FALSE(spec.value().args.is_leaf());
  EXPECT_EQ(spec.value().kwargs.leaf_count(), 0u);
  EXPECT_TRUE(spec.value().result.is_leaf());
  EXPECT_EQ(spec.value().result.leaf_count(), 1u);
}

// Contexts that are not a list of names of the right length give no keys.
TEST(CallSpec, GivesKeysOnlyWhereTheyFit) {
  for (const char* context :
       {R"("[\"a\"]")", R"("not json")", R"("{}")", R"("[1, 2]")", "null", "3"}) {
    const auto out =
        version_1(tree("some.Type", context, aoti::detail::concat({leaf, ", ", leaf})));
    const auto spec = CallSpec::parse(inputs(tuple(""), no_kwargs), out);
    ASSERT_TRUE(aoti_test::good(spec)) << context;
    EXPECT_TRUE(spec.value().result.keys.empty()) << context;
    EXPECT_EQ(spec.value().result.leaf_count(), 2u);
  }
}

TEST(CallSpec, RefusesWhatItCannotRead) {
  const std::string in = inputs(tuple(leaf), no_kwargs), out = version_1(leaf);
  ASSERT_TRUE(aoti_test::good(CallSpec::parse(in, out)));
  const struct {
    std::string in, out;
    Errc code;
  } cases[] = {
      {"", "", Errc::unsupported},
      {"", out, Errc::unsupported},
      {in, "", Errc::unsupported},
      {"[1", out, Errc::damaged_package},
      {in, "nonsense", Errc::damaged_package},
      {in, "{}", Errc::damaged_package},
      {in, "[1]", Errc::damaged_package},
      {in, "[2, {}]", Errc::damaged_package},
      {in, aoti::detail::concat({"[2, ", leaf, "]"}), Errc::damaged_package},
      {in, "[1, []]", Errc::damaged_package},
      {in, R"([1, {"type": null}])", Errc::damaged_package},
      {in, version_1(tuple("3")), Errc::damaged_package},
      {version_1(leaf), out, Errc::damaged_package},
      {version_1(tuple(leaf)), out, Errc::damaged_package},
      {version_1(tuple(tuple(leaf) + ", " + no_kwargs + ", " + no_kwargs)), out,
       Errc::damaged_package},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.in + " → " + test.out);
    aoti_test::expect_error(CallSpec::parse(test.in, test.out), test.code, {"call spec"});
  }
}

}  // namespace
