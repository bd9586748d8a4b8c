// Operators that models call through a proxy executor on the native runtime, compared with torch's.
#include "libtorch/native_operators.hpp"

#include <aoti/load/native_needs.hpp>
#include <aoti/runtime/plain_operators.hpp>
#include <limits>

namespace aoti_test {
namespace {

using Native = aoti::NativeWith<aoti::PlainOperators>;
namespace imported = aoti::abi::imported;

/// Tensors with several layouts.
std::vector<at::Tensor> laid(const at::Tensor& tensor) {
  return {tensor,
          tensor.transpose(0, -1).contiguous().transpose(0, -1),
          tensor.transpose(0, 1),
          tensor.slice(1, 1, 3),
          tensor.slice(0, 0, 1).expand(tensor.sizes()),
          tensor.contiguous(at::MemoryFormat::ChannelsLast)};
}

class NativeOperators : public testing::Test {
 protected:
  void SetUp() override { at::manual_seed(0); }
};

TEST_F(NativeOperators, Copy) {
  for (const at::ScalarType dtype : {at::kFloat, at::kLong, at::kBool, at::kComplexFloat}) {
    for (const at::Tensor& x : laid((at::randn({2, 3, 4, 5}) * 5).to(dtype))) {
      expect_torchs<Native>("aten::clone", {given("self", x)}, {x.clone()});
      for (const auto& [format, serialized] : {std::pair{at::MemoryFormat::Contiguous, 1},
                                               std::pair{at::MemoryFormat::ChannelsLast, 2},
                                               std::pair{at::MemoryFormat::Preserve, 4}}) {
        const Given as{"memory_format",
                       R"({"as_memory_format": )" + std::to_string(serialized) + "}"};
        expect_torchs<Native>("aten::clone", {given("self", x), as}, {x.clone(format)});
      }
      const Given to{"dtype", R"({"as_scalar_type": 11})"};
      expect_torchs<Native>("prims::convert_element_type", {given("a", x), to},
                            {x.to(at::kComplexDouble, false, true)});
    }
  }
}

TEST_F(NativeOperators, Pad) {
  for (const at::ScalarType dtype : {at::kFloat, at::kLong, at::kComplexFloat}) {
    for (const at::Tensor& x : laid((at::randn({2, 3, 4, 5}) * 5).to(dtype))) {
      for (const std::vector<std::int64_t>& pad : {std::vector<std::int64_t>{0, 3},
                                                   {1, 2, 3, 0},
                                                   {-1, 2, 0, -2, 1, 0, 0, 1},
                                                   {-1, -1},
                                                   {}}) {
        expect_torchs<Native>("aten::constant_pad_nd",
                              {given("self", x), given("pad", pad), given("value", 7)},
                              {at::constant_pad_nd(x, pad, 7)});
        expect_torchs<Native>("aten::constant_pad_nd", {given("self", x), given("pad", pad)},
                              {at::constant_pad_nd(x, pad)});
      }
    }
  }
  EXPECT_EQ(refusal<Native>("aten::constant_pad_nd",
                            {given("self", at::zeros({3})), given("pad", {-2, -2})}, 1),
            "aten::constant_pad_nd: a size becomes negative");
}

TEST_F(NativeOperators, See) {
  for (const at::Tensor& x : laid(at::randn({2, 3, 4, 5}, at::kComplexFloat))) {
    for (std::int64_t d = -5; d < 5; ++d) {
      expect_torchs<Native>("aten::unsqueeze", {given("self", x), given("dim", d)},
                            {x.unsqueeze(d)});
      if (d == -5 || d == 4) continue;
      expect_torchs<Native>("aten::select.int",
                            {given("self", x), given("dim", d), given("index", -1)},
                            {x.select(d, -1)});
    }
    const at::Tensor one = x.narrow(1, 0, 1);
    expect_torchs<Native>(
        "aten::expand",
        {given("self", one), given("size", std::vector<std::int64_t>{7, -1, 3, -1, 5})},
        {one.expand({7, -1, 3, -1, 5})});
    EXPECT_EQ(refusal<Native>("aten::select.int",
                              {given("self", x), given("dim", 3), given("index", 5)}, 1),
              "aten::select.int: an index is out of range");
  }
  const Given dtype{"dtype", R"({"as_scalar_type": 10})"}, layout{"layout", R"({"as_layout": 7})"},
      device{"device", R"({"as_device": {"type": "cpu"}})"};
  expect_torchs<Native>("aten::full",
                        {given("size", std::vector<std::int64_t>{2, 3}), given("fill_value", 2),
                         dtype, layout, device, given("pin_memory", false)},
                        {at::full({2, 3}, 2, at::kComplexFloat)});
}

TEST_F(NativeOperators, Unique) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const at::Tensor& x :
       {at::randint(-4, 4, {5, 6}), at::randint(0, 4, {40}).to(at::kFloat),
        at::randint(0, 2, {3, 4}).to(at::kBool), at::tensor({1.0f, nan, -0.0f, nan, 0.0f, 1.0f}),
        at::zeros({0}), at::zeros({3, 0}, at::kLong), at::tensor(3.0f),
        at::randint(0, 9, {4, 5}).to(at::kByte).t(), at::randint(-9, 9, {50}).to(at::kHalf)}) {
    SCOPED_TRACE(testing::Message() << x);
    const std::vector<Given> all{given("self", x), given("sorted", true),
                                 given("return_inverse", true), given("return_counts", true)};
    const auto [values, inverse, counts] = at::_unique2(x, true, true, true);
    expect_torchs<Native>("aten::_unique2", all, {values, inverse, counts});
    const auto [runs, places, lengths] = at::unique_consecutive(x, true, true);
    expect_torchs<Native>("aten::unique_consecutive", {all[0], all[2], all[3], none("dim")},
                          {runs, places, lengths});
  }
}

TEST_F(NativeOperators, Bincount) {
  for (const at::Tensor& x :
       {at::randint(0, 9, {40}), at::randint(0, 9, {40}).to(at::kByte), at::zeros({0}, at::kLong),
        at::randint(0, 9, {80}).slice(0, 0, 80, 2)}) {
    for (const std::int64_t least : {0, 4, 20}) {
      expect_torchs<Native>("aten::bincount",
                            {given("self", x), none("weights"), given("minlength", least)},
                            {at::bincount(x, {}, least)});
      for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kLong}) {
        const at::Tensor weights = (at::rand({x.numel()}) * 9).to(dtype);
        expect_torchs<Native>(
            "aten::bincount",
            {given("self", x), given("weights", weights), given("minlength", least)},
            {at::bincount(x, weights, least)});
      }
    }
  }
  EXPECT_EQ(refusal<Native>("aten::bincount", {given("self", at::full({2}, -1, at::kLong))}, 1),
            "aten::bincount: a number is negative or too large");
}

void expect_numbers(const std::string& target, const std::vector<Given>& arguments,
                    const at::Tensor& expected) {
  SCOPED_TRACE(testing::Message() << target << expected.sizes());
  const auto found = call_native<Native>(target, arguments, 1);
  ASSERT_EQ(found.size(), 1u) << Native::last_error();
  EXPECT_TRUE(same_layout(found[0], expected));
  ASSERT_EQ(static_cast<at::ScalarType>(found[0].dtype()), expected.scalar_type());
  EXPECT_TRUE(assert_close(at::view_as_real(torch_of(found[0])), at::view_as_real(expected)));
}

TEST_F(NativeOperators, ComputeWithComplexNumbers) {
  for (const at::ScalarType dtype : {at::kComplexFloat, at::kComplexDouble}) {
    for (const at::Tensor& x : laid(at::randn({2, 3, 4, 5}, dtype))) {
      for (const at::Tensor& y :
           {at::randn({2, 3, 4, 5}, dtype), x.clone(), at::randn({4, 1}, dtype),
            at::randn({3, 1, 5}, at::kFloat), at::randn({}, at::kDouble), at::tensor(3),
            at::randn({}, at::kComplexDouble), at::randn({2, 3, 5, 4}, dtype).transpose(2, 3)}) {
        if (x.dim() != 4 || !x.sizes().equals({2, 3, 4, 5})) continue;
        const std::vector<Given> both{given("self", x), given("other", y)};
        expect_numbers("aten::add.Tensor", both, x + y);
        expect_numbers("aten::sub.Tensor", both, x - y);
        expect_numbers("aten::sub.Tensor", {given("self", y), given("other", x), given("alpha", 2)},
                       at::sub(y, x, 2));
        expect_numbers("aten::mul.Tensor", both, x * y);
        expect_numbers("aten::div.Tensor", both, x / y);
      }
      const std::vector<Given> one{given("self", x)};
      expect_numbers("aten::neg", one, -x);
      expect_numbers("aten::exp", one, x.exp());
      expect_numbers("aten::sqrt", one, x.sqrt());
      expect_numbers("aten::reciprocal", one, x.reciprocal());
      expect_numbers("aten::_conj_physical", one, at::_conj_physical(x));
      expect_numbers("aten::_conj", one, x.conj().resolve_conj());
    }
    const at::Tensor real = at::randn({3, 4}, c10::toRealValueType(dtype)),
                     imaginary = at::randn({4, 3}, c10::toRealValueType(dtype)).t();
    for (const at::Tensor& second : {imaginary, imaginary.slice(0, 0, 1)}) {
      expect_numbers("aten::complex", {given("real", real), given("imag", second)},
                     at::complex(real, second));
    }
  }
  EXPECT_EQ(refusal<Native>("aten::exp", {given("self", at::ones({2}))}, 1),
            "aten::exp: not for this dtype");
}

TEST_F(NativeOperators, RefuseCallsThatDoNotFit) {
  const auto make = [](const std::string& target, const std::vector<Given>& arguments,
                       std::size_t results) {
    auto made = Native::Operators::make({}, {node_of(target, arguments, results)}, "cpu");
    return made ? std::string{} : std::string{made.error().message()};
  };
  const at::Tensor x = at::ones({2});
  using testing::HasSubstr;
  EXPECT_THAT(make("aten::neg", {}, 1), HasSubstr("the call lacks the argument self"));
  EXPECT_THAT(make("aten::neg", {given("self", x)}, 2), HasSubstr("a different number of results"));
  EXPECT_THAT(make("aten::neg", {given("it", x)}, 1), HasSubstr("its argument it is unknown"));
  EXPECT_THAT(make("aten::neg", {given("self", 1)}, 1),
              HasSubstr("found as_int for the argument self, expected a tensor"));
  EXPECT_THAT(make("aten::neg", {none("self")}, 1), HasSubstr("found None"));
  EXPECT_FALSE(Native::Operators::has("aten::no_such_operator"));
  EXPECT_TRUE(Native::Operators::has("aten::clone"));
  EXPECT_TRUE(Native::Operators::has("aten::clone.default"));

  auto one =
      value_of(Native::Operators::make({}, {node_of("aten::neg", {given("self", x)}, 1)}, ""));
  const auto call = aoti::abi::resolve<Native, imported::proxy_executor_call_function>();
  EXPECT_NE(call(one.handle(), 1, 0, nullptr, 0, nullptr), 0);
  EXPECT_THAT(one.take_failure(), HasSubstr("the package does not list this call"));
  EXPECT_NE(call(one.handle(), 0, 0, nullptr, 0, nullptr), 0);
  EXPECT_THAT(one.take_failure(), HasSubstr("another number of arguments"));
  EXPECT_FALSE(one.failed());
}

}  // namespace
}  // namespace aoti_test
