#include <aoti/runtime/dlpack.hpp>

#include <string>
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

template <class Managed> class Dlpack : public testing::Test {};
using Versions = testing::Types<aoti::dlpack::ManagedTensor, aoti::dlpack::ManagedTensorVersioned>;
TYPED_TEST_SUITE(Dlpack, Versions);

TYPED_TEST(Dlpack, GoesThereAndBack) {
  for (const aoti::detail::DlpackRow& row : aoti::detail::dlpack_rows) {
    SCOPED_TRACE(std::string{to_string(row.dtype)});
    EXPECT_EQ(row.bits, 8 * aoti::element_size(row.dtype));
    const std::vector<std::int64_t> sizes{2, 3}, strides{1, 4};
    Tensor tensor = Tensor::empty(row.dtype, sizes, strides).value();
    const void* data = tensor.data();
    auto managed = aoti::to_dlpack<TypeParam>(tensor);
    ASSERT_TRUE(good(managed));
    tensor = Tensor{};  // the managed one keeps the memory
    auto back = aoti::from_dlpack(managed.value());
    ASSERT_TRUE(good(back));
    EXPECT_EQ(back.value().data(), data);
    EXPECT_EQ(back.value().dtype(), row.dtype);
    EXPECT_THAT(back.value().sizes(), ElementsAre(2, 3));
    EXPECT_THAT(back.value().strides(), ElementsAre(1, 4));
  }
}

int deleted = 0;

template <class Managed> struct Given {
  std::vector<float> data{0, 1, 2, 3, 4, 5, 6};
  std::int64_t shape[2] = {2, 3};
  Managed managed{};

  Given() {
    managed.dl_tensor.data = data.data();
    managed.dl_tensor.device = {1, 0};
    managed.dl_tensor.ndim = 2;
    managed.dl_tensor.dtype = {2, 32, 1};
    managed.dl_tensor.shape = shape;
    managed.dl_tensor.byte_offset = 4;
    managed.deleter = [](Managed*) { ++deleted; };
    if constexpr (requires { managed.version; }) managed.version = {1, 1};
  }
};

TYPED_TEST(Dlpack, TakesWhatOthersMake) {
  Given<TypeParam> given;
  deleted = 0;
  {
    auto tensor = aoti::from_dlpack(&given.managed);
    ASSERT_TRUE(good(tensor));
    const auto elements = tensor.value().template elements<float>();
    ASSERT_TRUE(good(elements));
    EXPECT_THAT(elements.value(), ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_EQ(deleted, 0);
  }
  EXPECT_EQ(deleted, 1);
  given.managed.deleter = nullptr;
  EXPECT_TRUE(good(aoti::from_dlpack(&given.managed)));
}

TYPED_TEST(Dlpack, TakesAnyStridesWhereTheyMeanNothing) {
  Given<TypeParam> given;
  given.managed.deleter = nullptr;
  std::int64_t strides[] = {-3, 1};
  given.managed.dl_tensor.strides = strides;
  given.shape[0] = 1;
  {
    auto one = aoti::from_dlpack(&given.managed);
    ASSERT_TRUE(good(one));
    EXPECT_THAT(one.value().template elements<float>().value(), ElementsAre(1, 2, 3));
    EXPECT_THAT(one.value().strides(), ElementsAre(1, 1));
  }
  given.shape[0] = 0;
  auto none = aoti::from_dlpack(&given.managed);
  ASSERT_TRUE(good(none));
  EXPECT_EQ(none.value().numel(), 0);
  given.managed.dl_tensor.ndim = 0;
  given.managed.dl_tensor.shape = nullptr;
  EXPECT_TRUE(good(aoti::from_dlpack(&given.managed)));
}

TYPED_TEST(Dlpack, RefusesWhatItCannotHoldAndDeletesNothing) {
  deleted = 0;
  const auto refused = [](auto change, std::vector<std::string> parts) {
    Given<TypeParam> given;
    change(given.managed);
    expect_error(aoti::from_dlpack(&given.managed), Errc::invalid_argument, parts);
  };
  refused([](auto& it) { it.dl_tensor.device.device_type = 2; }, {"device type 2"});
  refused([](auto& it) { it.dl_tensor.dtype.bits = 4; }, {"4 bits"});
  refused([](auto& it) { it.dl_tensor.dtype.code = 3; }, {"type code 3"});
  refused([](auto& it) { it.dl_tensor.dtype.lanes = 4; }, {"4 lanes"});
  refused([](auto& it) { it.dl_tensor.ndim = -1; }, {"-1 dimensions"});
  refused(
      [](auto& it) {
        it.dl_tensor.ndim = 65;
        it.dl_tensor.strides = nullptr;
      },
      {"65 sizes"});
  refused([](auto& it) { it.dl_tensor.data = nullptr; }, {"null"});
  refused([](auto& it) { it.dl_tensor.shape = nullptr; }, {"shape is null", "2 sizes"});
  refused([](auto& it) { it.dl_tensor.byte_offset = 2; }, {"2 bytes", "4 bytes", "float32"});
  refused([](auto& it) { it.dl_tensor.data = static_cast<char*>(it.dl_tensor.data) + 1; },
          {"aligned to 4 bytes"});
  refused(
      [](auto& it) {
        it.dl_tensor.dtype = {5, 128, 1};
        it.dl_tensor.byte_offset = 4;
      },
      {"aligned to 8 bytes", "complex128"});
  std::int64_t strides[] = {3, -1};
  refused([&](auto& it) { it.dl_tensor.strides = strides; }, {"negative"});
  if constexpr (requires(TypeParam managed) { managed.version; }) {
    refused([](auto& it) { it.version.major = 2; }, {"found version 2"});
  }
  expect_error(aoti::from_dlpack(static_cast<TypeParam*>(nullptr)), Errc::invalid_argument,
               {"null"});
  EXPECT_EQ(deleted, 0);
  expect_error(aoti::to_dlpack<TypeParam>(Tensor{}), Errc::undefined_tensor);
  expect_error(aoti::to_dlpack<TypeParam>(Tensor::empty(DType::float4_e2m1fn_x2, {2}).value()),
               Errc::invalid_argument, {"float4"});
}

}  // namespace
