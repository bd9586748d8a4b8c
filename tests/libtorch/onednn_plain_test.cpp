// Plain operators, compared with torch's.
#include <limits>
#include <tuple>

#include "libtorch/onednn.hpp"

namespace aoti_test {
namespace {

namespace imported = aoti::abi::imported;

template <class Import> auto function_of(bool torch) {
  return torch ? torch_function<Import>()
               : reinterpret_cast<typename Import::type*>(
                     aoti::PlainOperators::import(Import::symbol));
}

TEST(Plain, Cumsum) {
  at::manual_seed(0);
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kLong, at::kInt, at::kBool,
                                     at::kHalf, at::kBFloat16, at::kChar}) {
    for (const at::Tensor& values :
         {at::randn({3, 4, 5}), at::randn({5, 3}).t(), at::randn({7}), at::randn({3, 0})}) {
      Twin x = twin((values * 10).to(dtype));
      for (std::int64_t d = -values.dim(); d < values.dim(); ++d) {
        AtenTensorHandle wanted = nullptr, got = nullptr;
        ASSERT_EQ(function_of<imported::cpu_cumsum>(true)(x.of_torch(), d, nullptr, &wanted), 0);
        ASSERT_EQ(function_of<imported::cpu_cumsum>(false)(x.of_native(), d, nullptr, &got), 0);
        const at::Tensor expected = taken_torch(wanted);
        const aoti::Tensor found = taken_native(got);
        EXPECT_TRUE(same_layout(found, expected)) << values.sizes();
        if (expected.numel() == 0) continue;
        EXPECT_TRUE(assert_close(torch_of(found), expected, 2));
      }
    }
  }
}

TEST(Plain, CumsumOfComplexNumbers) {
  at::manual_seed(0);
  for (const at::ScalarType dtype : {at::kComplexFloat, at::kComplexDouble}) {
    Twin x = twin(at::randn({3, 50, 2}, dtype).transpose(0, 1)), reals = twin(at::randn({3, 50}));
    auto given = static_cast<std::int32_t>(dtype);
    for (const auto& [tensor, wish] :
         {std::pair{&x, static_cast<std::int32_t*>(nullptr)}, std::pair{&reals, &given}}) {
      AtenTensorHandle wanted = nullptr, got = nullptr;
      ASSERT_EQ(function_of<imported::cpu_cumsum>(true)(tensor->of_torch(), 1, wish, &wanted), 0);
      ASSERT_EQ(function_of<imported::cpu_cumsum>(false)(tensor->of_native(), 1, wish, &got), 0);
      const at::Tensor expected = taken_torch(wanted);
      const aoti::Tensor found = taken_native(got);
      EXPECT_TRUE(same_layout(found, expected));
      ASSERT_EQ(static_cast<at::ScalarType>(found.dtype()), dtype);
      EXPECT_TRUE(at::allclose(torch_of(found), expected, 1e-6, 1e-5));
    }
  }
}

TEST(Plain, RandomNumbersAreTorchs) {
  const std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                     most = std::numeric_limits<std::int64_t>::max();
  const auto fill = [](bool torch, Twin& tensor, std::int64_t low, std::int64_t high) {
    return function_of<imported::cpu_randint_low_out>(torch)(
        torch ? tensor.of_torch() : tensor.of_native(), low, high, tensor.torch.sizes().data(),
        tensor.torch.dim());
  };
  for (const std::uint64_t seed :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 40 | 7}) {
    at::manual_seed(seed);
    aoti::Native::manual_seed(seed);
    // More than the twister makes at once.
    for (const auto& [sizes, dtype, low, high] :
         {std::tuple{std::vector<std::int64_t>{1}, at::kLong, least, most},
          std::tuple{std::vector<std::int64_t>{700}, at::kLong, least, most},
          std::tuple{std::vector<std::int64_t>{3, 5}, at::kLong, std::int64_t{-7}, std::int64_t{9}},
          std::tuple{std::vector<std::int64_t>{9}, at::kLong, std::int64_t{0},
                     std::int64_t{1} << 28},
          std::tuple{std::vector<std::int64_t>{9}, at::kInt, std::int64_t{0},
                     (std::int64_t{1} << 28) - 1},
          std::tuple{std::vector<std::int64_t>{0}, at::kLong, least, most},
          std::tuple{std::vector<std::int64_t>{4, 4}, at::kFloat, std::int64_t{-3},
                     std::int64_t{1000}},
          std::tuple{std::vector<std::int64_t>{40}, at::kBool, std::int64_t{0}, std::int64_t{2}},
          std::tuple{std::vector<std::int64_t>{}, at::kByte, std::int64_t{0}, std::int64_t{256}}}) {
      Twin of_torch = twin(at::zeros(sizes, dtype)), own = twin(at::zeros(sizes, dtype));
      if (of_torch.torch.dim() == 2) {  // in the order in which they lie in memory
        of_torch = twin(of_torch.torch.t().contiguous().t());
        own = twin(own.torch.t().contiguous().t());
      }
      ASSERT_EQ(fill(true, of_torch, low, high), 0);
      ASSERT_EQ(fill(false, own, low, high), 0) << aoti::Native::last_error();
      EXPECT_TRUE(at::equal(own.torch, of_torch.torch)) << of_torch.torch << own.torch;
    }
  }
  Twin bytes = twin(at::zeros({2}, at::kByte));
  for (const auto& [low, high] : {std::pair{0, 257}, std::pair{-1, 3}, std::pair{3, 3}}) {
    EXPECT_NE(fill(false, bytes, low, high), 0);
    EXPECT_THAT(aoti::Native::last_error(), testing::HasSubstr("randint_low_out"));
  }
}

TEST(Plain, IndexPut) {
  at::manual_seed(0);
  for (const bool accumulate : {false, true}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kLong}) {
      const at::Tensor start = (at::randn({5, 6, 3}) * 10).to(dtype);
      for (const bool two : {false, true}) {
        Twin rows = twin(longs({0, 4, -1, 2})), columns = twin(longs({5, 1, 1, -6}));
        if (accumulate) rows = twin(longs({0, 4, 4, 4}));
        Twin values = twin((at::randn(two ? Sizes{4, 3} : Sizes{4, 1, 3}) * 10).to(dtype));
        if (!accumulate && !two) rows = twin(longs({0, 4, 1, 2}));
        Twin self = twin(start), torch_out = twin(start.clone()), out = twin(start.clone());
        for (const bool torch : {true, false}) {
          const AtenTensorHandle indices[] = {torch ? rows.of_torch() : rows.of_native(),
                                              torch ? columns.of_torch() : columns.of_native()};
          ASSERT_EQ(function_of<imported::index_put_out>(torch)(
                        torch ? torch_out.of_torch() : out.of_native(),
                        torch ? self.of_torch() : self.of_native(), indices, two ? 2 : 1,
                        torch ? values.of_torch() : values.of_native(), accumulate),
                    0);
        }
        EXPECT_TRUE(assert_close(out.torch, torch_out.torch));
      }
    }
  }
}

TEST(Plain, IndexPutOfMasksAndMissingIndices) {
  at::manual_seed(0);
  Twin self = twin(at::randn({5, 6, 3})), mask = twin(at::rand({5, 6}) > 0.5);
  Twin rows = twin(longs({0, 4, 2}).to(at::kInt)), whole = twin(longs({0, 1, -1}).unsqueeze(1));
  const std::int64_t count = mask.torch.sum().item<std::int64_t>();
  struct Case {
    std::vector<Twin*> indices;
    Sizes values;
  };
  for (const auto& [indices, sizes] :
       {Case{{&mask}, {count, 3}}, Case{{nullptr, &rows}, {5, 3, 3}},
        Case{{&rows, nullptr, &whole}, {3, 3, 6}}, Case{{nullptr, &rows, &whole}, {5, 3, 3}}}) {
    Twin values = twin(at::randn(sizes)), torch_out = twin(self.torch.clone()),
         out = twin(self.torch.clone());
    for (const bool torch : {true, false}) {
      std::vector<AtenTensorHandle> handles;
      for (Twin* index : indices) {
        handles.push_back(index == nullptr ? nullptr
                          : torch          ? index->of_torch()
                                           : index->of_native());
      }
      ASSERT_EQ(function_of<imported::index_put_out>(torch)(
                    torch ? torch_out.of_torch() : out.of_native(),
                    torch ? self.of_torch() : self.of_native(), handles.data(),
                    static_cast<std::uint32_t>(handles.size()),
                    torch ? values.of_torch() : values.of_native(), false),
                0);
    }
    EXPECT_TRUE(assert_close(out.torch, torch_out.torch)) << at::IntArrayRef{sizes};
  }
}

TEST(Plain, IndexPutRefusesWhatIsOutOfRange) {
  Twin self = twin(at::zeros({3})), index = twin(longs({3})), values = twin(at::ones({1}));
  const AtenTensorHandle indices[] = {index.of_native()};
  EXPECT_NE(function_of<imported::index_put_out>(false)(self.of_native(), self.of_native(), indices,
                                                        1, values.of_native(), false),
            0);
  EXPECT_EQ(aoti::NativeOnednn::last_error(), "aoti_torch_index_put_out: an index is out of range");
}

}  // namespace
}  // namespace aoti_test
