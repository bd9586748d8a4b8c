// Convolutions on oneDNN, compared with torch's: the values and their memory layout.
#include <ATen/Parallel.h>

#include "libtorch/onednn.hpp"

namespace aoti_test {
namespace {

namespace imported = aoti::abi::imported;

struct Problem {
  Sizes input, weight;
  Sizes stride, padding, dilation;
  bool transposed = false;
  Sizes output_padding = {0};
  std::int64_t groups = 1;
};

enum class Lie { dense, channels_last, gaps, swapped, repeated };
constexpr Lie all_lies[] = {Lie::dense, Lie::channels_last, Lie::gaps, Lie::swapped, Lie::repeated};

at::Tensor laid(Lie lie, const at::Tensor& tensor) {
  switch (lie) {
    case Lie::dense:
      return tensor;
    case Lie::channels_last:
      if (tensor.dim() == 4) return tensor.contiguous(at::MemoryFormat::ChannelsLast);
      if (tensor.dim() == 5) return tensor.contiguous(at::MemoryFormat::ChannelsLast3d);
      return tensor.transpose(1, 2).contiguous().transpose(1, 2);
    case Lie::gaps:
      return at::constant_pad_nd(tensor, {0, 1, 0, 1})
          .slice(-1, 0, tensor.size(-1))
          .slice(-2, 0, tensor.size(-2));
    case Lie::swapped:
      return tensor.transpose(0, 1).contiguous().transpose(0, 1);
    case Lie::repeated:
      return tensor.slice(0, 0, 1).expand(tensor.sizes());
  }
  return {};
}

at::Tensor numbers(const Sizes& sizes, at::ScalarType dtype) {
  if (c10::isIntegralType(dtype, false)) return at::randint(0, 100, sizes).to(dtype);
  return at::rand(sizes).sub_(0.5).to(dtype);
}

void expect_alike(const Problem& c, at::ScalarType dtype, Lie input_lies, Lie weight_lies,
                  bool biased) {
  using Convolution = imported::cpu_convolution;
  Twin input = twin(laid(input_lies, numbers(c.input, dtype)));
  Twin weight = twin(laid(weight_lies, numbers(c.weight, dtype)));
  const std::int64_t results = c.transposed ? c.weight[1] * c.groups : c.weight[0];
  Twin bias = twin(numbers({results}, dtype));
  const auto call = [&](auto* function, AtenTensorHandle x, AtenTensorHandle w, AtenTensorHandle b,
                        AtenTensorHandle* out) {
    const auto size = [](const Sizes& list) { return static_cast<std::int64_t>(list.size()); };
    return function(x, w, biased ? &b : nullptr, c.stride.data(), size(c.stride), c.padding.data(),
                    size(c.padding), c.dilation.data(), size(c.dilation), c.transposed,
                    c.output_padding.data(), size(c.output_padding), c.groups, out);
  };
  AtenTensorHandle expected_handle = nullptr, found_handle = nullptr;
  ASSERT_EQ(call(torch_function<Convolution>(), input.of_torch(), weight.of_torch(),
                 bias.of_torch(), &expected_handle),
            0);
  const std::string what = c10::str(
      "input ", at::IntArrayRef{c.input}, " weight ", at::IntArrayRef{c.weight}, " stride ",
      at::IntArrayRef{c.stride}, " padding ", at::IntArrayRef{c.padding}, " dilation ",
      at::IntArrayRef{c.dilation}, " groups ", c.groups, " transposed ", c.transposed, " layouts ",
      static_cast<int>(input_lies), static_cast<int>(weight_lies), " ", dtype);
  ASSERT_EQ(call(native_function<Convolution>(), input.of_native(), weight.of_native(),
                 bias.of_native(), &found_handle),
            0)
      << what << ": " << aoti::NativeOnednn::last_error();
  const at::Tensor expected = taken_torch(expected_handle);
  const aoti::Tensor found = taken_native(found_handle);
  EXPECT_TRUE(same_layout(found, expected)) << what;
  EXPECT_TRUE(assert_close(torch_of(found), expected, 2)) << what;
}

void expect_alike_in_all_layouts(const Problem& c, at::ScalarType dtype = at::kFloat) {
  for (const Lie input : all_lies) {
    for (const Lie weight : all_lies) {
      for (const bool biased : {false, true}) {
        expect_alike(c, dtype, input, weight, biased);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

class Convolutions : public testing::Test {
 protected:
  void SetUp() override {
    at::manual_seed(0);
    at::set_num_threads(2);  // torch chooses the result's strides by it
  }
};

TEST_F(Convolutions, OfOneDimension) {
  expect_alike_in_all_layouts({{2, 6, 20}, {8, 6, 3}, {1}, {1}, {1}});
  expect_alike_in_all_layouts({{1, 6, 20}, {8, 6, 3}, {2}, {2}, {2}});
  expect_alike_in_all_layouts({{2, 6, 20}, {9, 2, 5}, {1}, {0}, {1}, false, {0}, 3});
  expect_alike_in_all_layouts({{2, 6, 7}, {6, 4, 3}, {2}, {1}, {1}, true, {1}});
  expect_alike_in_all_layouts({{1, 1, 5}, {1, 1, 1}, {1}, {0}, {1}});
}

TEST_F(Convolutions, OfTwoDimensions) {
  for (const std::int64_t batch : {1, 3}) {
    expect_alike_in_all_layouts({{batch, 3, 12, 9}, {8, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}});
    expect_alike_in_all_layouts({{batch, 16, 12, 9}, {20, 16, 1, 1}, {1, 1}, {0, 0}, {1, 1}});
    expect_alike_in_all_layouts({{batch, 16, 12, 9}, {32, 16, 3, 5}, {2, 1}, {2, 4}, {2, 3}});
    expect_alike_in_all_layouts(
        {{batch, 16, 10, 10}, {16, 1, 3, 3}, {1, 1}, {1, 1}, {1, 1}, false, {0, 0}, 16});
    expect_alike_in_all_layouts(
        {{batch, 16, 10, 10}, {32, 4, 3, 3}, {2, 2}, {1, 1}, {1, 1}, false, {0, 0}, 4});
  }
  expect_alike_in_all_layouts({{1, 1, 9, 9}, {1, 1, 3, 3}, {1}, {1}, {1}});
  expect_alike_in_all_layouts({{2, 4, 1, 1}, {4, 4, 3, 3}, {1, 1}, {1, 1}, {1, 1}});
  expect_alike_in_all_layouts({{1, 4, 1, 1}, {4, 4, 1, 1}, {1, 1}, {0, 0}, {1, 1}});
}

TEST_F(Convolutions, Transposed) {
  expect_alike_in_all_layouts({{2, 6, 7, 5}, {6, 4, 3, 3}, {2, 2}, {1, 1}, {1, 1}, true, {1, 1}});
  expect_alike_in_all_layouts({{1, 6, 7, 5}, {6, 4, 2, 2}, {2, 2}, {0, 0}, {1, 1}, true, {0, 0}});
  expect_alike_in_all_layouts(
      {{2, 6, 7, 5}, {6, 4, 3, 3}, {1, 2}, {1, 0}, {2, 1}, true, {0, 1}, 3});
  expect_alike_in_all_layouts({{2, 4, 3, 3, 3}, {4, 2, 3, 3, 3}, {2}, {1}, {1}, true, {1}});
}

TEST_F(Convolutions, OfThreeDimensions) {
  expect_alike_in_all_layouts({{2, 3, 6, 5, 4}, {8, 3, 3, 3, 3}, {1}, {1}, {1}});
  expect_alike_in_all_layouts(
      {{1, 4, 6, 5, 4}, {8, 2, 3, 1, 2}, {2, 1, 1}, {1, 0, 0}, {1}, false, {0}, 2});
  expect_alike_in_all_layouts({{1, 4, 6, 5, 4}, {8, 4, 3, 3, 3}, {1}, {2}, {2}});
  expect_alike_in_all_layouts({{1, 4, 6, 5, 4}, {8, 4, 1, 1, 1}, {1}, {0}, {1}});
}

TEST_F(Convolutions, OfBfloat16) {
  expect_alike_in_all_layouts({{2, 16, 12, 9}, {8, 16, 3, 3}, {1}, {1}, {1}}, at::kBFloat16);
  expect_alike_in_all_layouts({{2, 16, 12}, {8, 16, 3}, {1}, {1}, {1}}, at::kBFloat16);
}

TEST_F(Convolutions, OfNothing) {
  expect_alike({{0, 3, 5, 5}, {4, 3, 3, 3}, {1}, {1}, {1}}, at::kFloat, Lie::dense, Lie::dense,
               true);
}

TEST_F(Convolutions, OfOtherTypes) {
  for (const at::ScalarType dtype : {at::kDouble, at::kHalf, at::kLong}) {
    for (const Lie lie : all_lies) {
      expect_alike({{2, 4, 9}, {6, 2, 3}, {1}, {2}, {2}, false, {0}, 2}, dtype, lie, lie, true);
      expect_alike({{2, 4, 9, 8}, {6, 2, 3, 3}, {2}, {1}, {1}, false, {0}, 2}, dtype, lie, lie,
                   false);
      // Torch rounds each sum to half here.
      if (dtype != at::kHalf) {
        expect_alike({{2, 4, 5, 4}, {4, 3, 3, 3}, {2}, {1}, {1}, true, {1}}, dtype, lie, Lie::dense,
                     true);
      }
      expect_alike({{1, 2, 4, 5, 6}, {3, 2, 2, 3, 2}, {1}, {0}, {1}}, dtype, lie, Lie::dense, true);
    }
  }
}

// Torch supports some of these.
TEST_F(Convolutions, OfNarrowIntegers) {
  for (const at::ScalarType dtype : {at::kInt, at::kShort, at::kChar, at::kByte}) {
    for (const Lie lie : all_lies) {
      expect_alike({{2, 4, 9, 8}, {6, 2, 3, 3}, {2}, {1}, {1}, false, {0}, 2}, dtype, lie, lie,
                   true);
    }
  }
}

TEST_F(Convolutions, RefuseWhatDoesNotFit) {
  const std::int64_t one[] = {1}, zero[] = {0};
  const auto refusal = [&](const at::Tensor& x, const at::Tensor& w, std::int64_t groups) {
    Twin input = twin(x), weight = twin(w);
    AtenTensorHandle out = nullptr;
    EXPECT_NE(native_function<imported::cpu_convolution>()(input.of_native(), weight.of_native(),
                                                           nullptr, one, 1, zero, 1, one, 1, 0,
                                                           zero, 1, groups, &out),
              0);
    return aoti::NativeOnednn::last_error();
  };
  const std::string name = "aoti_torch_cpu_convolution: ";
  EXPECT_EQ(refusal(at::rand({1, 3, 2, 2}), at::rand({4, 3, 3, 3}), 1),
            name + "the result has a negative size");
  EXPECT_EQ(refusal(at::rand({1, 3, 5, 5}), at::rand({4, 2, 3, 3}), 1),
            name + "the sizes do not match");
  // Not supported by torch either.
  EXPECT_EQ(refusal(at::ones({1, 3, 5, 5}, at::kBool), at::ones({4, 3, 3, 3}, at::kBool), 1),
            name + "not for this dtype");
}

}  // namespace
}  // namespace aoti_test
