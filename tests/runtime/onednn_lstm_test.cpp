// The steps of an LSTM layer with each instruction set that this processor has, compared with the
// same in double.
#include "aoti/runtime/onednn/lstm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace aoti_test {
namespace {

using namespace aoti::detail::onednn;

using Floats = std::vector<float>;

struct Layer {
  std::int64_t steps, hidden;
  Floats sums, weights, h, c;

  Layer(std::int64_t count, std::int64_t size, float scale) : steps{count}, hidden{size} {
    std::mt19937 random{1};
    std::normal_distribution<float> normal;
    const auto fill = [&](Floats& numbers, std::int64_t length, float by) {
      numbers.resize(static_cast<std::size_t>(length));
      for (float& number : numbers) number = by * normal(random);
    };
    fill(sums, steps * 4 * hidden, scale);
    fill(weights, 4 * hidden * hidden, 0.2f);
    fill(h, hidden, 1);
    fill(c, hidden, scale);
  }

  float weight(std::int64_t gate, std::int64_t unit, std::int64_t from) const {
    return weights[static_cast<std::size_t>((gate * hidden + unit) * hidden + from)];
  }

  struct Result {
    Floats out, h, c;
  };
  template <class Steps> Result run(bool reverse) const {
    const std::int64_t width = Steps::width;
    Floats packed;
    for (std::int64_t first = 0; first < hidden; first += width) {
      for (std::int64_t from = 0; from < hidden; ++from) {
        for (std::int64_t gate = 0; gate < 4; ++gate) {
          for (std::int64_t i = 0; i < width; ++i) packed.push_back(weight(gate, first + i, from));
        }
      }
    }
    Result result{Floats(static_cast<std::size_t>(steps * hidden)), h, c};
    const auto at = [](const Floats& numbers) { return const_cast<float*>(numbers.data()); };
    void* const data[] = {at(sums),       at(packed),   at(h),       at(c),
                          at(result.out), at(result.h), at(result.c)};
    const std::int64_t numbers[] = {steps, hidden, reverse};
    Steps::run(data, numbers);
    return result;
  }

  template <class Steps> void expect(bool reverse) const {
    const Result found = run<Steps>(reverse);
    const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
    std::vector<double> state(h.begin(), h.end()), cell(c.begin(), c.end());
    for (std::int64_t i = 0; i < steps; ++i) {
      const std::int64_t step = reverse ? steps - 1 - i : i;
      const std::vector<double> before = state;
      for (std::int64_t unit = 0; unit < hidden; ++unit) {
        double gates[4];
        for (std::int64_t gate = 0; gate < 4; ++gate) {
          double& sum = gates[gate];
          sum = sums[static_cast<std::size_t>((step * 4 + gate) * hidden + unit)];
          for (std::int64_t k = 0; k < hidden; ++k) {
            sum += before[static_cast<std::size_t>(k)] * weight(gate, unit, k);
          }
        }
        const auto j = static_cast<std::size_t>(unit);
        cell[j] = sigmoid(gates[1]) * cell[j] + sigmoid(gates[0]) * std::tanh(gates[2]);
        state[j] = sigmoid(gates[3]) * std::tanh(cell[j]);
        ASSERT_NEAR(found.out[static_cast<std::size_t>(step * hidden + unit)], state[j], 4e-6);
      }
    }
    for (std::size_t j = 0; j < state.size(); ++j) {
      ASSERT_NEAR(found.h[j], state[j], 4e-6);
      ASSERT_NEAR(found.c[j], cell[j], 4e-6 * (1 + std::abs(cell[j])));
    }
  }
};

template <class Steps> void expect_all() {
  for (const std::int64_t units : {1, 2, 3}) {
    for (const bool reverse : {false, true}) {
      Layer{6, units * Steps::width, 1}.expect<Steps>(reverse);
      Layer{3, units * Steps::width, 40}.expect<Steps>(reverse);
    }
  }
  // Small numbers keep their digits.
  Layer small{1, Steps::width, 1e-4f};
  for (float& h : small.h) h = 0;
  const auto found = small.run<Steps>(false);
  for (std::size_t i = 0; i < small.c.size(); ++i) {
    const auto gate = [&](std::size_t g) { return double{small.sums[g * small.c.size() + i]}; };
    const double in = 1 / (1 + std::exp(-gate(0))), kept = 1 / (1 + std::exp(-gate(1))),
                 expected = kept * small.c[i] + in * std::tanh(gate(2));
    ASSERT_NEAR(found.c[i], expected,
                3e-7 * (std::abs(kept * small.c[i]) + std::abs(in * gate(2))));
  }
  // What is no number stays so.
  small.sums[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(small.run<Steps>(false).out[0]));
}

TEST(Lstm, IsThatOfDoubles) { expect_all<LstmPlain>(); }

#if defined(__x86_64__)
TEST(Lstm, IsThatOfDoublesWithAvx2) {
  if (__builtin_cpu_supports("avx2") == 0 || __builtin_cpu_supports("fma") == 0) {
    GTEST_SKIP() << "this processor has no AVX2";
  }
  expect_all<LstmAvx2>();
}

TEST(Lstm, IsThatOfDoublesWithAvx512) {
  if (__builtin_cpu_supports("avx512f") == 0) GTEST_SKIP() << "this processor has no AVX-512";
  expect_all<LstmAvx512>();
}
#endif

TEST(Lstm, TakesTheWidestThatDividesTheState) {
  EXPECT_EQ(LstmSteps::of(7).run, nullptr);
  EXPECT_EQ(LstmSteps::of(8).run, &LstmPlain::run);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") == 0 || __builtin_cpu_supports("fma") == 0) return;
  EXPECT_EQ(LstmSteps::of(48).run, &LstmAvx2::run);
  const bool wider = __builtin_cpu_supports("avx512f") != 0;
  EXPECT_EQ(LstmSteps::of(96).run, wider ? &LstmAvx512::run : &LstmAvx2::run);
#endif
}

}  // namespace
}  // namespace aoti_test
