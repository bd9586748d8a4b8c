// Plain operators, compared with torch's.
#include <ATen/Parallel.h>

#include "libtorch/onednn.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace aoti_test {
namespace {

namespace imported = aoti::abi::imported;

template <class Import> auto function_of(bool torch) {
  return torch ? torch_function<Import>()
               : reinterpret_cast<typename Import::type*>(
                     aoti::PlainOperators::import(Import::symbol));
}

/// On one thread: other tests use the machine's other cores.
struct Plain : testing::Test {
  Plain() { at::set_num_threads(1); }
};

/// The results of both runtimes' functions for the same arguments.
struct Compared {
  AOTITorchError torch = 0, native = 0;
  std::vector<at::Tensor> expected;
  std::vector<aoti::Tensor> found;
};

/// The tensors of a call, for its duration.
struct Arguments {
  bool torch;
  std::deque<Twin> twins{};
  std::deque<AtenTensorHandle> handles{};
  std::deque<std::vector<const AtenTensorHandle*>> lists{};

  AtenTensorHandle pass(const at::Tensor& tensor) {
    Twin& kept = twins.emplace_back(twin(tensor));
    return torch ? kept.of_torch() : kept.of_native();
  }
  AtenTensorHandle* pass(const std::optional<at::Tensor>& tensor) {
    return tensor.has_value() ? &handles.emplace_back(pass(*tensor)) : nullptr;
  }
  const AtenTensorHandle** pass(const std::vector<std::optional<at::Tensor>>& tensors) {
    auto& list = lists.emplace_back();
    for (const auto& tensor : tensors) list.push_back(pass(tensor));
    return list.data();
  }
  const char* pass(const char* text) { return text; }
  template <class T> T pass(const T& value) { return value; }
};

/// Calls both with the arguments, and with room for `outputs` results after them.
template <class Import, std::size_t outputs, class... Given>
Compared call_both(const Given&... given) {
  Compared both;
  for (const bool torch : {true, false}) {
    Arguments arguments{torch};
    AtenTensorHandle results[outputs + 1] = {};
    (torch ? both.torch : both.native) = [&]<std::size_t... i>(std::index_sequence<i...>) {
      return function_of<Import>(torch)(arguments.pass(given)..., &results[i]...);
    }
    (std::make_index_sequence<outputs>{});
    if ((torch ? both.torch : both.native) != 0) continue;
    for (std::size_t i = 0; i < outputs; ++i) {
      if (torch) {
        both.expected.push_back(taken_torch(results[i]));
      } else {
        both.found.push_back(taken_native(results[i]));
      }
    }
  }
  return both;
}

/// Whether they are equal in sizes, layout and elements; if torch refuses, ours must, too.
/// @param compared how many of the results; the others' elements are not compared
testing::AssertionResult same(const Compared& both, std::size_t compared = 9) {
  if ((both.torch != 0) != (both.native != 0)) {
    return testing::AssertionFailure() << "torch returned " << both.torch << ", ours "
                                       << both.native << ", " << aoti::NativeOnednn::last_error();
  }
  for (std::size_t i = 0; i < both.expected.size(); ++i) {
    const at::Tensor& expected = both.expected[i];
    const aoti::Tensor& found = both.found[i];
    if (auto layout = same_layout(found, expected); !layout) return layout << ", result " << i;
    if (static_cast<at::ScalarType>(found.dtype()) != expected.scalar_type()) {
      return testing::AssertionFailure() << "found " << aoti::to_string(found.dtype());
    }
    if (expected.numel() == 0 || i >= compared) continue;
    if (auto close = assert_close(torch_of(found), expected, 2); !close) {
      return close << ", result " << i << ": found " << torch_of(found) << ", expected "
                   << expected;
    }
  }
  return testing::AssertionSuccess();
}
template <class Import, std::size_t outputs, class... Given>
testing::AssertionResult same_results(const Given&... given) {
  return same(call_both<Import, outputs>(given...));
}
/// The same for functions that write into their first argument.
template <class Import, class... Given>
testing::AssertionResult same_out(const at::Tensor& out, const Given&... given) {
  const at::Tensor expected = at::empty_like(out).copy_(out),
                   found = at::empty_like(out).copy_(out);
  Arguments torch{true}, native{false};
  const AOTITorchError wanted =
      function_of<Import>(true)(torch.pass(expected), torch.pass(given)...);
  const AOTITorchError got = function_of<Import>(false)(native.pass(found), native.pass(given)...);
  if ((wanted != 0) != (got != 0)) {
    return testing::AssertionFailure() << "torch returned " << wanted << ", ours " << got << ", "
                                       << aoti::NativeOnednn::last_error();
  }
  return out.numel() != 0 ? assert_close(found, expected, 2) : testing::AssertionSuccess();
}

using Dtypes = std::vector<at::ScalarType>;
const Dtypes floats{at::kFloat, at::kDouble, at::kHalf, at::kBFloat16};
const Dtypes number_dtypes{at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong,
                           at::kInt,   at::kShort,  at::kChar, at::kByte,     at::kBool};

/// Tensors of many layouts, with equal elements and, for floating-point types, NaN.
std::vector<at::Tensor> samples(at::ScalarType dtype) {
  at::manual_seed(0);
  const at::Tensor many = (at::randn({300}) * 3).round();
  std::vector<at::Tensor> all{
      at::randn({3, 4, 5}).mul(2).round(),
      at::randn({5, 3}).t(),
      at::randn({4, 6, 3}).permute({2, 0, 1}),
      at::randn({4, 9}).slice(1, 0, 9, 2),
      at::randn({4, 1}).expand({4, 3}),
      many,
      at::randn({}),
      at::randn({3, 0}),
      at::randn({1, 1, 2}),
      at::tensor({1.0f, NAN, -0.0f, 0.0f, INFINITY, NAN, -INFINITY, 1.0f}).view({2, 4})};
  for (at::Tensor& tensor : all) {
    const bool whole = !at::isFloatingType(dtype);
    const at::Tensor fitting = whole ? tensor.nan_to_num(0, 5, -5).mul(3) : tensor;
    const at::Tensor made = (dtype == at::kByte ? fitting.abs() : fitting).to(dtype);
    tensor = at::empty_strided(tensor.sizes(), tensor.strides(), dtype);
    if (!tensor.is_non_overlapping_and_dense() && tensor.numel() == 12) {
      tensor = made.slice(1, 0, 1).expand({4, 3});
    } else {
      tensor.copy_(made);
    }
  }
  return all;
}
/// Calls `each(tensor, dimension)`, also with a dimension that does not exist.
template <class Each> void for_dimensions(const Dtypes& dtypes, Each each) {
  for (const at::ScalarType dtype : dtypes) {
    for (const at::Tensor& tensor : samples(dtype)) {
      SCOPED_TRACE(testing::Message()
                   << at::toString(dtype) << tensor.sizes() << " of strides " << tensor.strides());
      const std::int64_t rank = std::max<std::int64_t>(tensor.dim(), 1);
      for (std::int64_t d = -rank; d < rank; ++d) each(tensor, d);
    }
  }
}

TEST_F(Plain, Scans) {
  std::int32_t* const none = nullptr;
  for_dimensions(number_dtypes, [&](const at::Tensor& x, std::int64_t d) {
    EXPECT_TRUE((same_results<imported::cpu_cumsum, 1>(x, d, none)));
    EXPECT_TRUE((same_results<imported::cpu_cumprod, 1>(x, d, none)));
    EXPECT_TRUE((same_results<imported::cpu_cummax, 2>(x, d)));
    EXPECT_TRUE((same_results<imported::cpu_cummin, 2>(x, d)));
    if (!at::isFloatingType(x.scalar_type())) return;
    EXPECT_TRUE((same_results<imported::cpu_logcumsumexp, 1>(x, d)));
  });
  for (const at::ScalarType dtype : {at::kComplexFloat, at::kComplexDouble}) {
    const at::Tensor x = at::randn({3, 4}, dtype);
    EXPECT_TRUE((same_results<imported::cpu_cumsum, 1>(x, 1, none)));
    EXPECT_TRUE((same_results<imported::cpu_cumprod, 1>(x.t(), 0, none)));
  }
  std::int32_t wide = static_cast<std::int32_t>(aoti::DType::float64);
  EXPECT_TRUE((same_results<imported::cpu_cumsum, 1>(at::randn({3, 4}), 0, &wide)));
  EXPECT_TRUE((same_results<imported::cpu_cumprod, 1>(longs({1, 2, 3}), 0, &wide)));
  EXPECT_TRUE((same_results<imported::cpu_cumsum, 1>(at::ones({2}), 1, none)));
}

TEST_F(Plain, Order) {
  std::int32_t stable = 1;
  for_dimensions(number_dtypes, [&](const at::Tensor& x, std::int64_t d) {
    const std::int64_t count = x.dim() != 0 ? x.size(d) : 1;
    for (const bool flag : {false, true}) {
      EXPECT_TRUE((same_results<imported::cpu_sort_stable, 2>(x, &stable, d, flag)));
      if (x.scalar_type() != at::kBool) {
        for (const std::int64_t k : {std::int64_t{0}, std::int64_t{1}, count - 1, count}) {
          if (k < 0) continue;
          EXPECT_TRUE((same_results<imported::cpu_topk, 2>(x, k, d, flag, true))) << k;
        }
        if (count == 0 || x.numel() == 0) continue;
        // Which of several equal elements is returned is undefined.
        EXPECT_TRUE(same(call_both<imported::cpu_kthvalue, 2>(x, (count + 1) / 2, d, flag), 1));
      }
      // torch does not order NaN.
      if (count == 0 || x.to(at::kFloat).isnan().any().item<bool>()) continue;
      EXPECT_TRUE((same_results<imported::cpu_mode, 2>(x, d, flag)));
    }
  });
  EXPECT_TRUE((same_results<imported::cpu_topk, 2>(at::ones({3}), 4, 0, true, true)));
  EXPECT_TRUE((same_results<imported::cpu_kthvalue, 2>(at::ones({3}), 0, 0, true)));
  EXPECT_TRUE((same_results<imported::cpu_sort_stable, 2>(at::ones({3}), &stable, 1, true)));
}

TEST_F(Plain, Medians) {
  for (const at::ScalarType dtype : number_dtypes) {
    if (dtype == at::kBool) continue;
    for (const at::Tensor& x : samples(dtype)) {
      if (x.numel() == 0 && !at::isFloatingType(dtype)) continue;
      SCOPED_TRACE(testing::Message() << at::toString(dtype) << x.sizes());
      EXPECT_TRUE((same_results<imported::cpu_median, 1>(x)));
      EXPECT_TRUE((same_results<imported::cpu_nanmedian, 1>(x)));
    }
  }
}

/// An index with these sizes except in one dimension; it holds places in that dimension.
at::Tensor index_along(const at::Tensor& x, std::int64_t d, std::int64_t count) {
  Sizes sizes = x.sizes().vec();
  if (!sizes.empty()) sizes[static_cast<std::size_t>(d)] = count;
  return at::randint(std::max<std::int64_t>(x.dim() != 0 ? x.size(d) : 1, 1), sizes, at::kLong);
}

TEST_F(Plain, Scatter) {
  const std::int32_t with = 1, without = 0;
  for_dimensions(number_dtypes, [&](const at::Tensor& given, std::int64_t d) {
    if (d < 0 || given.numel() == 0) return;
    const at::Tensor x = given.contiguous().nan_to_num(0, 1, -1);
    const at::Tensor index = index_along(x, d, 4);
    const at::Tensor src = (at::randn(index.sizes()) * 2).round().abs().to(x.scalar_type());
    for (const at::Tensor& out : {x, x.transpose(0, -1).contiguous().transpose(0, -1)}) {
      for (const char* reduce : {"sum", "prod", "amax", "amin", "mean"}) {
        SCOPED_TRACE(reduce);
        if (x.scalar_type() == at::kBool && *reduce == 'm') continue;
        EXPECT_TRUE(
            (same_out<imported::cpu_scatter_reduce_two_out>(out, x, d, index, src, reduce, with)));
        EXPECT_TRUE((same_out<imported::cpu_scatter_reduce_two_out>(out, x, d, index, src, reduce,
                                                                    without)));
      }
      EXPECT_TRUE((same_out<imported::cpu_scatter_value_out>(out, x, d, index, 3.0)));
    }
    const at::Tensor once = at::arange(x.dim() != 0 ? x.size(d) : 1).flip(0);
    Sizes sizes(static_cast<std::size_t>(std::max<std::int64_t>(x.dim(), 1)), 1);
    sizes[static_cast<std::size_t>(d)] = once.numel();
    const at::Tensor places = x.dim() != 0 ? once.view(sizes).expand(x.sizes()) : once.view({});
    EXPECT_TRUE((same_out<imported::cpu_scatter_src_out>(x, x, d, places, given)));
    EXPECT_TRUE((same_out<imported::scatter_out>(x, x, d, places.to(at::kInt), given)));
  });
  // Sums over edges; and indices out of range.
  const at::Tensor nodes = at::zeros({7, 8}), edges = at::randn({40, 8});
  const at::Tensor to = at::randint(7, {40}, at::kLong).unsqueeze(1).expand({40, 8});
  EXPECT_TRUE(
      (same_out<imported::cpu_scatter_reduce_two_out>(nodes, nodes, 0, to, edges, "sum", with)));
  for (const std::int64_t wrong : {-1, 7}) {
    const at::Tensor places = at::full({2, 8}, wrong, at::kLong);
    EXPECT_TRUE((same_out<imported::cpu_scatter_reduce_two_out>(nodes, nodes, 0, places, edges,
                                                                "sum", with)));
    EXPECT_EQ(aoti::NativeOnednn::last_error(),
              "aoti_torch_cpu_scatter_reduce_two_out: an index is out of range");
  }
  EXPECT_TRUE((same_out<imported::cpu_scatter_reduce_two_out>(nodes, nodes, 0, to,
                                                              edges.slice(0, 0, 3), "sum", with)));
  EXPECT_TRUE(
      (same_out<imported::cpu_scatter_reduce_two_out>(nodes, nodes, 2, to, edges, "sum", with)));
  EXPECT_TRUE(
      (same_out<imported::cpu_scatter_reduce_two_out>(nodes, nodes, 0, to, edges, "max", with)));
  EXPECT_TRUE(
      (same_out<imported::cpu_scatter_reduce_two_out>(nodes, nodes, 0, to, edges, "none", with)));
}

TEST_F(Plain, IndexReduce) {
  // torch rounds products of narrow types at each step.
  for_dimensions({at::kFloat, at::kDouble, at::kLong, at::kInt, at::kChar},
                 [&](const at::Tensor& given, std::int64_t d) {
                   if (d < 0 || given.numel() == 0) return;
                   const at::Tensor x = given.nan_to_num(0, 1, -1);
                   const std::int64_t count = x.dim() != 0 ? 3 : 1;
                   const at::Tensor index =
                       at::randint(x.dim() != 0 ? x.size(d) : 1, {count}, at::kLong);
                   Sizes sizes = x.sizes().vec();
                   if (!sizes.empty()) sizes[static_cast<std::size_t>(d)] = count;
                   const at::Tensor source = (at::randn(sizes) * 2).round().to(x.scalar_type());
                   for (const char* reduce : {"prod", "mean", "amax", "amin"}) {
                     for (const bool self : {false, true}) {
                       EXPECT_TRUE((same_results<imported::cpu_index_reduce, 1>(
                           x, d, index.to(at::kInt), source, reduce, self)))
                           << reduce << self;
                     }
                   }
                 });
  EXPECT_TRUE((same_results<imported::cpu_index_reduce, 1>(at::ones({3}), 0, longs({3}),
                                                           at::ones({1}), "amax", 1)));
}

TEST_F(Plain, Selections) {
  for (const at::ScalarType dtype : number_dtypes) {
    for (const at::Tensor& x : samples(dtype)) {
      SCOPED_TRACE(testing::Message() << at::toString(dtype) << x.sizes());
      EXPECT_TRUE((same_results<imported::cpu_nonzero, 1>(x)));
      for (const std::int64_t size : {0, 2, 500}) {
        EXPECT_TRUE((same_results<imported::cpu_nonzero_static, 1>(x, size, std::int64_t{-7})));
      }
      const at::Tensor mask = x.to(at::kFloat) > 0;
      EXPECT_TRUE((same_results<imported::cpu_masked_select, 1>(x, mask)));
      EXPECT_TRUE((same_results<imported::cpu_masked_scatter, 1>(x, mask, at::ones_like(x))));
      if (x.dim() < 2) continue;
      const at::Tensor row = at::rand({x.size(-1)}) > 0.5;
      EXPECT_TRUE((same_results<imported::cpu_masked_select, 1>(x, row)));
      EXPECT_TRUE((same_results<imported::cpu_masked_select, 1>(x.select(0, 0), mask)));
      EXPECT_TRUE((same_results<imported::cpu_masked_scatter, 1>(x, row, x)));
    }
  }
  EXPECT_TRUE(
      (same_results<imported::cpu_masked_select, 1>(at::ones({3}), at::ones({2}, at::kBool))));
  EXPECT_TRUE((same_results<imported::cpu_masked_scatter, 1>(
      at::ones({3}), at::ones({3}, at::kBool), at::ones({2}))));
  std::int64_t* const unknown = nullptr;
  std::int64_t size = 6;
  for (const at::ScalarType dtype : {at::kLong, at::kInt}) {
    const at::Tensor repeats = longs({2, 0, 1, 3}).to(dtype);
    EXPECT_TRUE((same_results<imported::cpu_repeat_interleave_Tensor, 1>(repeats, unknown)));
    EXPECT_TRUE((same_results<imported::cpu_repeat_interleave_Tensor, 1>(repeats, &size)));
  }
  EXPECT_TRUE((same_results<imported::cpu_repeat_interleave_Tensor, 1>(longs({2, -1}), unknown)));
}

TEST_F(Plain, Searches) {
  const std::int32_t yes = 1, no = 0;
  const char* sides[] = {"left", "right", "middle"};
  const char** const none = nullptr;
  const std::optional<at::Tensor> unsorted;
  for (const at::ScalarType dtype : number_dtypes) {
    if (dtype == at::kBool) continue;
    const at::Tensor sorted = at::tensor({0.0f, 1.0f, 1.0f, 2.0f, 4.0f}).to(dtype);
    for (const at::Tensor& x : samples(dtype)) {
      SCOPED_TRACE(testing::Message() << at::toString(dtype) << x.sizes());
      for (const bool right : {false, true}) {
        EXPECT_TRUE((same_results<imported::cpu_bucketize_Tensor, 1>(x, sorted, no, right)));
        EXPECT_TRUE((same_results<imported::cpu_searchsorted_Tensor, 1>(sorted, x, yes, right, none,
                                                                        unsorted)));
      }
      for (const at::ScalarType other : {at::kFloat, at::kInt, at::kDouble}) {
        EXPECT_TRUE((same_results<imported::cpu_bucketize_Tensor, 1>(x, sorted.to(other), no, no)));
      }
    }
    for (const double value : {1.0, 0.5}) {
      EXPECT_TRUE((same_results<imported::cpu_searchsorted_Scalar, 1>(sorted, value, no, no, none,
                                                                      unsorted)));
    }
  }
  const at::Tensor rows = at::randn({3, 6}), values = at::randn({3, 4});
  const at::Tensor order = rows.argsort(), sorted = std::get<0>(rows.sort(-1));
  EXPECT_TRUE(
      (same_results<imported::cpu_searchsorted_Tensor, 1>(sorted, values, no, no, none, unsorted)));
  for (const char*& side : sides) {
    EXPECT_TRUE((same_results<imported::cpu_searchsorted_Tensor, 1>(
        rows, values.t().contiguous().t(), no, no, &side, std::optional{order})));
  }
  EXPECT_TRUE((same_results<imported::cpu_searchsorted_Tensor, 1>(rows, values, no, no, none,
                                                                  std::optional{order + 1})));
  EXPECT_TRUE((same_results<imported::cpu_searchsorted_Tensor, 1>(rows, at::randn({2, 4}), no, no,
                                                                  none, unsorted)));
  EXPECT_TRUE((same_results<imported::cpu_searchsorted_Tensor, 1>(rows, at::randn({}), no, no, none,
                                                                  unsorted)));
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor x = at::randn({5, 20}, dtype).t();
    EXPECT_TRUE((same_results<imported::cpu_histc, 1>(x, std::int64_t{7}, 0.0, 0.0)));
    EXPECT_TRUE((same_results<imported::cpu_histc, 1>(x, std::int64_t{5}, -1.0, 1.5)));
    EXPECT_TRUE((same_results<imported::cpu_histc, 1>(x, std::int64_t{5}, 1.0, -1.0)));
    EXPECT_TRUE(
        (same_results<imported::cpu_histc, 1>(at::ones({3}, dtype), std::int64_t{5}, 1.0, 1.0)));
    EXPECT_TRUE(
        (same_results<imported::cpu_histc, 1>(at::empty({0}, dtype), std::int64_t{5}, 0.0, 0.0)));
  }
}

TEST_F(Plain, IndexingLiesAsTorchs) {
  using Indices = std::vector<std::optional<at::Tensor>>;
  at::manual_seed(0);
  for (const at::Tensor& x : {at::randn({5, 6, 4}), at::randn({4, 6, 5}).permute({2, 1, 0}),
                              at::randn({5, 1, 4}).expand({5, 6, 4}), at::randn({5, 6, 4, 3})}) {
    const at::Tensor rows = longs({0, 4, -1}),
                     more = longs({1, 0, 3, 3, 2, 1}).view({3, 2}).to(at::kInt);
    const at::Tensor mask = at::rand({5, 6}) > 0.5, first = at::rand({5}) > 0.5;
    const std::vector<Indices> all{{mask},
                                   {first},
                                   {rows},
                                   {std::nullopt, rows},
                                   {rows, std::nullopt, rows},
                                   {std::nullopt, more},
                                   {more, rows.unsqueeze(1)},
                                   {std::nullopt, rows, rows},
                                   {more.t()},
                                   {first & ~first},
                                   {longs({5})}};
    for (std::size_t i = 0; i < all.size(); ++i) {
      SCOPED_TRACE(testing::Message()
                   << x.sizes() << " of strides " << x.strides() << ", indices " << i);
      const auto count = static_cast<std::int64_t>(all[i].size());
      EXPECT_TRUE((same_results<imported::cpu_index_Tensor, 1>(x, all[i], count)));
      EXPECT_TRUE((same_results<imported::cpu_index_put, 1>(x, all[i], count, at::randn({}), 0)));
    }
  }
}

TEST_F(Plain, Views) {
  for_dimensions({at::kFloat, at::kInt}, [&](const at::Tensor& x, std::int64_t d) {
    if (x.dim() == 0) return;
    const std::int64_t end = x.size(d);
    for (std::int64_t start : {std::int64_t{0}, std::int64_t{1}, end, -end - 3, std::int64_t{-1}}) {
      for (std::int64_t last : {std::int64_t{0}, std::int64_t{2}, end + 5, std::int64_t{-1}}) {
        EXPECT_TRUE(
            (same_results<imported::cpu_slice_Tensor, 1>(x, d, &start, &last, std::int64_t{1})));
        std::int64_t* const none = nullptr;
        EXPECT_TRUE(
            (same_results<imported::cpu_slice_Tensor, 1>(x, d, none, &last, std::int64_t{2})));
      }
      if (start < -end || start >= end) continue;
      EXPECT_TRUE((same_results<imported::cpu_narrow, 1>(x, d, start, std::int64_t{1})));
    }
    EXPECT_TRUE((same_results<imported::cpu_squeeze_dim, 1>(x, d)));
    EXPECT_TRUE((same_results<imported::cpu_view_dtype, 1>(
        x, static_cast<std::int32_t>(aoti::DType::int32))));
    Sizes order(static_cast<std::size_t>(x.dim()));
    for (std::size_t i = 0; i < order.size(); ++i)
      order[i] = static_cast<std::int64_t>(i) - x.dim();
    if (x.dim() > 1) std::swap(order.front(), order.back());
    EXPECT_TRUE((same_results<imported::cpu_permute, 1>(x, order.data(), x.dim())));
  });
  const at::Tensor number = at::ones({}), matrix = at::ones({2, 3});
  std::int64_t start = 0, end = 1;
  EXPECT_TRUE((same_results<imported::cpu_slice_Tensor, 1>(number, 0, &start, &end, 1)));
  EXPECT_TRUE((same_results<imported::cpu_squeeze_dim, 1>(number, 0)));
  EXPECT_TRUE((same_results<imported::cpu_squeeze_dim, 1>(matrix, 2)));
  EXPECT_TRUE((same_results<imported::cpu_permute, 1>(number, &start, std::int64_t{0})));
  EXPECT_TRUE((same_results<imported::cpu_permute, 1>(matrix, &start, std::int64_t{1})));
  for (const std::int64_t first : {3, 4, -4}) {
    EXPECT_TRUE((same_results<imported::cpu_narrow, 1>(matrix, 1, first, std::int64_t{1})));
  }
  const Sizes twice{0, 0};
  EXPECT_TRUE(
      (same_results<imported::cpu_permute, 1>(at::randn({2, 3}), twice.data(), std::int64_t{2})));
  for (const at::ScalarType dtype : {at::kHalf, at::kFloat, at::kDouble, at::kInt}) {
    for (const at::Tensor& x :
         {at::ones({3, 4, 2}, dtype), at::ones({4, 3, 2}, dtype).transpose(0, 1),
          at::ones({2}, dtype), at::ones({3, 4}, dtype), at::ones({2, 3}, dtype).t()}) {
      EXPECT_TRUE((same_results<imported::cpu_view_as_complex, 1>(x)));
    }
  }
  for (const at::ScalarType dtype : {at::kComplexFloat, at::kComplexDouble, at::kFloat}) {
    EXPECT_TRUE((same_results<imported::cpu_view_as_real, 1>(at::ones({3, 4}, dtype).t())));
    for (const aoti::DType to : {aoti::DType::float32, aoti::DType::int64, aoti::DType::uint8}) {
      EXPECT_TRUE((same_results<imported::cpu_view_dtype, 1>(at::ones({3, 4}, dtype).slice(0, 1),
                                                             static_cast<std::int32_t>(to))));
    }
  }
}

TEST_F(Plain, EmbeddingBags) {
  const std::int32_t no = 0;
  at::manual_seed(0);
  for (const at::ScalarType dtype : floats) {
    for (const at::ScalarType index : {at::kLong, at::kInt}) {
      for (const at::Tensor& table :
           {at::randn({10, 4}).to(dtype), at::randn({4, 10}).t().to(dtype)}) {
        const at::Tensor indices = longs({1, 2, 4, 5, 4, 3, 2, 9}).to(index);
        const at::Tensor offsets = longs({0, 4, 4, 8}).to(index);
        const std::optional<at::Tensor> weights = at::randn({8}).to(dtype), none;
        for (std::int64_t mode = 0; mode < 3; ++mode) {
          for (const bool last : {false, true}) {
            for (const std::int64_t padding : {-1, 4}) {
              SCOPED_TRACE(testing::Message() << at::toString(dtype) << mode << last << padding);
              for (const auto& scales : {weights, none}) {
                if (scales.has_value() && mode != 0) continue;
                // Torch does not always set results that only gradients use.
                EXPECT_TRUE(same(call_both<imported::cpu__embedding_bag, 4>(
                                     table, indices, offsets, no, mode, no, scales, last, padding),
                                 1));
                EXPECT_TRUE(same(call_both<imported::cpu__embedding_bag_forward_only, 4>(
                                     table, indices, offsets, no, mode, no, scales, last, padding),
                                 1));
              }
            }
          }
        }
        EXPECT_TRUE(same(
            call_both<imported::cpu__embedding_bag, 4>(
                table, indices + 1, offsets, no, std::int64_t{0}, no, none, no, std::int64_t{-1}),
            1));
      }
    }
  }
}

TEST_F(Plain, Pools) {
  at::manual_seed(0);
  const std::int32_t yes = 1, no = 0;
  const std::int64_t two = 2, three = 3, one = 1;
  const Sizes kernel{3, 2, 2}, stride{2, 1, 2}, padding{1, 1, 0}, dilation{2, 1, 1}, out{2, 3, 1},
      none, ones{1};
  std::int64_t divisor = 5;
  std::int64_t* const by_size = nullptr;
  for (const at::ScalarType dtype : floats) {
    const at::Tensor plane = at::randn({2, 3, 7, 6}).to(dtype),
                     volume = at::randn({2, 3, 7, 6, 5}).to(dtype);
    for (const at::Tensor& x :
         {plane, plane.contiguous(at::MemoryFormat::ChannelsLast), plane.select(0, 0),
          plane.slice(3, 0, 6, 2), plane.slice(0, 0, 0)}) {
      SCOPED_TRACE(testing::Message() << at::toString(dtype) << x.sizes() << x.strides());
      EXPECT_TRUE((same_results<imported::cpu__adaptive_avg_pool2d, 1>(x, out.data(), two)));
      EXPECT_TRUE((same_results<imported::cpu_adaptive_max_pool2d, 2>(x, out.data(), two)));
      for (const std::int32_t up : {no, yes}) {
        EXPECT_TRUE((same_results<imported::cpu_avg_pool2d, 1>(
            x, kernel.data(), two, stride.data(), two, padding.data(), two, up, no, by_size)));
        EXPECT_TRUE((same_results<imported::cpu_avg_pool2d, 1>(x, kernel.data(), one, none.data(),
                                                               std::int64_t{0}, ones.data(), one,
                                                               up, yes, by_size)));
        EXPECT_TRUE((same_results<imported::cpu_avg_pool2d, 1>(
            x, kernel.data(), two, stride.data(), two, padding.data(), two, up, yes, &divisor)));
        EXPECT_TRUE((same_results<imported::cpu_max_pool2d_with_indices, 2>(
            x, kernel.data(), two, stride.data(), two, padding.data(), two, dilation.data(), two,
            up)));
      }
    }
    for (const at::Tensor& x : {volume, volume.contiguous(at::MemoryFormat::ChannelsLast3d),
                                volume.select(0, 0), volume.transpose(2, 4)}) {
      SCOPED_TRACE(testing::Message() << at::toString(dtype) << x.sizes() << x.strides());
      EXPECT_TRUE((same_results<imported::cpu_adaptive_max_pool3d, 2>(x, out.data(), three)));
      EXPECT_TRUE((same_results<imported::cpu_max_pool3d_with_indices, 2>(
          x, kernel.data(), three, stride.data(), three, padding.data(), three, dilation.data(),
          three, no)));
      // For narrow types, torch sums in the narrow type, or refuses.
      if (dtype != at::kFloat && dtype != at::kDouble) continue;
      EXPECT_TRUE((same_results<imported::cpu__adaptive_avg_pool3d, 1>(x, out.data(), three)));
      EXPECT_TRUE((same_results<imported::cpu_avg_pool3d, 1>(
          x, kernel.data(), three, stride.data(), three, padding.data(), three, yes, no, by_size)));
    }
  }
  EXPECT_TRUE((same_results<imported::cpu__adaptive_avg_pool3d, 1>(at::randn({2, 2, 2}), out.data(),
                                                                   three)));
  EXPECT_TRUE((same_results<imported::cpu_avg_pool2d, 1>(at::randn({1, 2, 2}), kernel.data(), two,
                                                         stride.data(), two, stride.data(), two, no,
                                                         no, by_size)));
  EXPECT_TRUE((same_results<imported::cpu_adaptive_max_pool2d, 2>(at::full({1, 4, 4}, NAN),
                                                                  out.data(), two)));
}

TEST_F(Plain, GridSampler) {
  at::manual_seed(0);
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor x = at::randn({2, 3, 4, 5, 6}, dtype);
    at::Tensor grid = at::randn({2, 3, 2, 4, 3}, dtype) * 1.5;
    grid.view({-1}).slice(0, 0, 4).copy_(at::tensor({NAN, INFINITY, -INFINITY, 1.0f}));
    for (const at::Tensor& input : {x, x.transpose(2, 4)}) {
      for (std::int64_t mode = 0; mode < 3; ++mode) {
        for (std::int64_t padding = 0; padding < 3; ++padding) {
          for (const bool aligned : {false, true}) {
            SCOPED_TRACE(testing::Message() << at::toString(dtype) << mode << padding << aligned);
            // Non-finite places only if outside counts as 0: otherwise torch's conversion to an
            // integer is undefined.
            const at::Tensor places = padding == 0 ? grid : grid.nan_to_num(0, 5, -5);
            if (mode == 2) continue;
            EXPECT_TRUE((same_results<imported::cpu_grid_sampler_3d, 1>(input, places, mode,
                                                                        padding, aligned)));
          }
        }
      }
    }
  }
}

TEST_F(Plain, DistancesAndProducts) {
  at::manual_seed(0);
  std::int64_t* const mode = nullptr;
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const double p : {0.0, 1.0, 2.0, 3.5, static_cast<double>(INFINITY)}) {
      SCOPED_TRACE(p);
      const at::Tensor a = at::randn({2, 5, 4}, dtype), b = at::randn({4, 3}, dtype).t();
      EXPECT_TRUE((same_results<imported::cpu__cdist_forward, 1>(a, b.unsqueeze(0), p, mode)));
      EXPECT_TRUE((same_results<imported::cpu__cdist_forward, 1>(a[0], b, p, mode)));
      EXPECT_TRUE((same_results<imported::cpu__cdist_forward, 1>(a[0].slice(0, 0, 0), b, p, mode)));
      EXPECT_TRUE((same_results<imported::cpu__cdist_forward, 1>(a[0].slice(1, 0, 0),
                                                                 b.slice(1, 0, 0), p, mode)));
      EXPECT_TRUE((same_results<imported::cpu__pdist_forward, 1>(a[0], p)));
      EXPECT_TRUE((same_results<imported::cpu__pdist_forward, 1>(b.contiguous(), p)));
      EXPECT_TRUE((same_results<imported::cpu__pdist_forward, 1>(a[0].slice(0, 0, 1), p)));
    }
    const at::Tensor x = at::randn({6, 3}, dtype), w = at::randn({4, 3, 5}, dtype),
                     y = at::randn({6, 5}, dtype);
    const Sizes of_x{1, 3}, of_w{0}, of_y{1, 2}, summed{2, 3};
    EXPECT_TRUE((same_results<imported::cpu__trilinear, 1>(
        x, w, y, of_x.data(), std::int64_t{2}, of_w.data(), std::int64_t{1}, of_y.data(),
        std::int64_t{2}, summed.data(), std::int64_t{2}, std::int64_t{1})));
  }
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kLong}) {
    const at::Tensor a = (at::randn({2, 3, 4}) * 3).to(dtype),
                     b = (at::randn({2, 5, 4}) * 3).to(dtype).transpose(1, 2);
    for (const at::Tensor& self :
         {at::ones({3, 5}, dtype), at::ones({5}, dtype), at::ones({}, dtype)}) {
      EXPECT_TRUE((same_results<imported::cpu_addbmm, 1>(self, a, b, 2.0, 3.0)));
      EXPECT_TRUE((same_results<imported::cpu_addbmm, 1>(self, a, b, 0.0, 1.0)));
    }
    EXPECT_TRUE((same_results<imported::cpu_addbmm, 1>(at::ones({4}, dtype), a, b, 1.0, 1.0)));
  }
}

TEST_F(Plain, Arithmetic) {
  at::manual_seed(0);
  for (const at::ScalarType dtype : {at::kInt, at::kLong, at::kShort, at::kByte}) {
    const at::Tensor a = at::randint(-40, 40, {4, 1, 3}, at::kLong).to(dtype),
                     b = at::randint(40, {5, 3}, at::kLong).to(dtype);
    EXPECT_TRUE((same_results<imported::cpu_gcd, 1>(a, b)));
    EXPECT_TRUE((same_results<imported::cpu_gcd, 1>(a, b.to(at::kLong))));
  }
  const Dtypes all{at::kFloat, at::kDouble, at::kHalf, at::kBFloat16,     at::kLong,
                   at::kInt,   at::kByte,   at::kBool, at::kComplexFloat, at::kComplexDouble};
  for (const at::ScalarType dtype : all) {
    const at::Tensor x =
        (at::randn({3, 4, 2}) * 3).to(dtype) *
        at::randn({3, 4, 2}, at::isComplexType(dtype) ? dtype : at::kFloat).to(dtype);
    for (const at::ScalarType other : all) {
      SCOPED_TRACE(testing::Message() << at::toString(dtype) << " and " << at::toString(other));
      for (const at::Tensor& y :
           {at::ones({4, 2}, other), at::ones({2, 4, 3}, other).permute({2, 1, 0}),
            at::ones({}, other)}) {
        if (dtype == at::kBFloat16 && at::isComplexType(other) && y.dim() == 0) continue;
        EXPECT_TRUE((same_results<imported::cpu_mul_Tensor, 1>(x, y)));
        EXPECT_TRUE((same_results<imported::cpu_mul_Tensor, 1>(
            y, x.transpose(0, 2).contiguous().transpose(0, 2))));
        EXPECT_TRUE((same_results<imported::cpu_add_Tensor, 1>(x, y, 1.0)));
      }
    }
    SCOPED_TRACE(at::toString(dtype));
    for (const at::Tensor& y : {x, x.permute({2, 0, 1}), x.slice(0, 0, 3, 2)}) {
      EXPECT_TRUE((same_results<imported::cpu_angle, 1>(y)));
      if (dtype != at::kBool) {
        EXPECT_TRUE((same_results<imported::cpu_abs, 1>(y)));
      }
      EXPECT_TRUE((same_results<imported::cpu_add_Scalar, 1>(y, 2.5, 2.0)));
      EXPECT_TRUE((same_results<imported::cpu_mul_Scalar, 1>(y, 2.5)));
      EXPECT_TRUE((same_out<imported::cpu_fill__Scalar>(y, 2.0)));
    }
  }
  const at::Tensor lengths = at::rand({3, 4}), angles = at::randn({4, 3}).t();
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kInt}) {
    EXPECT_TRUE((same_results<imported::cpu_polar, 1>(lengths.to(dtype), angles.to(dtype))));
  }
}

TEST_F(Plain, Powers) {
  at::manual_seed(0);
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kHalf, at::kLong, at::kInt}) {
    const bool whole = !at::isFloatingType(dtype);
    const at::Tensor x = (at::randn({3, 4}) * 3).round().to(dtype).t();
    const at::Tensor y = whole ? at::randint(0, 5, {4, 3}, dtype) : at::randn({4, 3}).to(dtype);
    EXPECT_TRUE((same_results<imported::cpu_pow_Tensor_Tensor, 1>(x, y)));
    EXPECT_TRUE((same_results<imported::cpu_pow_Tensor_Tensor, 1>(x, y.select(0, 0))));
    EXPECT_TRUE((same_results<imported::cpu_pow_Tensor_Scalar, 1>(x, 2.5)));
    EXPECT_TRUE((same_results<imported::cpu_pow_Tensor_Scalar, 1>(x, -1.0)));
    EXPECT_TRUE((same_results<imported::cpu_pow_Scalar, 1>(2.5, x)));
  }
  EXPECT_TRUE((same_results<imported::cpu_pow_Tensor_Tensor, 1>(longs({1, -1, -1, 2, 3, 0}),
                                                                longs({-3, -3, -2, -1, 70, 0}))));
}

TEST_F(Plain, ProductsOfBytes) {
  at::manual_seed(0);
  const at::Tensor a = at::randint(-128, 128, {5, 16}, at::kChar);
  const at::Tensor b = at::randint(-128, 128, {8, 16}, at::kChar).t();
  EXPECT_TRUE((same_out<imported::cpu__int_mm_out>(at::empty({5, 8}, at::kInt), a, b)));
  EXPECT_TRUE((same_out<imported::cpu__int_mm_out>(at::empty({5, 8}, at::kInt), a, a)));
}

TEST_F(Plain, SegmentReductions) {
  at::manual_seed(0);
  const std::int32_t checked = 0;
  double initial = 0.5;
  double* const none = nullptr;
  const std::optional<at::Tensor> absent;
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor x = at::randn({6, 3}, dtype);
    const std::optional<at::Tensor> lengths = longs({2, 0, 4}), offsets = longs({0, 2, 2, 6});
    for (const char* reduce : {"sum", "mean", "max", "min", "prod"}) {
      for (double* begin : {none, &initial}) {
        SCOPED_TRACE(reduce);
        EXPECT_TRUE((same_results<imported::cpu_segment_reduce, 1>(
            x, reduce, lengths, absent, absent, std::int64_t{0}, checked, begin)));
        EXPECT_TRUE((same_results<imported::cpu_segment_reduce, 1>(
            x, reduce, absent, absent, offsets, std::int64_t{0}, checked, begin)));
        EXPECT_TRUE((same_results<imported::cpu_segment_reduce, 1>(
            x.t().contiguous(), reduce,
            std::optional{longs({2, 0, 4, 3, 3, 0, 6, 0, 0}).view({3, 3})}, absent, absent,
            std::int64_t{1}, checked, begin)));
      }
    }
    EXPECT_TRUE((same_results<imported::cpu_segment_reduce, 1>(
        x, "sum", std::optional{longs({2, 3})}, absent, absent, std::int64_t{0}, checked, none)));
  }
}

TEST_F(Plain, Concatenations) {
  at::manual_seed(0);
  const auto last = at::MemoryFormat::ChannelsLast;
  using Tensors = std::vector<at::Tensor>;
  const at::Tensor x = at::randn({2, 3, 4, 5});
  for (const Tensors& tensors :
       {Tensors{x, x}, Tensors{x.contiguous(last), x.contiguous(last)},
        Tensors{x.contiguous(last), x}, Tensors{at::randn({0}), x, x.transpose(1, 1)},
        Tensors{at::randn({0}), at::randn({0})}, Tensors{at::ones({2}, at::kComplexFloat)},
        Tensors{at::randn({2, 3}), at::randn({3, 3})}, Tensors{}}) {
    for (const std::int64_t d : {0, 1, -1}) {
      Compared both;
      for (const bool torch : {true, false}) {
        Arguments arguments{torch};
        std::vector<AtenTensorHandle> handles;
        for (const at::Tensor& tensor : tensors) handles.push_back(arguments.pass(tensor));
        AtenTensorHandle result = nullptr;
        (torch ? both.torch : both.native) = function_of<imported::cpu_cat>(torch)(
            handles.data(), static_cast<std::int64_t>(handles.size()), d, &result);
        if (result == nullptr) continue;
        if (torch) {
          both.expected.push_back(taken_torch(result));
        } else {
          both.found.push_back(taken_native(result));
        }
      }
      EXPECT_TRUE(same(both)) << d;
    }
  }
}

TEST_F(Plain, Cumsum) {
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

TEST_F(Plain, CumsumOfComplexNumbers) {
  at::manual_seed(0);
  for (const at::ScalarType dtype : {at::kComplexFloat, at::kComplexDouble}) {
    Twin x = twin(at::randn({3, 50, 2}, dtype).transpose(0, 1)), real = twin(at::randn({3, 50}));
    auto given = static_cast<std::int32_t>(dtype);
    for (const auto& [tensor, wish] :
         {std::pair{&x, static_cast<std::int32_t*>(nullptr)}, std::pair{&real, &given}}) {
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

TEST_F(Plain, RandomNumbersAreTorchs) {
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
    // More numbers than the twister makes at once.
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
      if (of_torch.torch.dim() == 2) {  // in memory order
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

TEST_F(Plain, IndexPut) {
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

TEST_F(Plain, IndexPutOfMasksAndMissingIndices) {
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

TEST_F(Plain, IndexPutRefusesWhatIsOutOfRange) {
  Twin self = twin(at::zeros({3})), index = twin(longs({3})), values = twin(at::ones({1}));
  const AtenTensorHandle indices[] = {index.of_native()};
  EXPECT_NE(function_of<imported::index_put_out>(false)(self.of_native(), self.of_native(), indices,
                                                        1, values.of_native(), false),
            0);
  EXPECT_EQ(aoti::NativeOnednn::last_error(), "aoti_torch_index_put_out: an index is out of range");
}

}  // namespace
}  // namespace aoti_test
