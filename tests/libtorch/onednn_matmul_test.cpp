// Products of matrices on oneDNN, compared with torch's.
#include <limits>
#include <thread>

#include "libtorch/onednn.hpp"

namespace aoti_test {
namespace {

namespace imported = aoti::abi::imported;
using aoti::detail::onednn::Plans;

enum class Layout { rows, columns, gaps, holes, repeated };
constexpr Layout all_layouts[] = {Layout::rows, Layout::columns, Layout::gaps, Layout::holes,
                                  Layout::repeated};

/// Random matrices in one memory layout or another.
at::Tensor laid(Layout lie, Sizes sizes, at::ScalarType dtype) {
  const std::size_t last = sizes.size() - 1;
  const auto random = [&](const Sizes& wanted) {
    return at::rand(wanted, at::kFloat).sub_(0.5).to(dtype);
  };
  const auto cut = [&](at::Tensor tensor) {
    for (std::size_t d = 0; d < sizes.size(); ++d) tensor = tensor.slice(d, 0, sizes[d]);
    return tensor;
  };
  Sizes wider = sizes;
  switch (lie) {
    case Layout::rows:
      return random(sizes);
    case Layout::columns:
      std::swap(wider[last], wider[last - 1]);
      return random(wider).transpose(-1, -2);
    case Layout::gaps:
      wider[last] += 3;
      return cut(random(wider));
    case Layout::holes:
      wider[last] *= 2;
      wider[last - 1] += 1;
      return random(wider).slice(-1, 0, wider[last], 2).slice(-2, 0, sizes[last - 1]);
    case Layout::repeated:
      wider[0] = 1;
      return random(wider).expand(sizes);
  }
  return {};
}

struct Product {
  Sizes out, a, b;
};

template <class Call>
void expect_alike(const Call& call, const at::Tensor& out_start, const std::string& what,
                  double widened = 1) {
  at::Tensor torch_out =
      at::empty_strided(out_start.sizes(), out_start.strides(), out_start.options());
  at::Tensor native_out =
      at::empty_strided(out_start.sizes(), out_start.strides(), out_start.options());
  torch_out.copy_(out_start);
  native_out.copy_(out_start);
  Twin out{torch_out, native_of(native_out)};
  ASSERT_EQ(call(out, true), 0) << what;
  ASSERT_EQ(call(out, false), 0) << what << ": " << aoti::NativeOnednn::last_error();
  EXPECT_TRUE(assert_close(native_out, torch_out, widened)) << what;
}

class Products : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(0); }
};

TEST_P(Products, OfMatrices) {
  const at::ScalarType dtype = GetParam();
  for (const auto& [m, k, n] : std::vector<std::tuple<int, int, int>>{{4, 64, 32},
                                                                      {1, 64, 32},
                                                                      {4, 64, 1},
                                                                      {1, 1, 1},
                                                                      {1, 5, 1},
                                                                      {17, 3, 40},
                                                                      {65, 130, 33},
                                                                      {0, 4, 4},
                                                                      {4, 4, 0},
                                                                      {4, 0, 4}}) {
    for (const Layout left : all_layouts) {
      for (const Layout right : all_layouts) {
        for (const Layout result : {Layout::rows, Layout::columns, Layout::gaps, Layout::holes}) {
          Twin a = twin(laid(left, {m, k}, dtype)), b = twin(laid(right, {k, n}, dtype));
          if (left == Layout::columns) aoti::NativeOnednn::freeze(b.of_native());
          const at::Tensor start = laid(result, {m, n}, dtype);
          const std::string what =
              "m " + std::to_string(m) + " k " + std::to_string(k) + " n " + std::to_string(n) +
              " layouts " + std::to_string(static_cast<int>(left)) +
              std::to_string(static_cast<int>(right)) + std::to_string(static_cast<int>(result));
          using Mm = imported::cpu_mm_out;
          expect_alike(
              [&](Twin& out, bool torch) {
                return torch ? torch_function<Mm>()(out.of_torch(), a.of_torch(), b.of_torch())
                             : native_function<Mm>()(out.of_native(), a.of_native(), b.of_native());
              },
              start, what);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(Products, OfMatricesAdded) {
  const at::ScalarType dtype = GetParam();
  using Addmm = imported::cpu_addmm_out;
  const Sizes biases[] = {{32}, {1, 32}, {4, 1}, {4, 32}, {1}, {1, 1}, {}};
  for (const Sizes& bias : biases) {
    for (const double beta : {1.0, 0.0, 0.5}) {
      for (const double alpha : {1.0, -2.0, 0.0}) {
        for (const Layout right : all_layouts) {
          Twin self = twin(at::rand(bias, at::kFloat).to(dtype));
          Twin a = twin(laid(Layout::rows, {4, 64}, dtype)), b = twin(laid(right, {64, 32}, dtype));
          if (beta == 0) self.torch.fill_(std::numeric_limits<float>::quiet_NaN());
          for (const Layout result : {Layout::rows, Layout::columns, Layout::holes}) {
            if (result == Layout::columns) aoti::NativeOnednn::freeze(b.of_native());
            expect_alike(
                [&](Twin& out, bool torch) {
                  return torch
                             ? torch_function<Addmm>()(out.of_torch(), self.of_torch(),
                                                       a.of_torch(), b.of_torch(), beta, alpha)
                             : native_function<Addmm>()(out.of_native(), self.of_native(),
                                                        a.of_native(), b.of_native(), beta, alpha);
                },
                laid(result, {4, 32}, dtype),
                "bias " + c10::str(at::IntArrayRef(bias)) + " beta " + std::to_string(beta) +
                    " alpha " + std::to_string(alpha),
                dtype == at::kBFloat16 ? 4 : 1);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST_P(Products, OfBatches) {
  const at::ScalarType dtype = GetParam();
  using Bmm = imported::cpu_bmm_out;
  using Baddbmm = imported::cpu_baddbmm_out;
  for (const auto& [l, m, k, n] : std::vector<std::tuple<int, int, int, int>>{{3, 4, 64, 32},
                                                                              {1, 7, 5, 3},
                                                                              {2, 1, 9, 1},
                                                                              {0, 2, 2, 2},
                                                                              {5, 33, 17, 20},
                                                                              {2, 3, 0, 4}}) {
    for (const Layout left : all_layouts) {
      for (const Layout right : all_layouts) {
        for (const Layout result : {Layout::rows, Layout::columns, Layout::gaps, Layout::holes}) {
          Twin a = twin(laid(left, {l, m, k}, dtype)), b = twin(laid(right, {l, k, n}, dtype));
          expect_alike(
              [&](Twin& out, bool torch) {
                return torch
                           ? torch_function<Bmm>()(out.of_torch(), a.of_torch(), b.of_torch())
                           : native_function<Bmm>()(out.of_native(), a.of_native(), b.of_native());
              },
              laid(result, {l, m, n}, dtype), "bmm");
          Twin self = twin(at::rand({1, n}, at::kFloat).to(dtype));
          for (const double beta : {1.0, 0.0, 0.5}) {
            expect_alike(
                [&](Twin& out, bool torch) {
                  return torch
                             ? torch_function<Baddbmm>()(out.of_torch(), self.of_torch(),
                                                         a.of_torch(), b.of_torch(), beta, 2.0)
                             : native_function<Baddbmm>()(out.of_native(), self.of_native(),
                                                          a.of_native(), b.of_native(), beta, 2.0);
                },
                laid(result, {l, m, n}, dtype), "baddbmm", dtype == at::kBFloat16 ? 4 : 1);
          }
          if (HasFailure()) return;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Onednn, Products,
                         testing::Values(at::kFloat, at::kDouble, at::kBFloat16, at::kHalf),
                         [](const auto& test) { return std::string{c10::toString(test.param)}; });

TEST(Product, OfIntegersIsAdded) {
  for (const at::ScalarType dtype : {at::kLong, at::kInt, at::kShort, at::kChar, at::kByte}) {
    Twin a = twin(at::randint(0, 100, {4, 8}).to(dtype)),
         b = twin(at::randint(0, 100, {8, 5}).to(dtype));
    Twin self = twin(at::randint(0, 100, {5}).to(dtype)), out = twin(at::empty({4, 5}, dtype));
    ASSERT_EQ(native_function<imported::cpu_addmm_out>()(out.of_native(), self.of_native(),
                                                         a.of_native(), b.of_native(), 3, -2),
              0);
    EXPECT_TRUE(assert_close(out.torch, at::addmm(self.torch, a.torch, b.torch, 3, -2))) << dtype;
  }
}

TEST(Product, OfComplexNumbersIsAdded) {
  for (const at::ScalarType dtype : {at::kComplexFloat, at::kComplexDouble}) {
    Twin a = twin(at::randn({3, 4, 8}, dtype)), b = twin(at::randn({3, 5, 8}, dtype).mT());
    Twin self = twin(at::randn({5}, dtype)), out = twin(at::empty({3, 4, 5}, dtype));
    ASSERT_EQ(native_function<imported::cpu_baddbmm_out>()(out.of_native(), self.of_native(),
                                                           a.of_native(), b.of_native(), 3, -2),
              0);
    EXPECT_TRUE(
        at::allclose(out.torch, at::baddbmm(self.torch, a.torch, b.torch, 3, -2), 1e-5, 1e-5));
    Twin left = twin(at::rand({3, 0}, dtype)), right = twin(at::rand({0, 5}, dtype)),
         sum = twin(at::rand({3, 5}, dtype));
    ASSERT_EQ(native_function<imported::cpu_addmm_out>()(sum.of_native(), self.of_native(),
                                                         left.of_native(), right.of_native(), 2, 1),
              0);
    EXPECT_TRUE(at::allclose(sum.torch, (self.torch * 2).expand({3, 5})));
  }
}

TEST(Product, OfTwoPairsIsAdded) {
  Twin a = twin(at::rand({4, 8})), b = twin(at::rand({8, 5})), c = twin(at::rand({4, 6}));
  Twin d = twin(at::rand({6, 5})), out = twin(at::rand({4, 5}));
  ASSERT_EQ(native_function<imported::_mm_plus_mm_out>()(
                out.of_native(), a.of_native(), b.of_native(), c.of_native(), d.of_native()),
            0);
  EXPECT_TRUE(assert_close(out.torch, a.torch.mm(b.torch) + c.torch.mm(d.torch)));
}

// Overlapping matrices of a batch, as made by at::Tensor::unfold.
TEST(Product, OfWindows) {
  const at::Tensor line = at::rand({24});
  Twin a = twin(line.as_strided({4, 3, 4}, {3, 4, 1})), b = twin(at::rand({4, 4, 5}));
  Twin out = twin(at::rand({4, 3, 5}));
  ASSERT_EQ(native_function<imported::cpu_bmm_out>()(out.of_native(), a.of_native(), b.of_native()),
            0);
  EXPECT_TRUE(assert_close(out.torch, a.torch.bmm(b.torch)));
}

// With nothing to multiply, there is still something to scale.
TEST(Product, OfNothing) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    Twin a = twin(at::rand({3, 0}).to(dtype)), b = twin(at::rand({0, 4}).to(dtype));
    Twin self = twin(at::rand({4}).to(dtype)), out = twin(at::rand({3, 4}).to(dtype));
    ASSERT_EQ(native_function<imported::cpu_addmm_out>()(out.of_native(), self.of_native(),
                                                         a.of_native(), b.of_native(), 0.5, 1),
              0);
    EXPECT_TRUE(assert_close(out.torch, (self.torch * 0.5).expand({3, 4})));
  }
}

TEST(Product, RefusesWhatDoesNotFit) {
  Twin a = twin(at::rand({4, 8})), b = twin(at::rand({7, 5})), out = twin(at::rand({4, 5}));
  const auto mm = native_function<imported::cpu_mm_out>();
  EXPECT_NE(mm(out.of_native(), a.of_native(), b.of_native()), 0);
  EXPECT_EQ(aoti::NativeOnednn::last_error(), "aoti_torch_cpu_mm_out: the sizes do not match");
  Twin whole = twin(at::ones({8, 5}, at::kLong));
  EXPECT_NE(mm(out.of_native(), a.of_native(), whole.of_native()), 0);
  EXPECT_EQ(aoti::NativeOnednn::last_error(), "aoti_torch_cpu_mm_out: the dtypes differ");
  Twin n = twin(at::ones({4, 4}, at::kBool));
  EXPECT_NE(mm(n.of_native(), n.of_native(), n.of_native()), 0);
  EXPECT_EQ(aoti::NativeOnednn::last_error(),
            "aoti_torch_cpu_mm_out: not for this dtype on oneDNN");
}

TEST(Plans, AreMadeOnceForEachThreadAndSignature) {
  const auto once = [] {
    Twin a = twin(at::rand({3, 4, 8})), b = twin(at::rand({3, 8, 5})),
         out = twin(at::rand({3, 4, 5}));
    for (int i = 0; i < 10; ++i) {
      native_function<imported::cpu_bmm_out>()(out.of_native(), a.of_native(), b.of_native());
    }
    EXPECT_TRUE(assert_close(out.torch, a.torch.bmm(b.torch)));
    return Plans::made();
  };
  once();
  const auto made = Plans::made();
  EXPECT_EQ(once(), made);
  std::uint64_t there = 0;
  std::thread{[&] { there = once(); }}.join();
  EXPECT_EQ(there, 1u);
}

TEST(Plans, AreBounded) {
  Twin a = twin(at::rand({2, 1, 4})), b = twin(at::rand({2, 4, 3000}));
  for (std::int64_t n = 1; n <= 1500; ++n) {
    Twin right = twin(b.torch.slice(2, 0, n)), out = twin(at::empty({2, 1, n}));
    ASSERT_EQ(
        native_function<imported::cpu_bmm_out>()(out.of_native(), a.of_native(), right.of_native()),
        0);
    ASSERT_TRUE(assert_close(out.torch, a.torch.bmm(right.torch)));
  }
}

}  // namespace
}  // namespace aoti_test
