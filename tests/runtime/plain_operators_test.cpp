// Plain operators without libtorch: known results for strided tensors, tensors without elements and
// single numbers; what they refuse; and their behaviour when memory runs out.
#include <aoti/runtime/plain_operators.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "runtime/native_case.hpp"
#include "support/support.hpp"

namespace {
constexpr std::int64_t always = std::numeric_limits<std::int64_t>::max();
thread_local std::int64_t blocks_left = always;
}  // namespace

// All of the pool's memory comes from here.
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  if (blocks_left == 0) return nullptr;
  if (blocks_left != always) --blocks_left;
  void* memory = nullptr;
  return ::posix_memalign(&memory, alignment, size) == 0 ? memory : nullptr;
}

namespace aoti_test {
namespace {

namespace imported = aoti::abi::imported;
using aoti::Tensor;
using aoti::detail::TensorAccess;
using aoti::detail::TensorBody;
using Runtime = aoti::NativeWith<aoti::PlainOperators>;
using PlainCase = RuntimeCase<Runtime>;
using Numbers = std::vector<std::int64_t>;
using Floats = std::vector<float>;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

AtenTensorHandle of(const Tensor& tensor) {
  return TensorBody::handle(TensorAccess::body_of(tensor));
}
template <class Import, class... Arguments> AOTITorchError call(Arguments... arguments) {
  return aoti::abi::resolve<Runtime, Import>()(arguments...);
}
/// Calls a function that makes `count` tensors, which must succeed.
template <class Import, std::size_t count = 1, class... Arguments>
std::vector<Tensor> made(Arguments... arguments) {
  AtenTensorHandle out[count] = {};
  const AOTITorchError code = [&]<std::size_t... i>(std::index_sequence<i...>) {
    return call<Import>(arguments..., &out[i]...);
  }
  (std::make_index_sequence<count>{});
  EXPECT_EQ(code, 0) << Runtime::last_error();
  std::vector<Tensor> tensors;
  for (AtenTensorHandle handle : out) {
    tensors.push_back(handle != nullptr ? Runtime::take(handle) : Tensor{});
  }
  return tensors;
}
/// Expects a failure for that reason, and no result.
template <class Import, std::size_t count = 1, class... Arguments>
void refused(const std::string& reason, Arguments... arguments) {
  AtenTensorHandle out[count] = {};
  const AOTITorchError code = [&]<std::size_t... i>(std::index_sequence<i...>) {
    return call<Import>(arguments..., &out[i]...);
  }
  (std::make_index_sequence<count>{});
  EXPECT_NE(code, 0);
  for (AtenTensorHandle handle : out) EXPECT_EQ(handle, nullptr);
  EXPECT_EQ(Runtime::last_error(), Import::symbol + std::string{": "} + reason);
}

Tensor floats(const Numbers& sizes, const Floats& elements, const Numbers& strides = {}) {
  return PlainCase::make<float>(sizes, elements, strides);
}
Tensor longs(const Numbers& sizes, const Numbers& elements, const Numbers& strides = {}) {
  return PlainCase::make<std::int64_t>(sizes, elements, strides);
}
Floats numbers(const Tensor& tensor) { return PlainCase::elements<float>(tensor); }
Numbers places(const Tensor& tensor) { return PlainCase::elements<std::int64_t>(tensor); }
Numbers sizes(const Tensor& tensor) { return {tensor.sizes().begin(), tensor.sizes().end()}; }

TEST(PlainOperators, SortPutsWhatIsNoNumberLastAndKeepsTheOrderOfEqualOnes) {
  const Tensor x = floats({2, 4}, {2, nan, -0.0f, 0, 1, 2, 1, 2}, {1, 2});
  const auto up = made<imported::cpu_sort_stable, 2>(of(x), nullptr, -1, 0);
  EXPECT_THAT(numbers(up[0]), testing::Pointwise(testing::NanSensitiveFloatEq(),
                                                 Floats{-0.0f, 0, 2, nan, 1, 1, 2, 2}));
  EXPECT_EQ(places(up[1]), (Numbers{2, 3, 0, 1, 0, 2, 1, 3}));
  EXPECT_EQ(up[0].strides()[0], 1);  // like the tensor's
  const auto down = made<imported::cpu_sort_stable, 2>(of(x), nullptr, 1, 1);
  EXPECT_EQ(places(down[1]), (Numbers{1, 0, 2, 3, 1, 3, 0, 2}));
}

TEST(PlainOperators, OrderOfNothingAndOfOneNumber) {
  const Tensor none = floats({0, 3}, {}), one = floats({}, {5});
  EXPECT_EQ((sizes(made<imported::cpu_topk, 2>(of(none), 2, 1, 1, 1)[0])), (Numbers{0, 2}));
  EXPECT_EQ((sizes(made<imported::cpu_sort_stable, 2>(of(none), nullptr, 0, 0)[1])),
            (Numbers{0, 3}));
  EXPECT_EQ(places(made<imported::cpu_kthvalue, 2>(of(one), 1, -1, 0)[1]), (Numbers{0}));
  EXPECT_EQ(numbers(made<imported::cpu_mode, 2>(of(one), 0, 1)[0]), (Floats{5}));
  EXPECT_TRUE(std::isnan(numbers(made<imported::cpu_median>(of(none))[0])[0]));
  refused<imported::cpu_kthvalue, 2>("there are fewer elements than k", of(none), 1, 0, 0);
  refused<imported::cpu_topk, 2>("there are fewer elements than k", of(none), 4, 1, 1, 1);
  refused<imported::cpu_mode, 2>("there is no such dimension", of(one), 1, 0);
  refused<imported::cpu_cummax, 2>("there is no such dimension", of(none), -3);
}

TEST(PlainOperators, RunningResults) {
  const Tensor x = floats({2, 3}, {3, nan, 1, 2, 2, -1}, {8, 2});
  EXPECT_THAT(numbers(made<imported::cpu_cummax, 2>(of(x), 1)[0]),
              testing::Pointwise(testing::NanSensitiveFloatEq(), Floats{3, nan, nan, 2, 2, 2}));
  EXPECT_EQ(places(made<imported::cpu_cummin, 2>(of(x), 1)[1]), (Numbers{0, 1, 1, 0, 1, 2}));
  const Tensor bytes = PlainCase::make<std::uint8_t>({3}, {200, 100, 2});
  EXPECT_EQ(places(made<imported::cpu_cumprod>(of(bytes), 0, nullptr)[0]),
            (Numbers{200, 20000, 40000}));
  std::int32_t narrow = static_cast<std::int32_t>(aoti::DType::uint8);
  EXPECT_EQ(
      (PlainCase::elements<std::uint8_t>(made<imported::cpu_cumsum>(of(bytes), 0, &narrow)[0])),
      (std::vector<std::uint8_t>{200, 44, 46}));
  const Tensor infinite = floats({2}, {-INFINITY, 0});
  EXPECT_EQ(numbers(made<imported::cpu_logcumsumexp>(of(infinite), 0)[0]), (Floats{-INFINITY, 0}));
  refused<imported::cpu_logcumsumexp>("not for this dtype", of(bytes), 0);
}

TEST(PlainOperators, ScatteredSums) {
  const Tensor nodes = floats({3, 2}, {1, 1, 1, 1, 1, 1}, {1, 3});
  const Tensor edges = floats({4, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  std::int64_t ends[] = {2, 0, 2, 2};
  const Tensor to = PlainCase::view<std::int64_t>(ends, {4, 2}, {1, 0});
  const auto reduce = [&](const char* how, std::int32_t self) {
    return call<imported::cpu_scatter_reduce_two_out>(of(nodes), of(nodes), 0, of(to), of(edges),
                                                      how, self);
  };
  ASSERT_EQ(reduce("sum", 1), 0);
  EXPECT_EQ(numbers(nodes), (Floats{4, 5, 1, 1, 14, 17}));
  ASSERT_EQ(reduce("mean", 0), 0);
  EXPECT_THAT(numbers(nodes),
              testing::Pointwise(testing::FloatEq(), Floats{3, 4, 1, 1, 13.0f / 3, 16.0f / 3}));
  ends[1] = 3;  // nothing is written
  EXPECT_NE(reduce("amax", 0), 0);
  EXPECT_EQ(Runtime::last_error(),
            "aoti_torch_cpu_scatter_reduce_two_out: an index is out of range");
  ends[1] = 1;
  EXPECT_NE(reduce("median", 0), 0);
  EXPECT_EQ(Runtime::last_error(),
            "aoti_torch_cpu_scatter_reduce_two_out: there is no such reduction");
  EXPECT_EQ(numbers(nodes)[1], 4);
  // Integers are rounded down; nothing is scattered.
  const Tensor whole = longs({2}, {-3, 5}), by = longs({2}, {0, 1}), values = longs({2}, {-4, 2});
  ASSERT_EQ(call<imported::cpu_scatter_reduce_two_out>(of(whole), of(whole), 0, of(by), of(values),
                                                       "mean", 1),
            0);
  EXPECT_EQ(places(whole), (Numbers{-4, 3}));
  const Tensor none = longs({0}, {});
  EXPECT_EQ(call<imported::cpu_scatter_value_out>(of(whole), of(whole), 0, of(none), 1.0), 0);
  EXPECT_EQ(places(whole), (Numbers{-4, 3}));
}

TEST(PlainOperators, SelectionsAndSearches) {
  const Tensor x = floats({2, 3}, {0, 2, 0, 3, 0, nan}, {1, 2});
  const Tensor found = made<imported::cpu_nonzero>(of(x))[0];
  EXPECT_EQ(places(found), (Numbers{0, 1, 1, 0, 1, 2}));
  EXPECT_EQ(found.strides()[0], 1);  // torch's is column-major
  EXPECT_EQ(places(made<imported::cpu_nonzero_static>(of(x), 4, -1)[0]),
            (Numbers{0, 1, 1, 0, 1, 2, -1, -1}));
  const Tensor one = floats({}, {1});
  EXPECT_EQ(sizes(made<imported::cpu_nonzero>(of(one))[0]), (Numbers{1, 0}));
  const Tensor mask = PlainCase::make<bool>({3}, {true, false, true});
  EXPECT_THAT(numbers(made<imported::cpu_masked_select>(of(x), of(mask))[0]),
              testing::Pointwise(testing::NanSensitiveFloatEq(), Floats{0, 0, 3, nan}));
  const Tensor source = floats({3}, {7, 8, 9});
  refused<imported::cpu_masked_scatter>("the source has fewer elements than the mask", of(x),
                                        of(mask), of(source));
  const Tensor edges = floats({3}, {1, 2, 2});
  EXPECT_EQ(places(made<imported::cpu_bucketize_Tensor>(of(x), of(edges), 0, 0)[0]),
            (Numbers{0, 1, 0, 3, 0, 3}));
  EXPECT_EQ(places(made<imported::cpu_bucketize_Tensor>(of(x), of(edges), 0, 1)[0]),
            (Numbers{0, 3, 0, 3, 0, 3}));
  const Tensor repeats = longs({3}, {2, 0, 1});
  std::int64_t size = 4;
  EXPECT_EQ(places(made<imported::cpu_repeat_interleave_Tensor>(of(repeats), nullptr)[0]),
            (Numbers{0, 0, 2}));
  refused<imported::cpu_repeat_interleave_Tensor>("the size is not that of all repeats",
                                                  of(repeats), &size);
}

TEST(PlainOperators, ViewsShareMemoryAndStayWithinIt) {
  const Tensor x = floats({2, 4}, {0, 1, 2, 3, 4, 5, 6, 7});
  std::int64_t start = -3, end = always;
  const Tensor part = made<imported::cpu_slice_Tensor>(of(x), 1, &start, &end, always)[0];
  EXPECT_EQ(numbers(part), (Floats{1, 5}));
  static_cast<float*>(part.data())[0] = 9;
  EXPECT_EQ(numbers(x)[1], 9);
  EXPECT_EQ(sizes(made<imported::cpu_slice_Tensor>(of(x), 0, &end, &start, 1)[0]), (Numbers{0, 4}));
  const Tensor pairs = made<imported::cpu_view_as_complex>(of(floats({2, 2}, {1, 2, 3, 4})))[0];
  EXPECT_EQ(pairs.dtype(), aoti::DType::complex64);
  EXPECT_EQ(numbers(made<imported::cpu_view_as_real>(of(pairs))[0]), (Floats{1, 2, 3, 4}));
  refused<imported::cpu_view_as_complex>("the last size is not 2", of(x));
  const std::int64_t order[] = {1, 1};
  refused<imported::cpu_permute>("a dimension comes twice", of(x), order, 2);
  refused<imported::cpu_narrow>("the part reaches beyond the dimension", of(x), 1, 2, 3);
}

TEST(PlainOperators, RefusesUndefinedTensors) {
  AtenTensorHandle none = nullptr;
  ASSERT_EQ(call<imported::new_uninitialized_tensor>(&none), 0);
  refused<imported::cpu_nonzero>("the tensor is undefined", none);
  Runtime::destroy(none);
}

TEST(PlainOperators, SumsInWholeNumbersWrap) {
  const std::int64_t most = always;
  const Tensor x = longs({2}, {most, 1}), a = longs({1, 1, 2}, {most, 1}),
               b = longs({1, 2, 1}, {3, 1}), self = longs({}, {most});
  EXPECT_EQ(places(made<imported::cpu_cumsum>(of(x), 0, nullptr)[0])[1],
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(places(made<imported::cpu_mul_Tensor>(of(x), of(x))[0])[0], 1);
  EXPECT_EQ(places(made<imported::cpu_addbmm>(of(self), of(a), of(b), 1.0, 1.0)[0])[0],
            static_cast<std::int64_t>(std::uint64_t{4} * static_cast<std::uint64_t>(most) + 1));
}

// Each call fails, and leaks nothing, whichever allocation of the pool fails.
TEST(PlainOperators, SaysThatMemoryHasRunOut) {
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6}, {1, 2});
  const Tensor y = floats({3, 2}, {1, 2, 3, 4, 5, 6}, {4, 2});
  const Tensor index = longs({2, 3}, {0, 1, 1, 0, 0, 1}, {1, 2}), row = longs({2}, {0, 1}, {2});
  const Tensor mask = PlainCase::make<bool>({2, 3}, {true, false, true, true, false, true}, {1, 2});
  const Tensor out = floats({2, 3}, {0, 0, 0, 0, 0, 0}, {1, 2});
  const Tensor volume = floats({1, 2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}, {8, 1, 4, 2});
  const Tensor batch = floats({1, 1, 2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}, {8, 8, 1, 4, 2});
  const Tensor grid = floats({1, 1, 1, 1, 3}, {0, 0, 0}, {3, 3, 3, 3, 1});
  const Tensor three = floats({1, 2, 3}, {1, 2, 3, 4, 5, 6}, {6, 1, 2});
  const Tensor one = floats({}, {1}), two = floats({1, 3, 2}, {1, 2, 3, 4, 5, 6});
  const std::int64_t ones[] = {1, 1, 1}, dims[] = {1};
  AtenTensorHandle outs[4] = {}, masked = of(mask), given = of(row);
  const AtenTensorHandle *by_mask[] = {&masked}, *const *by = by_mask;
  struct Call {
    const char* name;
    std::size_t outs;
    std::function<AOTITorchError()> call;
  };
  AtenTensorHandle *a = &outs[0], *b = &outs[1], *c = &outs[2], *d = &outs[3];
  const Call calls[] = {
      {"sort", 2, [&] { return call<imported::cpu_sort_stable>(of(x), nullptr, 0, 0, a, b); }},
      {"mode", 2, [&] { return call<imported::cpu_mode>(of(x), 0, 0, a, b); }},
      {"median", 1, [&] { return call<imported::cpu_median>(of(x), a); }},
      {"cumprod", 1, [&] { return call<imported::cpu_cumprod>(of(x), 0, nullptr, a); }},
      {"scatter", 0,
       [&] {
         return call<imported::cpu_scatter_reduce_two_out>(of(out), of(x), 0, of(index), of(x),
                                                           "mean", 1);
       }},
      {"index_reduce", 1,
       [&] { return call<imported::cpu_index_reduce>(of(y), 1, of(row), of(y), "prod", 0, a); }},
      {"index", 1,
       [&] {
         return call<imported::cpu_index_Tensor>(of(x), const_cast<const AtenTensorHandle**>(by), 1,
                                                 a);
       }},
      {"nonzero", 1, [&] { return call<imported::cpu_nonzero>(of(x), a); }},
      {"select", 1, [&] { return call<imported::cpu_masked_select>(of(x), of(mask), a); }},
      {"masked", 1, [&] { return call<imported::cpu_masked_scatter>(of(x), of(mask), of(x), a); }},
      {"repeat", 1,
       [&] { return call<imported::cpu_repeat_interleave_Tensor>(of(row), nullptr, a); }},
      {"search", 1,
       [&] {
         return call<imported::cpu_searchsorted_Tensor>(of(x), of(x), 0, 0, nullptr, nullptr, a);
       }},
      {"histc", 1, [&] { return call<imported::cpu_histc>(of(x), 3, 0.0, 0.0, a); }},
      {"slice", 1,
       [&] { return call<imported::cpu_slice_Tensor>(of(x), 0, nullptr, nullptr, 1, a); }},
      {"bag", 4,
       [&] {
         return call<imported::cpu__embedding_bag>(of(x), of(row), of(row), 0, 2, 0, nullptr, 0, -1,
                                                   a, b, c, d);
       }},
      {"average", 1,
       [&] { return call<imported::cpu__adaptive_avg_pool3d>(of(volume), ones, 3, a); }},
      {"largest", 2,
       [&] { return call<imported::cpu_adaptive_max_pool3d>(of(volume), ones, 3, a, b); }},
      {"sample", 1,
       [&] { return call<imported::cpu_grid_sampler_3d>(of(batch), of(grid), 0, 0, 0, a); }},
      {"cdist", 1,
       [&] { return call<imported::cpu__cdist_forward>(of(x), of(x), 2.0, nullptr, a); }},
      {"pdist", 1, [&] { return call<imported::cpu__pdist_forward>(of(x), 2.0, a); }},
      {"trilinear", 1,
       [&] {
         return call<imported::cpu__trilinear>(of(x), of(x), of(x), nullptr, 0, nullptr, 0, nullptr,
                                               0, dims, 1, 0, a);
       }},
      {"addbmm", 1,
       [&] { return call<imported::cpu_addbmm>(of(one), of(three), of(two), 1.0, 1.0, a); }},
      {"gcd", 1, [&] { return call<imported::cpu_gcd>(of(index), of(index), a); }},
      {"add", 1, [&] { return call<imported::cpu_add_Scalar>(of(x), 1.0, 1.0, a); }},
      {"cat", 1, [&] { return call<imported::cpu_cat>(&given, 1, 0, a); }},
  };
  for (const Call& tried : calls) {
    Runtime::trim();
    const std::size_t before = aoti::detail::Pool::reserved();
    for (std::int64_t count = 0;; ++count) {
      ASSERT_LT(count, 40) << tried.name;
      Runtime::trim();
      blocks_left = count;
      const AOTITorchError code = tried.call();
      blocks_left = always;
      if (code == 0) {
        EXPECT_GT(count, 0) << tried.name;
        break;
      }
      EXPECT_THAT(Runtime::last_error(), testing::HasSubstr("out of memory")) << tried.name;
      for (AtenTensorHandle handle : outs) EXPECT_EQ(handle, nullptr) << tried.name;
    }
    for (std::size_t i = 0; i < tried.outs; ++i) {
      Runtime::destroy(std::exchange(outs[i], nullptr));
    }
    Runtime::trim();
    EXPECT_EQ(aoti::detail::Pool::reserved(), before) << tried.name;
  }
}

}  // namespace
}  // namespace aoti_test
