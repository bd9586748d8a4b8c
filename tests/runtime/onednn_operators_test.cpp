// Operators on oneDNN, and plain ones, compared with loops over their definitions; their behaviour
// when memory runs out, and on several threads at once.
#include <aoti/runtime/onednn.hpp>

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "support/sanitizers.hpp"
#include "support/support.hpp"

namespace {
/// How many more of the pool's allocations succeed on this thread.
constexpr std::int64_t always = std::numeric_limits<std::int64_t>::max();
thread_local std::int64_t allocations_left = always;
}  // namespace

// All of the pool's memory comes from here, but none of oneDNN's.
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  if (allocations_left == 0) return nullptr;
  if (allocations_left != always) --allocations_left;
  void* memory = nullptr;
  return ::posix_memalign(&memory, alignment, size) == 0 ? memory : nullptr;
}

#if AOTI_TEST_TSAN
// ThreadSanitizer does not see oneDNN's synchronisation, since oneDNN is not built with it.
extern "C" const char* __tsan_default_suppressions() { return "called_from_lib:libdnnl.so"; }
#endif

namespace aoti_test {
namespace {

namespace imported = aoti::abi::imported;
using aoti::DType;
using aoti::NativeOnednn;
using aoti::Tensor;
using Numbers = std::vector<std::int64_t>;
using aoti::detail::TensorAccess;
using aoti::detail::TensorBody;

template <class Import, class... Arguments> AOTITorchError call(Arguments... arguments) {
  return aoti::abi::resolve<NativeOnednn, Import>()(arguments...);
}
AtenTensorHandle of(const Tensor& tensor) {
  return TensorBody::handle(TensorAccess::body_of(tensor));
}

/// What a test computes with: elements in row-major order.
struct Elements {
  Numbers sizes;
  std::vector<double> values;

  explicit Elements(Numbers of_sizes)
      : sizes{std::move(of_sizes)},
        values(std::accumulate(sizes.begin(), sizes.end(), std::size_t{1},
                               [](std::size_t product, std::int64_t size) {
                                 return product * static_cast<std::size_t>(size);
                               })) {}
  /// From a tensor that is broadcast to the sizes.
  Elements(const Tensor& tensor, Numbers of_sizes) : Elements{std::move(of_sizes)} {
    if (values.empty()) return;
    const Tensor mine = Tensor::borrow(DType::float64, values.data(), sizes).value();
    EXPECT_EQ(
        aoti::detail::copy_elements(*TensorAccess::body_of(mine), *TensorAccess::body_of(tensor)),
        nullptr);
  }
  explicit Elements(const Tensor& tensor)
      : Elements{tensor, Numbers(tensor.sizes().begin(), tensor.sizes().end())} {}

  double& operator()(const Numbers& index) {
    std::int64_t at = 0;
    for (std::size_t d = 0; d < sizes.size(); ++d) at = at * sizes[d] + index[d];
    return values[static_cast<std::size_t>(at)];
  }
};

/// A tensor with these elements, in memory with these strides; row-major if none are given.
Tensor tensor_of(DType dtype, Elements elements, const Numbers& strides = {}) {
  Tensor tensor = Tensor::empty(dtype, elements.sizes, strides).value();
  if (elements.values.empty()) return tensor;
  const Tensor from =
      Tensor::borrow(DType::float64, elements.values.data(), elements.sizes).value();
  EXPECT_EQ(
      aoti::detail::copy_elements(*TensorAccess::body_of(tensor), *TensorAccess::body_of(from)),
      nullptr);
  return tensor;
}
bool is_floating(DType dtype) {
  return dtype == DType::float32 || dtype == DType::float64 || dtype == DType::bfloat16 ||
         dtype == DType::float16;
}
/// Small numbers that bfloat16 can represent.
Tensor some(DType dtype, const Numbers& sizes, const Numbers& strides = {}, int seed = 1) {
  Elements elements{sizes};
  int i = seed;
  for (double& value : elements.values) {
    i = (i * 75 + 74) % 65537;
    value = i % 17 - 8;
    if (is_floating(dtype)) value /= 8;
  }
  return tensor_of(dtype, elements, strides);
}
Tensor some(const Numbers& sizes, const Numbers& strides = {}, int seed = 1) {
  return some(DType::float32, sizes, strides, seed);
}
Tensor all_nan(DType dtype, const Numbers& sizes, const Numbers& strides = {}) {
  Elements elements{sizes};
  std::fill(elements.values.begin(), elements.values.end(),
            is_floating(dtype) ? std::numeric_limits<double>::quiet_NaN() : 77);
  return tensor_of(dtype, elements, strides);
}

void expect_near(const Tensor& found, const Elements& expected, const std::string& what) {
  Elements got{found};
  ASSERT_EQ(got.sizes, expected.sizes) << what;
  const double allowed = found.dtype() == DType::float64    ? 1e-12
                         : found.dtype() == DType::float32  ? 2e-5
                         : found.dtype() == DType::float16  ? 2e-3
                         : found.dtype() == DType::bfloat16 ? 2e-2
                                                            : 0;
  for (std::size_t i = 0; i < got.values.size(); ++i) {
    const double a = got.values[i];
    double b = expected.values[i];
    if (found.dtype() == DType::int8) b = static_cast<std::int8_t>(static_cast<std::int64_t>(b));
    ASSERT_TRUE(a == b || std::abs(a - b) <= allowed * (1 + std::abs(b)))
        << what << ": element " << i << " is " << a << ", expected " << b;
  }
}
/// Expects success, and returns the tensor that was made.
Tensor made(AOTITorchError code, AtenTensorHandle* out) {
  EXPECT_EQ(code, 0) << NativeOnednn::last_error();
  return code == 0 ? NativeOnednn::take(*out) : Tensor{};
}
void expect_failure(AOTITorchError code, const std::string& reason) {
  EXPECT_NE(code, 0);
  EXPECT_THAT(NativeOnednn::last_error(), testing::HasSubstr(reason));
}

/// Memory layouts of matrices, or batches of them.
std::vector<Numbers> layouts(const Numbers& sizes, bool overlapping) {
  const std::int64_t b = sizes.size() == 3 ? sizes[0] : 1, m = sizes[sizes.size() - 2],
                     n = sizes.back();
  std::vector<Numbers> found = {{m * n, n, 1},
                                {m * n, 1, m},
                                {m * (n + 3), n + 3, 1},
                                {m * n * 3, n * 3, 2},
                                {n, b * n, 1}};  // interleaved
  if (overlapping) {
    found.insert(found.end(), {{0, n, 1}, {m * n, 0, 1}, {1, 1, 1}, {m, n, 1}});
  }
  if (sizes.size() == 2) {
    for (Numbers& strides : found) strides.erase(strides.begin());
  }
  return found;
}

/// beta * self + alpha * a @ b
Elements product(const Elements* self, Elements a, Elements b, double beta, double alpha) {
  const bool batched = a.sizes.size() == 3;
  if (!batched) a.sizes.insert(a.sizes.begin(), 1), b.sizes.insert(b.sizes.begin(), 1);
  Elements out{{a.sizes[0], a.sizes[1], b.sizes[2]}};
  for (std::int64_t l = 0; l < out.sizes[0]; ++l) {
    for (std::int64_t i = 0; i < out.sizes[1]; ++i) {
      for (std::int64_t j = 0; j < out.sizes[2]; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k < a.sizes[2]; ++k) sum += a({l, i, k}) * b({l, k, j});
        out({l, i, j}) = alpha * sum;
      }
    }
  }
  for (std::size_t i = 0; beta != 0 && i < out.values.size(); ++i) {
    out.values[i] += beta * self->values[i];
  }
  if (!batched) out.sizes.erase(out.sizes.begin());
  return out;
}

constexpr DType product_types[] = {DType::float32, DType::float64, DType::bfloat16, DType::float16,
                                   DType::int64,   DType::int32,   DType::int16,    DType::int8};

void products() {
  const std::vector<Numbers> all_sizes = {{3, 4, 5, 6}, {1, 1, 7, 1}, {2, 5, 1, 3}, {1, 4, 9, 2},
                                          {0, 2, 2, 2}, {2, 0, 3, 4}, {2, 3, 0, 4}, {2, 3, 4, 0}};
  for (const DType dtype : product_types) {
    for (const Numbers& s : all_sizes) {
      for (const bool batched : {false, true}) {
        Numbers left{s[0], s[1], s[2]}, right{s[0], s[2], s[3]}, result{s[0], s[1], s[3]};
        if (!batched) {
          for (Numbers* sizes : {&left, &right, &result}) sizes->erase(sizes->begin());
        }
        int way = 0;
        for (const Numbers& l : layouts(left, true)) {
          for (const Numbers& r : layouts(right, true)) {
            if (++way % 4 != 0 && dtype != DType::float32) continue;
            const std::string what = std::string{to_string(dtype)} + " " +
                                     testing::PrintToString(s) + testing::PrintToString(l) +
                                     testing::PrintToString(r);
            const std::vector<Numbers> ways = layouts(result, false);
            const Tensor a = some(dtype, left, l), b = some(dtype, right, r, 5);
            const Tensor out =
                all_nan(dtype, result, ways[static_cast<std::size_t>(way) % ways.size()]);
            const AOTITorchError code = batched ? call<imported::cpu_bmm_out>(of(out), of(a), of(b))
                                                : call<imported::cpu_mm_out>(of(out), of(a), of(b));
            ASSERT_EQ(code, 0) << what << NativeOnednn::last_error();
            expect_near(out, product(nullptr, Elements{a}, Elements{b}, 0, 1), what);
            if (testing::Test::HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

void products_added() {
  for (const DType dtype : product_types) {
    for (const bool batched : {false, true}) {
      const Numbers left = batched ? Numbers{3, 4, 5} : Numbers{4, 5},
                    right = batched ? Numbers{3, 5, 6} : Numbers{5, 6},
                    result = batched ? Numbers{3, 4, 6} : Numbers{4, 6};
      const Tensor a = some(dtype, left), b = some(dtype, right, {}, 5);
      for (const Numbers& sizes : {Numbers{6}, Numbers{4, 1}, Numbers{}, result}) {
        for (const Numbers& way : layouts(result, false)) {
          for (const double beta : {0.0, 1.0, -2.0}) {
            for (const double alpha : {0.0, 1.0, 3.0}) {
              const Tensor self = beta == 0 ? all_nan(dtype, sizes) : some(dtype, sizes, {}, 3);
              const Tensor out = all_nan(dtype, result, way);
              const auto function =
                  batched ? aoti::abi::resolve<NativeOnednn, imported::cpu_baddbmm_out>()
                          : aoti::abi::resolve<NativeOnednn, imported::cpu_addmm_out>();
              ASSERT_EQ(function(of(out), of(self), of(a), of(b), beta, alpha), 0)
                  << NativeOnednn::last_error();
              const Elements added{self, result};
              expect_near(out, product(&added, Elements{a}, Elements{b}, beta, alpha),
                          std::string{to_string(dtype)} + " beta " + std::to_string(beta));
              if (testing::Test::HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
  const Tensor a = some({3, 4}), b = some({4, 5}), c = some({3, 2}), d = some({2, 5});
  const Tensor out = all_nan(DType::float32, {3, 5});
  ASSERT_EQ(call<imported::_mm_plus_mm_out>(of(out), of(a), of(b), of(c), of(d)), 0);
  const Elements first = product(nullptr, Elements{a}, Elements{b}, 0, 1);
  expect_near(out, product(&first, Elements{c}, Elements{d}, 1, 1), "mm_plus_mm");
}

struct Function {
  const char* name;
  double (*function)(double);
  std::vector<double> scalars = {};
  const char* algorithm = nullptr;
};
double clip(double x, double low, double high) { return std::min(std::max(x, low), high); }
const std::vector<Function>& functions() {
  static const std::vector<Function> all = {
      {"none", [](double x) { return x; }},
      {"relu", [](double x) { return std::max(x, 0.0); }},
      {"leaky_relu", [](double x) { return x > 0 ? x : 0.2 * x; }, {0.2}},
      {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }},
      {"tanh", [](double x) { return std::tanh(x); }},
      {"swish", [](double x) { return x / (1 + std::exp(-x)); }},
      {"hardswish", [](double x) { return x * clip(x / 6 + 0.5, 0, 1); }},
      {"hardsigmoid", [](double x) { return clip(x / 6 + 0.5, 0, 1); }},
      {"hardtanh", [](double x) { return clip(x, -0.2, 0.3); }, {-0.2, 0.3}},
      {"gelu", [](double x) { return x * (1 + std::erf(x / std::sqrt(2.0))) / 2; }, {}, "none"},
      {"gelu",
       [](double x) {
         return x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))) / 2;
       },
       {},
       "tanh"}};
  return all;
}
/// A function's parameters as the C functions take them.
struct Parameters {
  std::vector<const double*> scalars;
  const char* algorithm;
  explicit Parameters(const Function& function) : algorithm{function.algorithm} {
    for (const double& scalar : function.scalars) scalars.push_back(&scalar);
  }
  std::int64_t count() const { return static_cast<std::int64_t>(scalars.size()); }
  const char** algorithm_or_null() { return algorithm != nullptr ? &algorithm : nullptr; }
};

/// x [rows, channels] @ weight.T + bias
Elements linear(const Tensor& x, const Tensor& weight, const Tensor* bias, std::int64_t rows) {
  Elements a{x}, w{weight};
  a.sizes = {rows, w.sizes[1]};
  Elements b{{w.sizes[0]}};
  if (bias != nullptr) b = Elements{*bias};
  Elements out{{rows, w.sizes[0]}};
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < w.sizes[0]; ++j) {
      double& sum = out({i, j}) = b({j});
      for (std::int64_t k = 0; k < w.sizes[1]; ++k) sum += a({i, k}) * w({j, k});
    }
  }
  return out;
}

void linear_layers() {
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    for (const Numbers& sizes : {Numbers{4, 5}, Numbers{2, 3, 5}, Numbers{5}, Numbers{0, 5}}) {
      const std::int64_t rows =
          std::accumulate(sizes.begin(), sizes.end() - 1, std::int64_t{1}, std::multiplies<>{});
      Numbers result = sizes;
      result.back() = 6;
      for (const Numbers& way : {Numbers{5, 1}, Numbers{1, 6}, Numbers{0, 1}, Numbers{7, 1}}) {
        const Tensor x = some(dtype, sizes), weight = some(dtype, {6, 5}, way, 3);
        const Tensor bias = some(dtype, {6}, {2}, 9);
        AtenTensorHandle b = of(bias), out = nullptr;
        for (const Function& function : functions()) {
          for (const bool biased : {false, true}) {
            Parameters parameters{function};
            const Tensor found = made(call<imported::cpu__linear_pointwise>(
                                          of(x), of(weight), biased ? &b : nullptr, function.name,
                                          parameters.scalars.data(), parameters.count(),
                                          parameters.algorithm_or_null(), &out),
                                      &out);
            Elements expected = linear(x, weight, biased ? &bias : nullptr, rows);
            for (double& value : expected.values) value = function.function(value);
            expected.sizes = result;
            expect_near(found, expected, function.name);
            if (testing::Test::HasFatalFailure()) return;
          }
        }
        for (const char* operation : {"add", "sub"}) {
          const double sign = operation[0] == 'a' ? 1 : -1;
          const Tensor other = some(dtype, result, {}, 11);
          const Tensor found = made(call<imported::cpu__linear_pointwise_binary>(
                                        of(x), of(other), of(weight), &b, operation, &out),
                                    &out);
          Elements expected = linear(x, weight, &bias, rows), added{other};
          for (std::size_t i = 0; i < added.values.size(); ++i)
            expected.values[i] += sign * added.values[i];
          expected.sizes = result;
          expect_near(found, expected, operation);
        }
      }
    }
  }
}

/// Without channels, only the bias is left, and a function of it.
void linear_layers_without_channels() {
  const Tensor x = some({2, 3, 0}), weight = some({4, 0}), bias = some({4});
  AtenTensorHandle b = of(bias), out = nullptr;
  const Tensor found = made(call<imported::cpu__linear_pointwise>(of(x), of(weight), &b, "relu",
                                                                  nullptr, 0, nullptr, &out),
                            &out);
  Elements expected{bias, {2, 3, 4}};
  for (double& value : expected.values) value = std::max(value, 0.0);
  expect_near(found, expected, "with a bias");
  expect_near(made(call<imported::cpu__linear_pointwise>(of(x), of(weight), nullptr, "none",
                                                         nullptr, 0, nullptr, &out),
                   &out),
              Elements{{2, 3, 4}}, "without");
}

struct Convolved {
  Numbers input, weight;
  Numbers stride = {1}, padding = {0}, dilation = {1}, output_padding = {0};
  std::int64_t groups = 1;
  bool transposed = false;

  /// For the spatial dimension d of three.
  std::int64_t at(const Numbers& numbers, int d, std::int64_t otherwise) const {
    const int added = 5 - static_cast<int>(input.size());
    if (d < added) return otherwise;
    return numbers[numbers.size() == 1 ? 0 : static_cast<std::size_t>(d - added)];
  }
};

Elements convolution(const Convolved& c, const Tensor& input, const Tensor& weight,
                     const Tensor* bias) {
  Elements x{input}, w{weight};
  while (x.sizes.size() < 5) {
    x.sizes.insert(x.sizes.begin() + 2, 1);
    w.sizes.insert(w.sizes.begin() + 2, 1);
  }
  const std::int64_t groups = c.groups, n = x.sizes[0], ins = x.sizes[1] / groups,
                     outs = c.transposed ? w.sizes[1] : w.sizes[0] / groups;
  Numbers sizes{n, outs * groups};
  for (int d = 0; d < 3; ++d) {
    const auto i = static_cast<std::size_t>(d + 2);
    const std::int64_t stride = c.at(c.stride, d, 1), padding = c.at(c.padding, d, 0),
                       reach = c.at(c.dilation, d, 1) * (w.sizes[i] - 1) + 1;
    sizes.push_back(c.transposed ? (x.sizes[i] - 1) * stride - 2 * padding + reach +
                                       c.at(c.output_padding, d, 0)
                                 : (x.sizes[i] + 2 * padding - reach) / stride + 1);
  }
  Elements out{sizes};
  const auto for_each = [](const Numbers& of_sizes, auto each) {
    for (std::int64_t i = 0; i < of_sizes[2]; ++i) {
      for (std::int64_t j = 0; j < of_sizes[3]; ++j) {
        for (std::int64_t k = 0; k < of_sizes[4]; ++k) each(Numbers{i, j, k});
      }
    }
  };
  // Each element of the smaller tensor (the input if transposed) meets a window of the larger one.
  for_each(c.transposed ? x.sizes : out.sizes, [&](const Numbers& few) {
    for_each(w.sizes, [&](const Numbers& k) {
      Numbers many(3);
      for (int d = 0; d < 3; ++d) {
        const auto i = static_cast<std::size_t>(d);
        many[i] =
            few[i] * c.at(c.stride, d, 1) - c.at(c.padding, d, 0) + k[i] * c.at(c.dilation, d, 1);
        if (many[i] < 0 || many[i] >= (c.transposed ? out : x).sizes[i + 2]) return;
      }
      const Numbers& from = c.transposed ? few : many;
      const Numbers& to = c.transposed ? many : few;
      for (std::int64_t b = 0; b < n; ++b) {
        for (std::int64_t g = 0; g < groups; ++g) {
          for (std::int64_t o = 0; o < outs; ++o) {
            for (std::int64_t i = 0; i < ins; ++i) {
              out({b, g * outs + o, to[0], to[1], to[2]}) +=
                  x({b, g * ins + i, from[0], from[1], from[2]}) *
                  (c.transposed ? w({g * ins + i, o, k[0], k[1], k[2]})
                                : w({g * outs + o, i, k[0], k[1], k[2]}));
            }
          }
        }
      }
    });
  });
  if (bias != nullptr) {
    Elements b{*bias};
    const std::size_t area = static_cast<std::size_t>(sizes[2] * sizes[3] * sizes[4]);
    for (std::size_t i = 0; i < out.values.size(); ++i) {
      out.values[i] += b.values[i / area % b.values.size()];
    }
  }
  out.sizes.erase(out.sizes.begin() + 2,
                  out.sizes.begin() + 2 + static_cast<int>(5 - c.input.size()));
  return out;
}

Numbers channels_last(const Numbers& sizes) {
  Numbers strides(sizes.size());
  std::int64_t step = strides[1] = 1;
  step = sizes[1];
  for (std::size_t d = sizes.size(); d-- > 2; step *= sizes[d]) strides[d] = step;
  strides[0] = step;
  return strides;
}

AOTITorchError convolve(const Convolved& c, const Tensor& input, const Tensor& weight,
                        const Tensor* bias, AtenTensorHandle* out) {
  AtenTensorHandle b = bias != nullptr ? of(*bias) : nullptr;
  const auto size = [](const Numbers& numbers) {
    return static_cast<std::int64_t>(numbers.size());
  };
  return call<imported::cpu_convolution>(
      of(input), of(weight), bias != nullptr ? &b : nullptr, c.stride.data(), size(c.stride),
      c.padding.data(), size(c.padding), c.dilation.data(), size(c.dilation),
      std::int32_t{c.transposed}, c.output_padding.data(), size(c.output_padding), c.groups, out);
}

void convolutions() {
  const std::vector<Convolved> cases = {
      {{2, 3, 9}, {4, 3, 3}, {2}, {1}},
      {{2, 4, 9}, {6, 2, 3}, {1}, {2}, {2}, {0}, 2},
      {{1, 3, 7, 6}, {5, 3, 3, 2}, {1, 2}, {1, 0}},
      {{2, 4, 7, 6}, {4, 1, 3, 3}, {1}, {1}, {1}, {0}, 4},
      {{2, 6, 5, 5}, {4, 3, 1, 1}, {1}, {0}, {1}, {0}, 2},
      {{1, 2, 9, 9}, {3, 2, 3, 3}, {1}, {2}, {2}},
      {{1, 2, 4, 5, 6}, {3, 2, 2, 3, 2}, {1, 2, 1}, {0, 1, 1}},
      {{2, 3, 7}, {3, 4, 3}, {2}, {1}, {1}, {1}, 1, true},
      {{1, 4, 5, 4}, {4, 3, 3, 3}, {2}, {1}, {2}, {1}, 2, true},
      {{1, 2, 3, 4, 3}, {2, 3, 2, 2, 2}, {2}, {0}, {1}, {0}, 1, true},
      {{0, 3, 7, 6}, {5, 3, 3, 2}}};
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16, DType::float64}) {
    for (const Convolved& c : cases) {
      for (const bool last : {false, true}) {
        for (const bool biased : {false, true}) {
          const Numbers way = last ? channels_last(c.input) : Numbers{};
          const Tensor input = some(dtype, c.input, way), weight = some(dtype, c.weight, {}, 3);
          const std::int64_t channels = c.transposed ? c.weight[1] * c.groups : c.weight[0];
          const Tensor bias = some(dtype, {channels}, {3}, 7);
          AtenTensorHandle out = nullptr;
          const Tensor found =
              made(convolve(c, input, weight, biased ? &bias : nullptr, &out), &out);
          if (!found) return;
          expect_near(found, convolution(c, input, weight, biased ? &bias : nullptr),
                      std::string{to_string(dtype)} + testing::PrintToString(c.input) +
                          testing::PrintToString(c.weight));
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

// Rows that each begin inside the previous one.
void convolutions_of_windows() {
  const Convolved c{{1, 2, 4, 6}, {3, 2, 3, 3}};
  const Tensor input = some(c.input, {20, 10, 2, 1}), weight = some(c.weight, {9, 4, 2, 1}, 3);
  AtenTensorHandle out = nullptr;
  expect_near(made(convolve(c, input, weight, nullptr, &out), &out),
              convolution(c, input, weight, nullptr), "windows");
}

void convolutions_fused() {
  const Convolved c{{2, 3, 6, 5}, {4, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}};
  const Numbers result{2, 4, 6, 5};
  const std::int64_t* one = c.stride.data();
  for (const bool last : {false, true}) {
    const Tensor x = some(c.input, last ? channels_last(c.input) : Numbers{});
    const Tensor weight = some(c.weight, {}, 3), bias = some({4}, {}, 7);
    AtenTensorHandle b = of(bias), out = nullptr;
    for (const Function& function : functions()) {
      Parameters parameters{function};
      Elements expected = convolution(c, x, weight, &bias);
      for (double& value : expected.values) value = function.function(value);
      const Tensor found = made(
          call<imported::cpu_mkldnn__convolution_pointwise>(
              of(x), of(weight), &b, one, 2, one, 2, one, 2, 1, function.name,
              parameters.scalars.data(), parameters.count(), parameters.algorithm_or_null(), &out),
          &out);
      expect_near(found, expected, function.name);
    }
    for (const char* operation : {"add", "sub"}) {
      for (const char* then : {"none", "relu"}) {
        double alpha = 0.5;
        const Tensor other = some(result, last ? channels_last(result) : Numbers{}, 5);
        Elements expected = convolution(c, x, weight, &bias), added{other};
        for (std::size_t i = 0; i < added.values.size(); ++i) {
          double& value = expected.values[i] +=
              (operation[0] == 'a' ? alpha : -alpha) * added.values[i];
          if (then[0] == 'r') value = std::max(value, 0.0);
        }
        expect_near(made(call<imported::cpu_mkldnn__convolution_pointwise_binary>(
                             of(x), of(other), of(weight), &b, one, 2, one, 2, one, 2, 1, operation,
                             &alpha, &then, nullptr, 0, nullptr, &out),
                         &out),
                    expected, "add");
        made(call<imported::cpu_mkldnn__convolution_pointwise_binary_>(
                 of(other), of(x), of(weight), &b, one, 2, one, 2, one, 2, 1, operation, &alpha,
                 &then, nullptr, 0, nullptr, &out),
             &out);
        expect_near(other, expected, "add in place");
      }
    }
  }
}

struct Attention {
  Tensor query, key, value, mask;
  bool causal = false;

  AOTITorchError call_it(AtenTensorHandle* outs, double* scale = nullptr) const {
    AtenTensorHandle m = mask ? of(mask) : nullptr;
    return call<imported::cpu__scaled_dot_product_flash_attention_for_cpu>(
        of(query), of(key), of(value), 0.0, std::int32_t{causal}, mask ? &m : nullptr, scale,
        &outs[0], &outs[1]);
  }
  void expect(double scale) const {
    Elements q{query}, k{key}, v{value};
    const Numbers& s = q.sizes;
    const std::int64_t keys = k.sizes[2], shared = s[1] / k.sizes[1];
    Elements m{{s[0], s[1], s[2], keys}}, out{s}, sums{{s[0], s[1], s[2]}};
    if (mask) m = Elements{mask, m.sizes};
    for (std::int64_t b = 0; b < s[0]; ++b) {
      for (std::int64_t h = 0; h < s[1]; ++h) {
        for (std::int64_t i = 0; i < s[2]; ++i) {
          double sum = 0;
          for (std::int64_t j = 0; j < keys && (!causal || j <= i); ++j) {
            double score = 0;
            for (std::int64_t c = 0; c < s[3]; ++c) {
              score += q({b, h, i, c}) * k({b, h / shared, j, c});
            }
            const double share = std::exp(score * scale + m({b, h, i, j}));
            sum += share;
            for (std::int64_t c = 0; c < s[3]; ++c) {
              out({b, h, i, c}) += share * v({b, h / shared, j, c});
            }
          }
          for (std::int64_t c = 0; sum != 0 && c < s[3]; ++c) out({b, h, i, c}) /= sum;
          sums({b, h, i}) = sum != 0 ? std::log(sum) : 0;
        }
      }
    }
    AtenTensorHandle outs[2] = {};
    const AOTITorchError code = call_it(outs, &scale);
    ASSERT_EQ(code, 0) << NativeOnednn::last_error();
    const Tensor found = NativeOnednn::take(outs[0]), found_sums = NativeOnednn::take(outs[1]);
    expect_near(found, out, "attention");
    expect_near(found_sums, sums, "the sums of attention");
  }
};

void attention() {
  constexpr double nothing = -std::numeric_limits<double>::infinity();
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16, DType::float64})
    for (const Numbers& s : {Numbers{2, 4, 5, 8, 2, 7}, Numbers{1, 1, 1, 3, 1, 1},
                             Numbers{1, 2, 40, 16, 2, 40}, Numbers{0, 2, 3, 4, 2, 3}}) {
      if (dtype != DType::float32 && s[0] != 2) continue;
      const Numbers of_query{s[0], s[1], s[2], s[3]}, of_key{s[0], s[4], s[5], s[3]};
      const Tensor q = some(dtype, of_query), k = some(dtype, of_key, {}, 3),
                   v = some(dtype, of_key, {}, 5);
      Elements hole{{s[2], s[5]}};
      for (std::int64_t i = 0; i < s[2]; ++i) {
        for (std::int64_t j = 0; j < s[5]; ++j) hole({i, j}) = i == 0 || j % 3 == 1 ? nothing : 0;
      }
      const Tensor masks[] = {
          {},
          tensor_of(dtype, hole),
          some(dtype == DType::float64 ? dtype : DType::float32, {s[0], s[1], s[2], s[5]}),
          some(dtype, {1, s[1], 1, s[5]}),
          some(dtype, {s[0], 1, s[2], 1}),
          some(dtype, {1, s[5]}, {1, 1})};
      for (const Tensor& mask : masks) {
        for (const bool causal : {false, true}) {
          Attention{q, k, v, mask, causal}.expect(0.3);
          // The heads of one row next to each other; and one row for all.
          Attention{some(dtype, of_query, {s[2] * s[1] * s[3], s[3], s[1] * s[3], 1}),
                    some(dtype, of_key, {0, 0, s[3], 1}), v, mask, causal}
              .expect(-1);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
}

struct Lstm {
  std::int64_t steps, batch, channels, size;
  Tensor x = some({steps, batch, channels}, {channels, steps*channels, 1}),
         w = some({4 * size, channels}, {}, 3), u = some({4 * size, size}, {1, 4 * size}, 5),
         b = some({4 * size}, {2}, 7), d = some({4 * size}, {}, 9), h = some({1, batch, size}),
         c = some({batch, size}, {}, 2);

  AOTITorchError call_it(bool reverse, AtenTensorHandle* outs, std::int64_t hidden_size) const {
    return call<imported::cpu_mkldnn_rnn_layer>(
        of(x), of(w), of(u), of(b), of(d), of(h), of(c), std::int32_t{reverse},
        static_cast<const std::int64_t*>(nullptr), 0, 2, hidden_size, 1, 1, 0, 0, 0, &outs[0],
        &outs[1], &outs[2], &outs[3]);
  }
  void expect(bool reverse) const {
    Elements in{x}, wi{w}, wh{u}, bi{b}, bh{d}, hidden{h}, cell{c}, out{{steps, batch, size}};
    hidden.sizes = {batch, size};
    const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
    for (std::int64_t step = 0; step < steps; ++step) {
      const std::int64_t t = reverse ? steps - 1 - step : step;
      Elements before = hidden;
      for (std::int64_t n = 0; n < batch; ++n) {
        for (std::int64_t i = 0; i < size; ++i) {
          double gates[4];
          for (std::int64_t g = 0; g < 4; ++g) {
            const std::int64_t row = g * size + i;
            double& sum = gates[g] = bi({row}) + bh({row});
            for (std::int64_t k = 0; k < channels; ++k) sum += wi({row, k}) * in({t, n, k});
            for (std::int64_t k = 0; k < size; ++k) sum += wh({row, k}) * before({n, k});
          }
          double& state = cell({n, i});
          state = sigmoid(gates[1]) * state + sigmoid(gates[0]) * std::tanh(gates[2]);
          out({t, n, i}) = hidden({n, i}) = sigmoid(gates[3]) * std::tanh(state);
        }
      }
    }
    hidden.sizes = {1, batch, size};
    AtenTensorHandle outs[4] = {};
    ASSERT_EQ(call_it(reverse, outs, size), 0) << NativeOnednn::last_error();
    const Tensor found[] = {NativeOnednn::take(outs[0]), NativeOnednn::take(outs[1]),
                            NativeOnednn::take(outs[2]), NativeOnednn::take(outs[3])};
    expect_near(found[0], out, "the hidden states");
    expect_near(found[1], hidden, "the last one");
    expect_near(found[2], cell, "the last cell");
    EXPECT_FALSE(found[3].defined());
  }
};

void recurrent_layers() {
  for (const bool reverse : {false, true}) {
    Lstm{5, 3, 4, 6}.expect(reverse);
    Lstm{1, 1, 1, 1}.expect(reverse);
    Lstm{3, 2, 17, 16}.expect(reverse);
    for (const std::int64_t size : {8, 12, 16, 32, 64, 96}) Lstm{4, 1, 5, size}.expect(reverse);
    Lstm{3, 1, 1, 8}.expect(reverse);
    Lstm{260, 1, 64, 8}.expect(reverse);  // whose first product is divided among threads
  }
}

void sums() {
  for (const DType dtype : {DType::float32, DType::float64, DType::int64, DType::int32,
                            DType::float16, DType::bfloat16, DType::int8, DType::int16}) {
    for (const Numbers& way : {Numbers{12, 4, 1}, Numbers{1, 2, 6}, Numbers{0, 4, 1}}) {
      const Tensor x = some(dtype, {2, 3, 4}, way);
      for (std::int64_t d = -3; d < 3; ++d) {
        AtenTensorHandle out = nullptr;
        auto same = static_cast<std::int32_t>(dtype);
        const Tensor found = made(call<imported::cpu_cumsum>(of(x), d, &same, &out), &out);
        Elements expected{x};
        const auto along = static_cast<std::size_t>(d < 0 ? d + 3 : d);
        for (std::int64_t i = 0; i < 2; ++i) {
          for (std::int64_t j = 0; j < 3; ++j) {
            for (std::int64_t k = 0; k < 4; ++k) {
              Numbers before{i, j, k};
              if (before[along]-- > 0) expected({i, j, k}) += expected(before);
            }
          }
        }
        expect_near(found, expected, "cumsum");
      }
    }
    AtenTensorHandle out = nullptr;
    EXPECT_EQ(
        made(call<imported::cpu_cumsum>(of(some(dtype, {3, 0})), 0, nullptr, &out), &out).numel(),
        0);
    expect_near(made(call<imported::cpu_cumsum>(of(some(dtype, {})), 0, nullptr, &out), &out),
                Elements{some(dtype, {})}, "of one element");
  }
}

// Sums of narrow types are accumulated in a wider type.
void narrow_sums() {
  Elements ones{{5000}};
  std::fill(ones.values.begin(), ones.values.end(), 1);
  const std::pair<DType, double> ends[] = {{DType::float16, 5000},
                                           {DType::bfloat16, 4992},
                                           {DType::int8, -120},
                                           {DType::uint8, 136},
                                           {DType::int16, 5000}};
  for (const auto& [dtype, end] : ends) {
    auto same = static_cast<std::int32_t>(dtype);
    AtenTensorHandle out = nullptr;
    const Tensor x = tensor_of(dtype, ones);
    EXPECT_EQ(Elements{made(call<imported::cpu_cumsum>(of(x), 0, &same, &out), &out)}({4999}), end);
    if (is_floating(dtype)) continue;
    const Tensor found = made(call<imported::cpu_cumsum>(of(x), 0, nullptr, &out), &out);
    EXPECT_EQ(found.dtype(), DType::int64);
    EXPECT_EQ(Elements{found}({4999}), 5000);
  }
}

Tensor indices(const std::vector<std::int64_t>& numbers) {
  const Tensor tensor =
      Tensor::empty(DType::int64, Numbers{static_cast<std::int64_t>(numbers.size())}).value();
  std::copy(numbers.begin(), numbers.end(), static_cast<std::int64_t*>(tensor.data()));
  return tensor;
}

void puts() {
  for (const DType dtype : {DType::float32, DType::float64, DType::int64}) {
    for (const bool accumulate : {false, true}) {
      const Tensor rows = indices({0, 4, -1, 2}), columns = indices({5, 1, 2, -6});
      const Tensor self = some(dtype, {5, 6, 3}, {1, 5, 30}), values = some(dtype, {4, 1}, {}, 5);
      const Tensor out = all_nan(dtype, {5, 6, 3});
      const AtenTensorHandle both[] = {of(rows), of(columns)};
      ASSERT_EQ(call<imported::index_put_out>(of(out), of(self), both, 2u, of(values), accumulate),
                0);
      Elements expected{self}, given{values};
      for (std::int64_t i = 0; i < 4; ++i) {
        const std::int64_t row[] = {0, 4, 4, 2}, column[] = {5, 1, 2, 0};
        for (std::int64_t k = 0; k < 3; ++k) {
          double& at = expected({row[i], column[i], k});
          at = (accumulate ? at : 0) + given({i, 0});
        }
      }
      expect_near(out, expected, "index_put");
    }
  }
}

// Masks, and dimensions without an index before, between and after others.
void puts_of_other_indices() {
  const Tensor self = some({3, 4, 2, 5});
  Elements chosen{{3, 4}};
  chosen({0, 1}) = chosen({2, 0}) = chosen({2, 3}) = 1;
  const Tensor mask = tensor_of(DType::boolean, chosen, {1, 3}),
               bytes = tensor_of(DType::uint8, chosen),
               column = tensor_of(DType::int32, Elements{indices({-1, 0})}),
               rows = tensor_of(DType::int64, [] {
                 Elements two{{2, 1}};
                 two({1, 0}) = 2;
                 return two;
               }());
  const auto put = [&](const std::vector<AtenTensorHandle>& at, const Tensor& values) {
    const Tensor out = all_nan(DType::float32, {3, 4, 2, 5});
    EXPECT_EQ(
        call<imported::index_put_out>(of(out), of(self), at.data(),
                                      static_cast<std::uint32_t>(at.size()), of(values), false),
        0)
        << NativeOnednn::last_error();
    return out;
  };
  {  // self[mask] = values
    const Tensor values = some({3, 2, 5}, {}, 5);
    Elements expected{self}, given{values};
    const std::int64_t places[][2] = {{0, 1}, {2, 0}, {2, 3}};
    for (std::int64_t i = 0; i < 3; ++i) {
      for (std::int64_t k = 0; k < 10; ++k) {
        expected({places[i][0], places[i][1], k / 5, k % 5}) = given({i, k / 5, k % 5});
      }
    }
    expect_near(put({of(mask)}, values), expected, "a mask");
    expect_near(put({of(bytes)}, values), expected, "a mask of uint8");
  }
  {  // self[:, column] = values
    const Tensor values = some({3, 2, 2, 5}, {}, 5);
    Elements expected{self}, given{values};
    for (std::int64_t i = 0; i < 3; ++i) {
      for (std::int64_t j = 0; j < 2; ++j) {
        for (std::int64_t k = 0; k < 10; ++k) {
          expected({i, j == 0 ? 3 : 0, k / 5, k % 5}) = given({i, j, k / 5, k % 5});
        }
      }
    }
    expect_near(put({nullptr, of(column)}, values), expected, "after a dimension");
  }
  {  // self[rows, :, :, column] = values; values has the indices' sizes first
    const Tensor values = some({2, 2, 4, 2}, {}, 5);
    Elements expected{self}, given{values};
    for (std::int64_t i = 0; i < 2; ++i) {
      for (std::int64_t j = 0; j < 2; ++j) {
        for (std::int64_t k = 0; k < 8; ++k) {
          expected({i * 2, k / 2, k % 2, j == 0 ? 4 : 0}) = given({i, j, k / 2, k % 2});
        }
      }
    }
    expect_near(put({of(rows), nullptr, nullptr, of(column)}, values), expected, "apart");
  }
}

void sums_at_one_place() {
  const Tensor rows = indices({1, 1, 0}), ones = some({3}, {0});
  for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16, DType::int8,
                            DType::int32, DType::uint8, DType::boolean}) {
    const Tensor self = tensor_of(dtype, Elements{{2}}), out = tensor_of(dtype, Elements{{2}});
    Elements one{{1}};
    one({0}) = 1;
    const AtenTensorHandle at[] = {of(rows)};
    ASSERT_EQ(
        call<imported::index_put_out>(of(out), of(self), at, 1u, of(tensor_of(dtype, one)), true),
        0);
    EXPECT_EQ(Elements{out}.values, (std::vector<double>{1, dtype == DType::boolean ? 1.0 : 2.0}))
        << to_string(dtype);
  }
}

struct Check {
  const char* name;
  void (*run)();
};
constexpr Check checks[] = {{"Products", products},
                            {"ProductsAdded", products_added},
                            {"LinearLayers", linear_layers},
                            {"LinearLayersWithoutChannels", linear_layers_without_channels},
                            {"Convolutions", convolutions},
                            {"ConvolutionsOfWindows", convolutions_of_windows},
                            {"ConvolutionsFused", convolutions_fused},
                            {"Attention", attention},
                            {"RecurrentLayers", recurrent_layers},
                            {"Sums", sums},
                            {"NarrowSums", narrow_sums},
                            {"Puts", puts},
                            {"PutsOfOtherIndices", puts_of_other_indices},
                            {"SumsAtOnePlace", sums_at_one_place}};

class Operators : public testing::TestWithParam<Check> {};
TEST_P(Operators, AreWhatTheirDefinitionsSay) { GetParam().run(); }
INSTANTIATE_TEST_SUITE_P(Onednn, Operators, testing::ValuesIn(checks), ByName{});

TEST(Onednn, ServesSeveralThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 2; ++i) {
    threads.emplace_back([i] {
      for (std::size_t k = 0; k < std::size(checks); ++k) {
        checks[(k + i * 3) % std::size(checks)].run();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// A convolution whose weight oneDNN wants packed.
struct PackedConvolution {
  const Convolved c{{1, 16, 6, 5}, {16, 16, 3, 3}, {1, 1}, {1, 1}, {1, 1}};
  const Tensor x = some(c.input), weight = some(c.weight, {}, 3);
  const Elements expected = convolution(c, x, weight, nullptr);

  AOTITorchError run(AtenTensorHandle* out) const { return convolve(c, x, weight, nullptr, out); }
  void expect_right() const {
    AtenTensorHandle out = nullptr;
    expect_near(made(run(&out), &out), expected, "convolution");
  }
};
std::uint64_t weights_packed() { return aoti::detail::onednn::PackedWeight::made.load(); }

TEST(Onednn, PacksAWeightOnceWhileItDoesNotChange) {
  const PackedConvolution packed;
  const std::uint64_t before = weights_packed();
  packed.expect_right();
  EXPECT_EQ(weights_packed(), before);
  NativeOnednn::freeze(of(packed.weight));
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) threads.emplace_back([&] { packed.expect_right(); });
  for (std::thread& thread : threads) thread.join();
  packed.expect_right();
  EXPECT_EQ(weights_packed(), before + 1);

  const PackedConvolution thawed;
  NativeOnednn::freeze(of(thawed.weight));
  thawed.expect_right();
  NativeOnednn::thaw(of(thawed.weight));
  EXPECT_EQ(weights_packed(), before + 2);
  const auto numbers = thawed.weight.elements<float>().value();
  for (float& number : numbers) number *= 2;
  Elements doubled = thawed.expected;
  for (double& number : doubled.values) number *= 2;
  AtenTensorHandle out = nullptr;
  expect_near(made(thawed.run(&out), &out), doubled, "thawed");
  EXPECT_EQ(weights_packed(), before + 2);
}

TEST(Onednn, CountsTheMemoryOfPackedWeights) {
  const std::uint64_t before = aoti::Onednn::packed_bytes();
  {
    const PackedConvolution packed;
    NativeOnednn::freeze(of(packed.weight));
    EXPECT_EQ(aoti::Onednn::packed_bytes(), before);
    packed.expect_right();
    packed.expect_right();
    EXPECT_GE(aoti::Onednn::packed_bytes(), before + packed.weight.numel() * sizeof(float));
  }
  EXPECT_EQ(aoti::Onednn::packed_bytes(), before);
}

TEST(Onednn, PacksTheWeightsOfAnLstmOnce) {
  Lstm lstm{4, 1, 32, 32};
  lstm.u = some({4 * lstm.size, lstm.size}, {}, 5);
  NativeOnednn::freeze(of(lstm.w));
  NativeOnednn::freeze(of(lstm.u));
  const std::uint64_t before = weights_packed();
  for (const bool reverse : {false, true, false}) {
    lstm.expect(reverse);
    EXPECT_EQ(weights_packed(), before + 2);
  }
}

TEST(Onednn, PacksTheMatrixOfAProductOnce) {
  const Tensor a = some({5, 32}), b = some({32, 48}, {}, 3), row = some({48}, {}, 7);
  NativeOnednn::freeze(of(b));
  const std::uint64_t before = weights_packed();
  const Elements added{row, {5, 48}};
  for (const auto& [beta, alpha] : {std::pair{1.0, 1.0}, {0.0, 1.0}, {1.0, 2.0}, {-2.0, 1.0}}) {
    const Tensor out = all_nan(DType::float32, {5, 48});
    ASSERT_EQ(call<imported::cpu_addmm_out>(of(out), of(row), of(a), of(b), beta, alpha), 0);
    expect_near(out, product(&added, Elements{a}, Elements{b}, beta, alpha), "frozen");
  }
  EXPECT_LE(weights_packed(), before + 1);  // none where oneDNN has no better order

  // The row lies where the result is written.
  const Tensor out = some({5, 48});
  const Tensor first = Tensor::borrow(DType::float32, out.data(), Numbers{48}).value();
  const Elements read{first, {5, 48}}, expected = product(&read, Elements{a}, Elements{b}, 1, 1);
  ASSERT_EQ(call<imported::cpu_addmm_out>(of(out), of(first), of(a), of(b), 1.0, 1.0), 0);
  expect_near(out, expected, "a row of the result");

  const Tensor nothing = some({5, 0}), none = some({0, 48});
  NativeOnednn::freeze(of(none));
  ASSERT_EQ(call<imported::cpu_addmm_out>(of(out), of(row), of(nothing), of(none), 1.0, 1.0), 0);
  expect_near(out, added, "a product of nothing");
}

TEST(Onednn, PacksTheWeightOfADisjointConvolution) {
  for (const bool last : {false, true}) {
    const Convolved c{{2, 16, 3, 5}, {16, 8, 2, 3}, {2, 3}, {0}, {1}, {0}, 1, true};
    const Tensor x = some(c.input, channels_last(c.input)), bias = some({8}, {}, 7);
    const Tensor weight = some(c.weight, last ? channels_last(c.weight) : Numbers{}, 3);
    const std::uint64_t before = weights_packed();
    NativeOnednn::freeze(of(weight));
    for (const Tensor* added : {static_cast<const Tensor*>(nullptr), &bias}) {
      AtenTensorHandle out = nullptr;
      expect_near(made(convolve(c, x, weight, added, &out), &out), convolution(c, x, weight, added),
                  "disjoint");
    }
    EXPECT_LE(weights_packed(), before + 1);
  }
}

TEST(Onednn, PacksAWeightAsTheOneThatItReplaces) {
  const PackedConvolution packed;
  const Tensor next = some(packed.c.weight, {}, 5), other = some({16, 16, 3, 2});
  const std::uint64_t before = weights_packed();
  NativeOnednn::repack(of(next), of(packed.weight));  // neither is frozen
  NativeOnednn::freeze(of(packed.weight));
  packed.expect_right();
  for (const Tensor* tensor : {&next, &other}) NativeOnednn::freeze(of(*tensor));
  EXPECT_EQ(weights_packed(), before + 1);
  for (int i = 0; i < 2; ++i) {
    NativeOnednn::repack(of(next), of(packed.weight));
    NativeOnednn::repack(of(other), of(packed.weight));  // has another shape
    EXPECT_EQ(weights_packed(), before + 2);
  }
  AtenTensorHandle out = nullptr;
  expect_near(made(convolve(packed.c, packed.x, next, nullptr, &out), &out),
              convolution(packed.c, packed.x, next, nullptr), "replaced");
  EXPECT_EQ(weights_packed(), before + 2);

  const Tensor last = some(packed.c.weight, {}, 6);
  NativeOnednn::freeze(of(last));
  aoti::detail::Pool::trim();
  allocations_left = 0;
  NativeOnednn::repack(of(last), of(packed.weight));
  allocations_left = always;
  EXPECT_EQ(weights_packed(), before + 2);
}

TEST(Onednn, DoesNotPackMemoryThatOthersOwn) {
  const PackedConvolution packed;
  const Tensor borrowed =
      Tensor::borrow(DType::float32, packed.weight.data(), packed.c.weight).value();
  const std::uint64_t before = weights_packed();
  NativeOnednn::freeze(of(borrowed));
  AtenTensorHandle out = nullptr;
  expect_near(made(convolve(packed.c, packed.x, borrowed, nullptr, &out), &out), packed.expected,
              "borrowed");
  EXPECT_EQ(weights_packed(), before);
}

TEST(Onednn, PacksInEachCallWhenMemoryHasRunOut) {
  for (int left = 0, failed = 1; failed != 0; ++left) {
    const PackedConvolution packed;
    aoti::detail::Pool::trim();
    allocations_left = left;
    NativeOnednn::freeze(of(packed.weight));
    AtenTensorHandle out = nullptr;
    failed = packed.run(&out);
    allocations_left = always;
    if (failed == 0) expect_near(made(failed, &out), packed.expected, "little memory");
    packed.expect_right();
  }
}

TEST(Onednn, GivesTheThreadsBackAfterSmallWork) {
  using aoti::detail::onednn::OneThread;
  const auto get = reinterpret_cast<int (*)()>(::dlsym(RTLD_DEFAULT, "omp_get_max_threads"));
  const auto set = reinterpret_cast<void (*)(int)>(::dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  if (get == nullptr || set == nullptr) GTEST_SKIP() << "this oneDNN does not use OpenMP";
  const int before = get();
  set(3);
  {
    const OneThread alone{true};
    EXPECT_EQ(get(), 1);
  }
  {
    const OneThread all{false};
    EXPECT_EQ(get(), 3);
  }
  AtenTensorHandle outs[4] = {};
  ASSERT_EQ((Lstm{5, 3, 4, 6}.call_it(false, outs, 6)), 0);
  for (AtenTensorHandle out : outs) NativeOnednn::destroy(out);
  EXPECT_EQ(get(), 3);
  set(before);
}

TEST(Onednn, RefusesUndefinedTensors) {
  AtenTensorHandle undefined = nullptr, out = nullptr;
  ASSERT_EQ(aoti::NativeFunctions::new_uninitialized_tensor(&undefined), 0);
  expect_failure(call<imported::cpu_cumsum>(undefined, 0, nullptr, &out),
                 "the tensor is undefined");
  const Tensor a = some({2, 2});
  expect_failure(
      call<imported::cpu_addmm_out>(of(a), undefined, of(some({2, 2})), of(some({2, 2})), 1.0, 1.0),
      "the tensor is undefined");
  expect_failure(call<imported::cpu_mm_out>(of(a), undefined, of(a)), "number of dimensions");
  NativeOnednn::destroy(undefined);
}

/// The same memory with rows and columns swapped.
Tensor columns_of(const Tensor& tensor) {
  return Tensor::borrow(tensor.dtype(), tensor.data(), Numbers{3, 3}, Numbers{1, 3}).value();
}

TEST(Onednn, ReadsWhatIsAddedBeforeItWritesToTheSameMemory) {
  const Tensor out = some({3, 3}), self = columns_of(out), a = some({3, 2}), b = some({2, 3});
  const Elements before{self}, expected = product(&before, Elements{a}, Elements{b}, 1, 1);
  ASSERT_EQ(call<imported::cpu_addmm_out>(of(out), of(self), of(a), of(b), 1.0, 1.0), 0);
  expect_near(out, expected, "addmm");
}

TEST(Onednn, PutsIntoTheSameMemoryInAnotherOrder) {
  const Tensor out = some({3, 3}), self = columns_of(out), row = indices({1});
  const AtenTensorHandle at[] = {of(row)};
  Elements expected{self}, given{self};
  for (std::int64_t i = 0; i < 3; ++i) expected({1, i}) = given({0, i});
  const Tensor first = Tensor::borrow(DType::float32, out.data(), Numbers{3}, Numbers{3}).value();
  ASSERT_EQ(call<imported::index_put_out>(of(out), of(self), at, 1u, of(first), false), 0);
  expect_near(out, expected, "index_put");
}

TEST(Onednn, PutsNothingWhereAnIndexIsOutOfRange) {
  const Tensor out = some({5}), self = some({5}, {}, 3), values = some({3}, {}, 7);
  const Elements before{out};
  for (const std::int64_t wrong : {5, -6}) {
    const Tensor index = indices({0, 1, wrong});
    const AtenTensorHandle at[] = {of(index)};
    expect_failure(call<imported::index_put_out>(of(out), of(self), at, 1u, of(values), false),
                   "an index is out of range");
    EXPECT_EQ(Elements{out}.values, before.values);
  }
}

TEST(Onednn, RefusesHiddenSizesThatCannotBe) {
  const Lstm lstm{5, 3, 4, 6};
  AtenTensorHandle outs[4] = {};
  for (const std::int64_t size : {std::int64_t{-1}, std::int64_t{0}, always}) {
    expect_failure(lstm.call_it(false, outs, size), "there is no such hidden size");
  }
  expect_failure(lstm.call_it(false, outs, 5), "the sizes do not match");
}

// Each call fails, and leaks nothing, whichever allocation of the pool fails.
TEST(Onednn, SaysThatMemoryHasRunOut) {
  const Tensor a = some({3, 4, 5}, {60, 10, 2}), b = some({3, 5, 6}, {60, 12, 2}),
               out = some({3, 4, 6}, {48, 12, 2}), x = some({4, 5}, {10, 2}),
               weight = some({6, 5}, {10, 2}), bias = some({6}, {2}), other = some({4, 6});
  const Convolved c{{1, 3, 6, 5}, {4, 3, 3, 3}};
  const Tensor image = some(c.input, {90, 0, 5, 1}), filter = some(c.weight, {0, 9, 3, 1});
  const Attention attend{some({1, 2, 3, 4}, {24, 12, 0, 1}), some({1, 2, 3, 4}, {24, 12, 0, 1}),
                         some({1, 2, 3, 4}, {24, 12, 0, 1}), some({3, 3})};
  const Lstm lstm{5, 3, 4, 6};
  const Tensor rows = indices({1, 2}), values = some({4, 6});
  AtenTensorHandle by = of(bias), outs[4] = {};
  const AtenTensorHandle at[] = {of(rows)};
  struct Call {
    const char* name;
    std::size_t outs;
    std::function<AOTITorchError()> call;
  };
  const Call calls[] = {
      {"baddbmm", 0,
       [&] { return call<imported::cpu_baddbmm_out>(of(out), of(out), of(a), of(b), 1.0, 1.0); }},
      {"linear", 1,
       [&] {
         return call<imported::cpu__linear_pointwise_binary>(of(x), of(other), of(weight), &by,
                                                             "add", outs);
       }},
      {"convolution", 1, [&] { return convolve(c, image, filter, nullptr, outs); }},
      {"attention", 2, [&] { return attend.call_it(outs); }},
      {"lstm", 4, [&] { return lstm.call_it(false, outs, 6); }},
      {"cumsum", 1, [&] { return call<imported::cpu_cumsum>(of(x), 0, nullptr, outs); }},
      {"index_put", 0,
       [&] { return call<imported::index_put_out>(of(out), of(out), at, 1u, of(values), false); }}};
  for (const Call& tried : calls) {
    NativeOnednn::trim();
    const std::size_t before = aoti::detail::Pool::reserved();
    for (std::int64_t count = 0;; ++count) {
      ASSERT_LT(count, 20) << tried.name;
      NativeOnednn::trim();
      allocations_left = count;
      const AOTITorchError code = tried.call();
      allocations_left = always;
      if (code == 0) {
        EXPECT_GT(count, 0) << tried.name;
        break;
      }
      EXPECT_THAT(NativeOnednn::last_error(), testing::HasSubstr("out of memory")) << tried.name;
    }
    for (std::size_t i = 0; i < tried.outs; ++i) NativeOnednn::destroy(outs[i]);
    NativeOnednn::trim();
    EXPECT_EQ(aoti::detail::Pool::reserved(), before) << tried.name;
  }
}

}  // namespace
}  // namespace aoti_test
