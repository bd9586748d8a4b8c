// Plain operators, compared with torch's.
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
