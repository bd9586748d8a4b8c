#include <aoti/package/spec.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/support.hpp"

namespace {

using aoti::Dimension;
using aoti::DType;
using aoti::Errc;
using aoti::ModelSpec;

aoti::Result<ModelSpec> parse(std::string_view text) {
  return ModelSpec::parse(text, "the origin");
}

/// A spec with this text as its only input, and no outputs.
std::string with_input(std::string_view input) {
  return aoti::detail::concat({R"({"version":1,"inputs":[)", input, R"(],"outputs":[]})"});
}

TEST(ModelSpec, ReadsWhatTheExporterWrites) {
  const auto parsed = parse(R"({"version":1,"inputs":[
      {"name":"x","dtype":"float32","device":"cpu",
       "shape":[{"symbol":"batch","min":1,"max":64},3,{"symbol":"s","scale":2,"offset":1,"min":3,"max":null}]},
      {"name":"y","dtype":"int64","device":"cuda",
       "shape":[{"symbol":"batch","min":1,"max":64},{"text":"s*t","min":0,"max":9}],"order":[1,0]},
      {"name":"z","dtype":"bool","device":"cpu","shape":[4,{"symbol":"s","min":1}],"strides":[null,2],"mutated":true},
      {"name":"scalar","dtype":"bfloat16","device":"mps","shape":[]}],
    "outputs":[{"name":"out","dtype":"float8_e4m3fn","device":"cpu","shape":[{"symbol":"batch","min":1,"max":64}]},
      {"name":"nothing","dtype":null,"device":null,"shape":[]}]})");
  ASSERT_TRUE(aoti_test::good(parsed));
  const ModelSpec& spec = parsed.value();
  EXPECT_EQ(spec.symbols, (std::vector<std::string>{"batch", "s"}));
  ASSERT_EQ(spec.inputs.size(), 4u);
  ASSERT_EQ(spec.outputs.size(), 2u);

  const auto& x = spec.inputs[0];
  EXPECT_EQ(x.name, "x");
  EXPECT_EQ(x.dtype, DType::float32);
  EXPECT_EQ(x.device, aoti::DeviceType::cpu);
  ASSERT_EQ(x.shape.size(), 3u);
  EXPECT_EQ(x.shape[0].min, 1);
  EXPECT_EQ(x.shape[0].max, 64);
  EXPECT_EQ(x.shape[0].symbol, 0);
  EXPECT_EQ(x.shape[0].first_input, -1);
  EXPECT_EQ(x.shape[1].min, 3);
  EXPECT_EQ(x.shape[1].max, 3);
  EXPECT_EQ(x.shape[1].symbol, -1);
  EXPECT_EQ(x.shape[2].scale, 2);
  EXPECT_EQ(x.shape[2].offset, 1);
  EXPECT_EQ(x.shape[2].first_input, 0);  // itself: not every size is a multiple
  EXPECT_EQ(x.shape[2].first_dimension, 2);
  EXPECT_EQ(x.shape[2].max, Dimension::unbounded);
  EXPECT_TRUE(x.order.empty());
  EXPECT_TRUE(x.strides.empty());

  const auto& y = spec.inputs[1];
  EXPECT_EQ(y.dtype, DType::int64);
  EXPECT_EQ(y.device, aoti::DeviceType::cuda);
  EXPECT_EQ(y.shape[0].first_input, 0);
  EXPECT_EQ(y.shape[0].first_dimension, 0);
  EXPECT_EQ(y.shape[1].symbol, -1);
  EXPECT_EQ(y.shape[1].max, 9);
  EXPECT_EQ(y.order, (std::vector<int>{1, 0}));

  EXPECT_FALSE(y.mutated);
  EXPECT_TRUE(spec.inputs[2].mutated);
  EXPECT_EQ(spec.inputs[2].strides, (std::vector<std::int64_t>{-1, 2}));
  EXPECT_EQ(spec.inputs[2].shape[1].first_dimension, 2);
  EXPECT_TRUE(spec.inputs[3].shape.empty());
  EXPECT_EQ(spec.outputs[0].dtype, DType::float8_e4m3fn);
  EXPECT_FALSE(spec.outputs[0].none);
  EXPECT_TRUE(spec.outputs[1].none);
}

// A relation belongs to the last of its inputs, which is checked when the others are known to fit.
TEST(ModelSpec, ReadsGuards) {
  const auto parsed = parse(R"_({"version":2,"inputs":[
      {"name":"x","dtype":"int8","device":"cpu","shape":[{"min":0},{"min":0}]},
      {"name":"y","dtype":"int8","device":"cpu","shape":[{"min":0}]}],"outputs":[],"guards":[
      {"text":"x.size(0) * x.size(1) == y.size(0)","check":["==",["*",[0,0],[0,1]],[1,0]]},
      {"text":"x.size(1) != 3","check":["!=",[0,1],3]}]})_");
  ASSERT_TRUE(aoti_test::good(parsed));
  const auto& inputs = parsed.value().inputs;
  ASSERT_EQ(inputs[0].guards.size(), 1u);
  ASSERT_EQ(inputs[1].guards.size(), 1u);
  EXPECT_EQ(inputs[0].guards[0].text, "x.size(1) != 3");
  EXPECT_EQ(inputs[1].guards[0].text, "x.size(0) * x.size(1) == y.size(0)");
}

TEST(ModelSpec, KnowsEveryDtypeAndDevice) {
  for (const auto& row : aoti::abi::dtype_rows) {
    const auto spec = parse(with_input(aoti::detail::concat(
        {R"({"name":"x","device":"cpu","shape":[],"dtype":")", row.name, R"("})"})));
    ASSERT_TRUE(aoti_test::good(spec)) << row.name;
    EXPECT_EQ(spec.value().inputs[0].dtype, row.dtype);
  }
  for (const auto& row : aoti::abi::device_type_rows) {
    const auto spec = parse(with_input(aoti::detail::concat(
        {R"({"name":"x","dtype":"int8","shape":[],"device":")", row.name, R"("})"})));
    ASSERT_TRUE(aoti_test::good(spec)) << row.name;
    EXPECT_EQ(spec.value().inputs[0].device, row.type);
  }
}

TEST(ModelSpec, ReadsSizesBeyond32Bits) {
  const auto spec = parse(with_input(
      R"({"name":"x","dtype":"int8","device":"cpu","shape":[5000000000,{"min":1,"max":5000000000}]})"));
  ASSERT_TRUE(aoti_test::good(spec));
  EXPECT_EQ(spec.value().inputs[0].shape[0].min, 5'000'000'000);
  EXPECT_EQ(spec.value().inputs[0].shape[0].max, 5'000'000'000);
  EXPECT_EQ(spec.value().inputs[0].shape[1].max, 5'000'000'000);
}

TEST(ModelSpec, RefusesWhatItCannotRead) {
  const struct {
    std::string text;
    Errc code;
    std::string part;
  } cases[] = {
      {"", Errc::damaged_package, "not readable as JSON"},
      {"{", Errc::damaged_package, "not readable as JSON"},
      {"[]", Errc::damaged_package, "no version"},
      {"{}", Errc::damaged_package, "no version"},
      {R"({"version":"1","inputs":[],"outputs":[]})", Errc::damaged_package, "no version"},
      {R"({"version":3,"inputs":[],"outputs":[]})", Errc::unsupported,
       "version 3; this library reads versions 1 and 2"},
      {R"({"version":2,"inputs":[],"outputs":[],"guards":{}})", Errc::damaged_package,
       "bad guards"},
      {R"({"version":2,"inputs":[],"outputs":[],"guards":[3]})", Errc::damaged_package,
       "an invalid guard"},
      {R"_({"version":2,"inputs":[{"name":"x","dtype":"int8","device":"cpu","shape":[1]}],
           "outputs":[],"guards":[{"text":"x.size(1) == 3","check":["==",[0,1],3]}]})_",
       Errc::damaged_package, "an invalid guard: x.size(1) == 3"},
      {R"({"version":1})", Errc::damaged_package, "lacks its inputs or outputs"},
      {R"({"version":1,"inputs":[]})", Errc::damaged_package, "lacks its inputs or outputs"},
      {R"({"version":1,"inputs":{},"outputs":[]})", Errc::damaged_package,
       "lacks its inputs or outputs"},
      {with_input("3"), Errc::damaged_package, "no known dtype"},
      {with_input(R"({"name":"x","dtype":null,"device":null,"shape":[]})"), Errc::damaged_package,
       "no known dtype for x"},
      {with_input(R"({"name":"x","dtype":"float33","device":"cpu","shape":[]})"),
       Errc::damaged_package, "no known dtype for x"},
      {with_input(R"({"name":"x","dtype":"float32","device":"abacus","shape":[]})"),
       Errc::damaged_package, "no known device for x"},
      {with_input(R"({"name":"x","dtype":"float32","device":"cpu"})"), Errc::damaged_package,
       "lacks the shape of x"},
  };
  for (const auto& [text, code, part] : cases) {
    SCOPED_TRACE(text);
    aoti_test::expect_error(parse(text), code, {"the origin", part});
  }
  EXPECT_TRUE(aoti_test::good(parse(R"({"version":1,"inputs":[],"outputs":[]})")));
}

TEST(ModelSpec, RefusesLayoutsThatAreNone) {
  const auto input = [](std::string_view layout) {
    return with_input(aoti::detail::concat(
        {R"({"name":"x","dtype":"float32","device":"cpu","shape":[2,3,4],)", layout, "}"}));
  };
  for (const char* good : {R"("order":[0,1,2])", R"("order":[2,0,1])", R"("order":[])",
                           R"("strides":[null,null,1])", R"("strides":[])"}) {
    EXPECT_TRUE(aoti_test::good(parse(input(good)))) << good;
  }
  for (const char* bad :
       {R"("order":[0,1])", R"("order":[0,1,1])", R"("order":[1,2,3])", R"("order":[0,1,2,3])",
        R"("order":[-1,0,1])", R"("order":[0,1,4294967298])", R"("strides":[1,2])",
        R"("strides":[1,2,3,4])"}) {
    SCOPED_TRACE(bad);
    aoti_test::expect_error(parse(input(bad)), Errc::damaged_package, {"layout for x"});
  }
}

// Numbers with which the arithmetic of the checks would overflow, and invalid sizes.
TEST(ModelSpec, RefusesDimensionsThatAreNone) {
  const auto input = [](std::string_view dimension) {
    return with_input(aoti::detail::concat(
        {R"({"name":"x","dtype":"float32","device":"cpu","shape":[)", dimension, "]}"}));
  };
  for (const char* good :
       {"0", "7", R"({"min":0,"max":9})", R"({"symbol":"s"})",
        R"({"symbol":"s","scale":2,"offset":-1})", R"({"symbol":"s","min":2,"max":2})",
        R"({"symbol":"s","scale":-1,"offset":9})"}) {
    EXPECT_TRUE(aoti_test::good(parse(input(good)))) << good;
  }
  for (const char* bad :
       {"-1", "null", "1.5", R"("three")", "[]", R"({"min":3,"max":2})", R"({"min":-1,"max":2})",
        R"({"symbol":"s","scale":0})", R"({"symbol":"s","offset":-9223372036854775808})",
        R"({"symbol":"s","scale":9223372036854775807})"}) {
    SCOPED_TRACE(bad);
    aoti_test::expect_error(parse(input(bad)), Errc::damaged_package, {"range for x"});
  }
}

}  // namespace
