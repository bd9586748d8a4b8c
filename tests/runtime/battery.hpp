// What every tensor runtime must do. A file for one runtime specialises RuntimeCase and has
//   INSTANTIATE_TYPED_TEST_SUITE_P(Name, RuntimeBattery, Runtime);
#pragma once

#include <aoti/runtime/runtime.hpp>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "runtime/runtime_case.hpp"

namespace aoti_test {

template <class Runtime> class RuntimeBattery : public testing::Test {};
TYPED_TEST_SUITE_P(RuntimeBattery);

inline const std::vector<float> six{1, 2, 3, 4, 5, 6};

inline std::vector<std::int64_t> numbers(std::span<const std::int64_t> span) {
  return {span.begin(), span.end()};
}

TYPED_TEST_P(RuntimeBattery, TellsDefinedTensorsFromUndefinedOnes) {
  using Case = RuntimeCase<TypeParam>;
  static_assert(aoti::TensorRuntime<TypeParam>);
  typename TypeParam::Tensor tensor;
  EXPECT_FALSE(TypeParam::is_defined(tensor));
  EXPECT_FALSE(TypeParam::is_strided(tensor));
  EXPECT_FALSE(TypeParam::is_strided_on(tensor, aoti::DeviceType::cpu));
  tensor = Case::template make<float>({2, 3}, six, {});
  EXPECT_TRUE(TypeParam::is_defined(tensor));
  EXPECT_TRUE(TypeParam::is_strided(tensor));
  const auto moved = std::move(tensor);
  EXPECT_TRUE(TypeParam::is_defined(moved));
  EXPECT_FALSE(
      TypeParam::is_defined(tensor));  // NOLINT(bugprone-use-after-move): that is the point
}

TYPED_TEST_P(RuntimeBattery, DescribesTensors) {
  using Case = RuntimeCase<TypeParam>;
  using Numbers = std::vector<std::int64_t>;
  const struct {
    Numbers sizes, given, strides;
    bool row_major;
  } cases[] = {
      {{2, 3}, {}, {3, 1}, true},
      {{2, 3}, {1, 2}, {1, 2}, false},
      {{2, 3}, {4, 1}, {4, 1}, false},
      {{1, 6}, {9, 1}, {9, 1}, true},
      {{6}, {}, {1}, true},
      {{3, 1, 2}, {2, 2, 1}, {2, 2, 1}, true},
  };
  for (const auto& [sizes, given, strides, row_major] : cases) {
    const auto tensor = Case::template make<float>(sizes, six, given);
    EXPECT_EQ(TypeParam::dtype(tensor), aoti::DType::float32);
    EXPECT_EQ(TypeParam::device(tensor), aoti::DeviceType::cpu);
    EXPECT_TRUE(TypeParam::is_strided_on(tensor, aoti::DeviceType::cpu));
    EXPECT_FALSE(TypeParam::is_strided_on(tensor, aoti::DeviceType::cuda));
    EXPECT_EQ(numbers(TypeParam::sizes(tensor)), sizes);
    EXPECT_EQ(numbers(TypeParam::strides(tensor)), strides);
    EXPECT_EQ(TypeParam::is_row_major(tensor), row_major)
        << testing::PrintToString(sizes) << testing::PrintToString(strides);
  }
  const auto scalar = Case::template make<float>({}, {7}, {});
  EXPECT_TRUE(TypeParam::sizes(scalar).empty());
  EXPECT_TRUE(TypeParam::is_row_major(scalar));
  const auto none = Case::template make<float>({0, 3}, {}, {});
  EXPECT_EQ(TypeParam::sizes(none)[0], 0);
  EXPECT_TRUE(TypeParam::is_row_major(none));
}

TYPED_TEST_P(RuntimeBattery, SharesMemoryThroughHandles) {
  using Case = RuntimeCase<TypeParam>;
  auto tensor = Case::template make<float>({2, 3}, six, {});
  const void* data = Case::data(tensor);
  const AtenTensorHandle first = TypeParam::share(tensor), second = TypeParam::share(tensor);
  ASSERT_NE(first, nullptr);
  ASSERT_NE(second, nullptr);
  EXPECT_NE(first, second);
  EXPECT_TRUE(TypeParam::is_defined(tensor));
  EXPECT_EQ(Case::data(TypeParam::peek(first)), data);
  EXPECT_EQ(Case::data(TypeParam::peek(first)), data);
  tensor = typename TypeParam::Tensor{};  // the handles keep the memory
  const auto taken = TypeParam::take(first);
  EXPECT_EQ(Case::data(taken), data);
  TypeParam::destroy(second);
  EXPECT_EQ(Case::template elements<float>(taken), six);
}

TYPED_TEST_P(RuntimeBattery, GivesTensorsAway) {
  using Case = RuntimeCase<TypeParam>;
  auto tensor = Case::template make<float>({2, 3}, six, {});
  const void* data = Case::data(tensor);
  const AtenTensorHandle handle = TypeParam::give(std::move(tensor));
  ASSERT_NE(handle, nullptr);
  EXPECT_FALSE(
      TypeParam::is_defined(tensor));  // NOLINT(bugprone-use-after-move): that is the point
  const auto taken = TypeParam::take(handle);
  EXPECT_EQ(Case::data(taken), data);
  EXPECT_EQ(Case::template elements<float>(taken), six);
}

TYPED_TEST_P(RuntimeBattery, LaysMemoryOutAnew) {
  using Case = RuntimeCase<TypeParam>;
  using Numbers = std::vector<std::int64_t>;
  const struct {
    Numbers sizes, from;
    std::vector<int> order;
    Numbers to;
  } cases[] = {
      {{2, 3}, {1, 2}, {}, {3, 1}},
      {{2, 3}, {}, {1, 0}, {1, 2}},
      {{2, 3}, {5, 1}, {0, 1}, {3, 1}},
      {{3, 1, 2}, {}, {2, 0, 1}, {1, 1, 3}},
      {{1, 2, 3, 1}, {}, {0, 2, 3, 1}, {6, 1, 2, 2}},
  };
  for (const auto& [sizes, from, order, to] : cases) {
    const auto tensor = Case::template make<float>(sizes, six, from);
    const auto copy = TypeParam::reordered(tensor, order);
    EXPECT_EQ(Case::template elements<float>(copy), six);
    EXPECT_NE(Case::data(copy), Case::data(tensor));
    EXPECT_EQ(numbers(TypeParam::sizes(copy)), sizes);
    for (std::size_t d = 0; d < sizes.size(); ++d) {
      EXPECT_TRUE(sizes[d] == 1 || TypeParam::strides(copy)[d] == to[d]) << d;
    }
  }
}

TYPED_TEST_P(RuntimeBattery, ProvidesFunctionsByName) {
  EXPECT_NE(TypeParam::import("aoti_torch_delete_tensor_object"), nullptr);
  EXPECT_NE(TypeParam::import("aoti_torch_empty_strided"), nullptr);
  EXPECT_EQ(TypeParam::import("aoti_torch_no_such_function"), nullptr);
}

REGISTER_TYPED_TEST_SUITE_P(RuntimeBattery, TellsDefinedTensorsFromUndefinedOnes, DescribesTensors,
                            SharesMemoryThroughHandles, GivesTensorsAway, LaysMemoryOutAnew,
                            ProvidesFunctionsByName);

}  // namespace aoti_test
