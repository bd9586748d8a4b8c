#include <aoti/runtime/tensor.hpp>

#include <array>
#include <cstdint>
#include <limits>
#include <numeric>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/support.hpp"

namespace {

using aoti::DType;
using aoti::Errc;
using aoti::Tensor;
using aoti_test::expect_error;
using aoti_test::good;
using testing::ElementsAre;

static_assert(sizeof(Tensor) == sizeof(void*));
static_assert(std::is_nothrow_copy_constructible_v<Tensor>);
static_assert(std::is_nothrow_move_assignable_v<Tensor>);
static_assert(aoti::dtype_of<const float> == DType::float32);
static_assert(aoti::dtype_of<bool> == DType::boolean);
static_assert(aoti::dtype_of<long> == DType::int64 && aoti::dtype_of<long long> == DType::int64);
static_assert(aoti::dtype_of<unsigned char> == DType::uint8);

template <class T> T value_of(aoti::Result<T> result) {
  EXPECT_TRUE(good(result));
  return std::move(result).value();
}

TEST(Tensor, IsUndefinedUnlessItIsMade) {
  Tensor tensor;
  EXPECT_FALSE(tensor.defined());
  EXPECT_EQ(tensor.data(), nullptr);
  EXPECT_TRUE(tensor.sizes().empty());
  EXPECT_TRUE(tensor.strides().empty());
  expect_error(tensor.elements<float>(), Errc::undefined_tensor);
  expect_error(tensor.clone(), Errc::undefined_tensor);
  tensor = value_of(Tensor::empty(DType::float32, {2}));
  EXPECT_TRUE(tensor.defined());
  const Tensor moved = std::move(tensor);
  EXPECT_FALSE(tensor.defined());  // NOLINT(bugprone-use-after-move): that is the point
  EXPECT_TRUE(moved.defined());
}

TEST(Tensor, OwnsMemory) {
  const Tensor tensor = value_of(Tensor::empty(DType::float64, {2, 3, 4}));
  EXPECT_EQ(tensor.dtype(), DType::float64);
  EXPECT_EQ(tensor.rank(), 3u);
  EXPECT_EQ(tensor.numel(), 24);
  EXPECT_THAT(tensor.sizes(), ElementsAre(2, 3, 4));
  EXPECT_THAT(tensor.strides(), ElementsAre(12, 4, 1));
  EXPECT_TRUE(tensor.is_row_major());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data()) % 64, 0u);
  auto elements = value_of(tensor.elements<double>());
  ASSERT_EQ(elements.size(), 24u);
  std::iota(elements.begin(), elements.end(), 0.0);
  const Tensor copy = value_of(tensor.clone());
  EXPECT_NE(copy.data(), tensor.data());
  EXPECT_THAT(value_of(copy.elements<double>()), testing::ElementsAreArray(elements));
}

TEST(Tensor, CopiesShareTheMemory) {
  Tensor first = value_of(Tensor::empty(DType::int32, {2}));
  const Tensor second = first;
  EXPECT_EQ(second.data(), first.data());
  value_of(first.elements<int>())[0] = 7;
  first = Tensor{};
  EXPECT_EQ(value_of(second.elements<int>())[0], 7);
}

TEST(Tensor, HasScalarsAndEmptyOnes) {
  const Tensor scalar = value_of(Tensor::empty(DType::int64, {}));
  EXPECT_EQ(scalar.rank(), 0u);
  EXPECT_EQ(scalar.numel(), 1);
  const Tensor none = value_of(Tensor::empty(DType::int64, {3, 0, 2}));
  EXPECT_EQ(none.numel(), 0);
  EXPECT_TRUE(none.is_row_major());
  EXPECT_TRUE(value_of(none.elements<std::int64_t>()).empty());
  EXPECT_TRUE(good(Tensor::borrow(static_cast<float*>(nullptr), {0})));
}

TEST(Tensor, BorrowsByPointerSpanAndShape) {
  std::vector<float> data{1, 2, 3, 4, 5, 6};
  const Tensor by_pointer = value_of(Tensor::borrow(data.data(), {2, 3}));
  EXPECT_EQ(by_pointer.data(), data.data());
  EXPECT_EQ(by_pointer.dtype(), DType::float32);
  const Tensor by_span = value_of(Tensor::borrow(std::span{data}, {3, 2}));
  EXPECT_THAT(by_span.sizes(), ElementsAre(3, 2));
  const std::array<const std::uint8_t, 4> bytes{1, 2, 3, 4};
  EXPECT_EQ(value_of(Tensor::borrow(std::span{bytes}, {4})).dtype(), DType::uint8);

  expect_error(Tensor::borrow(std::span{data}, {2, 2}), Errc::invalid_argument,
               {"span of 6 elements", "expected 4", "2, 2"});

  const std::array<std::int64_t, 2> sizes{2, 2}, strides{3, 1};
  const std::vector<std::int64_t> sizes_at_run_time{3, 2};
  EXPECT_THAT(value_of(Tensor::borrow(data.data(), sizes_at_run_time)).sizes(), ElementsAre(3, 2));
  EXPECT_THAT(value_of(Tensor::borrow(std::span{data}, sizes_at_run_time)).sizes(),
              ElementsAre(3, 2));
  expect_error(Tensor::borrow(std::span{data}, sizes), Errc::invalid_argument, {"expected 4"});
  const Tensor typed = value_of(Tensor::borrow(data.data() + 1, sizes, strides));
  EXPECT_THAT(typed.strides(), ElementsAre(3, 1));

  const Tensor strided = value_of(Tensor::borrow(DType::float32, data.data() + 1, sizes, strides));
  EXPECT_FALSE(strided.is_row_major());
  expect_error(strided.elements<float>(), Errc::invalid_argument, {"row-major", "3, 1"});
  EXPECT_THAT(value_of(value_of(strided.clone()).elements<float>()), ElementsAre(2, 3, 5, 6));
}

// A type like std::mdspan, which this compiler's library lacks.
struct Matrix {
  using element_type = double;
  using rank_type = std::size_t;
  double* data;
  static constexpr std::size_t rank() { return 2; }
  double* data_handle() const { return data; }
  int extent(std::size_t d) const { return d == 0 ? 2 : 3; }
  int stride(std::size_t d) const { return d == 0 ? 1 : 2; }
};

TEST(Tensor, BorrowsFromWhatLooksLikeAnMdspan) {
  std::array<double, 6> data{1, 4, 2, 5, 3, 6};
  const Tensor tensor = value_of(Tensor::borrow(Matrix{data.data()}));
  EXPECT_THAT(tensor.sizes(), ElementsAre(2, 3));
  EXPECT_THAT(tensor.strides(), ElementsAre(1, 2));
  EXPECT_THAT(value_of(value_of(tensor.clone()).elements<double>()), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(Tensor, AdoptsMemoryUntilTheLastTensorIsGone) {
  static int released = 0;
  released = 0;
  const std::array<std::int64_t, 1> sizes{2};
  auto* memory = new float[2]{1, 2};
  const auto release = [](void* context) {
    ++released;
    delete[] static_cast<float*>(context);
  };
  Tensor tensor = value_of(Tensor::adopt(DType::float32, memory, sizes, {}, release, memory));
  Tensor other = tensor;
  tensor = Tensor{};
  EXPECT_EQ(released, 0);
  std::thread{[moved = std::move(other)] {}}.join();
  EXPECT_EQ(released, 1);

  // Refused memory still belongs to the caller.
  const std::array<std::int64_t, 1> negative{-1};
  expect_error(Tensor::adopt(DType::float32, &released, negative, {}, release, nullptr),
               Errc::invalid_argument);
  EXPECT_EQ(released, 1);
}

TEST(Tensor, RefusesWhatCannotBe) {
  constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  expect_error(Tensor::empty(DType::float32, {2, -1}), Errc::invalid_argument, {"negative"});
  expect_error(Tensor::empty(DType::float32, {huge, 2}), Errc::invalid_argument, {"bytes"});
  expect_error(Tensor::empty(DType::float32, {std::numeric_limits<std::int64_t>::min()}),
               Errc::invalid_argument);
  expect_error(Tensor::empty(DType::float32, {2, std::int64_t{1} << 62, 2}), Errc::invalid_argument,
               {"bytes"});
  EXPECT_TRUE(good(Tensor::empty(DType::float32, {0, 2, std::int64_t{1} << 62, 2})));
  expect_error(Tensor::empty(DType::float32, {huge}), Errc::invalid_argument, {"bytes"});
  expect_error(Tensor::empty(DType::float32, {std::int64_t{1} << 32, std::int64_t{1} << 32}),
               Errc::invalid_argument, {"bytes"});
  expect_error(Tensor::empty(DType::float64, {std::int64_t{1} << 60}), Errc::invalid_argument);
  expect_error(Tensor::empty(DType::uint8, {std::int64_t{1} << 60}), Errc::out_of_memory);
  expect_error(Tensor::empty(static_cast<DType>(99), {1}), Errc::invalid_argument, {"dtype"});
  expect_error(Tensor::empty(static_cast<DType>(-1), {1}), Errc::invalid_argument, {"dtype"});
  expect_error(Tensor::borrow(static_cast<float*>(nullptr), {1}), Errc::invalid_argument, {"null"});
  const std::vector<std::int64_t> many(65, 1), two{1, 1}, one{1}, backwards{-1};
  expect_error(Tensor::empty(DType::float32, many), Errc::invalid_argument, {"65", "64"});
  expect_error(Tensor::empty(DType::float32, two, one), Errc::invalid_argument,
               {"found 1 strides, expected 2"});
  expect_error(Tensor::empty(DType::float32, one, backwards), Errc::invalid_argument, {"negative"});
  EXPECT_TRUE(good(Tensor::empty(DType::float32, {huge, 0, huge})));
  expect_error(value_of(Tensor::empty(DType::float32, {1})).elements<int>(), Errc::invalid_argument,
               {"found float32", "expected int32"});
  std::vector<float> data(6);
  expect_error(Tensor::borrow(std::span{data}, {huge, 2}), Errc::invalid_argument, {"bytes"});
  expect_error(Tensor::borrow(std::span{data}, {-2, -3}), Errc::invalid_argument, {"negative"});
  EXPECT_TRUE(good(Tensor::borrow(std::span{data.data(), 0}, {huge, 2, 0})));
}

TEST(Tensor, HasManyDimensions) {
  const std::vector<std::int64_t> sizes(64, 1);
  const Tensor tensor = value_of(Tensor::empty(DType::float32, sizes));
  EXPECT_THAT(tensor.sizes(), testing::ElementsAreArray(sizes));
  EXPECT_EQ(value_of(tensor.clone()).rank(), 64u);
}

}  // namespace
