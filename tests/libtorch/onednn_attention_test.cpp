// Attention on oneDNN, compared with torch's.
#include <torch/version.h>

#include <limits>

#include "libtorch/onednn.hpp"

namespace aoti_test {
namespace {

using Flash = aoti::abi::imported::cpu__scaled_dot_product_flash_attention_for_cpu;

struct Inputs {
  at::Tensor query, key, value;
  at::Tensor mask = {};
  bool causal = false;
  std::optional<double> scale = {};
};

void expect_alike(const Inputs& inputs, double widened = 1) {
  Twin q = twin(inputs.query), k = twin(inputs.key), v = twin(inputs.value), m;
  const bool masked = inputs.mask.defined();
  if (masked) m = twin(inputs.mask);
  double scale = inputs.scale.value_or(0);
  const auto call = [&](auto* function, AtenTensorHandle query, AtenTensorHandle key,
                        AtenTensorHandle value, AtenTensorHandle mask, AtenTensorHandle* outs) {
    return function(query, key, value, 0.0, inputs.causal, masked ? &mask : nullptr,
                    inputs.scale ? &scale : nullptr, &outs[0], &outs[1]);
  };
  AtenTensorHandle expected[2] = {}, found[2] = {};
  ASSERT_EQ(call(torch_function<Flash>(), q.of_torch(), k.of_torch(), v.of_torch(), m.of_torch(),
                 expected),
            0);
  ASSERT_EQ(call(native_function<Flash>(), q.of_native(), k.of_native(), v.of_native(),
                 m.of_native(), found),
            0)
      << aoti::NativeOnednn::last_error();
  for (int i = 0; i < 2; ++i) {
    const at::Tensor wanted = taken_torch(expected[i]);
    const aoti::Tensor got = taken_native(found[i]);
    EXPECT_TRUE(same_layout(got, wanted)) << i;
    EXPECT_TRUE(assert_close(torch_of(got), wanted, widened))
        << (i == 0 ? "attention" : "logsumexp") << " of " << inputs.query.sizes();
  }
}

/// [batch, heads, rows, size], stored as [batch, rows, heads, size].
at::Tensor interleaved(std::int64_t batch, std::int64_t heads, std::int64_t rows,
                       std::int64_t size) {
  return at::randn({batch, rows, heads, size}).transpose(1, 2);
}

constexpr float nothing = -std::numeric_limits<float>::infinity();

class Attentions : public testing::Test {
 protected:
  void SetUp() override { at::manual_seed(0); }
};

TEST_F(Attentions, AreThoseOfTorch) {
  for (const bool causal : {false, true}) {
    for (const auto& [batch, heads, queries, keys, size] :
         std::vector<std::tuple<int, int, int, int, int>>{{2, 3, 5, 7, 8},
                                                          {1, 12, 197, 197, 64},
                                                          {1, 1, 1, 1, 1},
                                                          {3, 2, 1, 50, 16},
                                                          {1, 2, 50, 3, 16},
                                                          {2, 4, 600, 700, 32},
                                                          {1, 2, 9, 9, 7}}) {
      const auto dense = [](int b, int h, int r, int s) { return at::randn({b, h, r, s}); };
      expect_alike({dense(batch, heads, queries, size),
                    dense(batch, heads, keys, size),
                    dense(batch, heads, keys, size),
                    {},
                    causal});
      expect_alike({interleaved(batch, heads, queries, size),
                    interleaved(batch, heads, keys, size),
                    interleaved(batch, heads, keys, size),
                    {},
                    causal,
                    0.3});
    }
  }
}

/// Torch's own function, called directly, was wrong in earlier releases: it ignored heads that
/// share keys, and assumed that the elements of a row are contiguous.
constexpr bool torch_is_before(int minor) {
  return TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < minor;
}
constexpr const char* torch_is_wrong = "this torch's own attention is wrong for such tensors";

TEST_F(Attentions, OfHeadsThatShareKeys) {
  if (torch_is_before(11)) GTEST_SKIP() << torch_is_wrong;
  expect_alike({at::randn({2, 4, 5, 8}), at::randn({2, 2, 7, 8}), at::randn({2, 2, 7, 8})});
  expect_alike({interleaved(2, 6, 5, 8), interleaved(2, 1, 7, 8), interleaved(2, 1, 7, 8)});
  expect_alike(
      {interleaved(2, 6, 9, 8), interleaved(2, 3, 9, 8), interleaved(2, 3, 9, 8), {}, true});
}

TEST_F(Attentions, WithAMask) {
  for (const Sizes& sizes : std::vector<Sizes>{{20, 30},
                                               {1, 30},
                                               {20, 1},
                                               {2, 1, 1, 30},
                                               {1, 3, 20, 30},
                                               {2, 3, 20, 30},
                                               {1, 1, 1, 1}}) {
    expect_alike({interleaved(2, 3, 20, 8), interleaved(2, 3, 30, 8), interleaved(2, 3, 30, 8),
                  at::randn(sizes)});
  }
  expect_alike({interleaved(2, 3, 20, 8), interleaved(2, 3, 30, 8), interleaved(2, 3, 30, 8),
                at::randn({30, 20}).t()});
  expect_alike({interleaved(2, 3, 20, 8), interleaved(2, 3, 30, 8), interleaved(2, 3, 30, 8),
                at::randn({20, 1}).expand({20, 30})});
}

TEST_F(Attentions, WithKeysThatNobodyLooksAt) {
  at::Tensor padding = at::zeros({2, 1, 1, 30});
  padding.slice(3, 0, 11).fill_(nothing);
  expect_alike(
      {interleaved(2, 3, 20, 8), interleaved(2, 3, 30, 8), interleaved(2, 3, 30, 8), padding});
  padding.slice(3, 0, 11).fill_(std::numeric_limits<float>::lowest());
  expect_alike(
      {interleaved(2, 3, 20, 8), interleaved(2, 3, 30, 8), interleaved(2, 3, 30, 8), padding});
  at::Tensor row = at::zeros({20, 30});
  row.slice(0, 4, 6).fill_(nothing);
  expect_alike({interleaved(2, 3, 20, 8), interleaved(2, 3, 30, 8), interleaved(2, 3, 30, 8), row});
}

TEST_F(Attentions, WithScoresFarApart) {
  const at::Tensor q = interleaved(2, 3, 20, 8) * 30, k = interleaved(2, 3, 30, 8) * 30;
  expect_alike({q, k, interleaved(2, 3, 30, 8)}, 10);
}

TEST_F(Attentions, OfOtherLayouts) {
  if (torch_is_before(15)) GTEST_SKIP() << torch_is_wrong;
  const at::Tensor k = at::randn({2, 3, 7, 8}), v = at::randn({2, 3, 7, 8});
  expect_alike({at::randn({2, 3, 5, 16}).slice(3, 0, 16, 2), k, v});
  expect_alike({at::randn({2, 5, 3, 16}).transpose(1, 2).slice(3, 0, 8), k, v});
  expect_alike({at::randn({1, 3, 5, 8}).expand({2, 3, 5, 8}), k, v});
  expect_alike({at::randn({2, 3, 5, 8}), k.transpose(2, 3).contiguous().transpose(2, 3), v});
  expect_alike({at::randn({2, 3, 5, 8}), k, at::randn({1, 3, 1, 8}).expand({2, 3, 7, 8})});
  expect_alike({at::randn({1, 1, 3, 8}).transpose(1, 2), k.slice(0, 0, 1), v.slice(0, 0, 1)});
}

// For narrow types, which torch rounds between the two products, the float32 result, rounded.
TEST_F(Attentions, OfOtherTypes) {
  for (const at::ScalarType dtype : {at::kDouble, at::kHalf, at::kBFloat16}) {
    const at::Tensor q = interleaved(2, 4, 5, 8).to(dtype), k = at::randn({2, 4, 7, 8}).to(dtype),
                     v = at::randn({2, 4, 7, 8}).to(dtype), m = at::randn({5, 7}).to(dtype);
    for (const bool causal : {false, true}) {
      if (dtype == at::kDouble) {
        expect_alike({q, k, v, {}, causal});
        expect_alike({q, k, v, m, causal});
        continue;
      }
      const auto wide = [](const at::Tensor& tensor) { return tensor.to(at::kFloat); };
      const auto [wanted, sums] = at::_scaled_dot_product_flash_attention_for_cpu(
          wide(q), wide(k), wide(v), 0, causal, wide(m));
      Twin query = twin(q), key = twin(k), value = twin(v), mask = twin(m);
      AtenTensorHandle added = mask.of_native(), outs[2] = {};
      ASSERT_EQ(native_function<Flash>()(query.of_native(), key.of_native(), value.of_native(), 0,
                                         causal, &added, nullptr, &outs[0], &outs[1]),
                0);
      const aoti::Tensor found = taken_native(outs[0]), found_sums = taken_native(outs[1]);
      EXPECT_TRUE(assert_close(torch_of(found), wanted.to(dtype)));
      EXPECT_TRUE(assert_close(torch_of(found_sums), sums));
    }
  }
}

TEST_F(Attentions, RefuseWhatDoesNotFit) {
  const auto refusal = [](const at::Tensor& q, const at::Tensor& k, double dropout = 0) {
    Twin query = twin(q), key = twin(k);
    AtenTensorHandle outs[2] = {};
    EXPECT_NE(native_function<Flash>()(query.of_native(), key.of_native(), key.of_native(), dropout,
                                       0, nullptr, nullptr, &outs[0], &outs[1]),
              0);
    return aoti::NativeOnednn::last_error().substr(std::string{Flash::symbol}.size());
  };
  EXPECT_EQ(refusal(at::rand({1, 2, 3, 4}), at::rand({1, 2, 3, 5})), ": the sizes do not match");
  EXPECT_EQ(refusal(at::ones({1, 2, 3, 4}, at::kInt), at::ones({1, 2, 3, 4}, at::kInt)),
            ": not for this dtype on oneDNN");
  EXPECT_EQ(refusal(at::rand({1, 2, 3, 4}), at::rand({1, 2, 3, 4}), 0.1),
            ": dropout is not supported");
}

}  // namespace
}  // namespace aoti_test
