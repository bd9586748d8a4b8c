// The tensor runtime on libtorch, and the numbers that torch gives to dtypes and devices.
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/version.h>

#include "libtorch/models.hpp"
#include "libtorch/runtime_case.hpp"
#include "runtime/battery.hpp"

namespace aoti_test {

INSTANTIATE_TYPED_TEST_SUITE_P(Libtorch, RuntimeBattery, aoti::Libtorch);

TEST(Libtorch, TellsWhatIsStrided) {
  const at::Tensor dense = at::full({2, 3}, 1.0f);
  EXPECT_TRUE(aoti::Libtorch::is_strided_on(dense, aoti::DeviceType::cpu));
  EXPECT_FALSE(aoti::Libtorch::is_strided_on(dense, aoti::DeviceType::cuda));
  EXPECT_FALSE(aoti::Libtorch::is_strided_on({}, aoti::DeviceType::cpu));

  const at::Tensor meta = at::empty({2, 3}, at::device(at::kMeta));
  EXPECT_TRUE(aoti::Libtorch::is_strided(meta));
  EXPECT_TRUE(aoti::Libtorch::is_strided_on(meta, aoti::DeviceType::meta));
  EXPECT_FALSE(aoti::Libtorch::is_strided_on(meta, aoti::DeviceType::cpu));

  for (const at::Tensor& tensor : {dense.to_sparse(), dense.to_sparse_csr(),
                                   at::quantize_per_tensor(dense, 0.1, 0, at::kQInt8)}) {
    EXPECT_TRUE(aoti::Libtorch::is_defined(tensor));
    EXPECT_FALSE(aoti::Libtorch::is_strided(tensor)) << tensor.toString();
    EXPECT_FALSE(aoti::Libtorch::is_strided_on(tensor, aoti::DeviceType::cpu));
  }
}

TEST(Libtorch, SharesTensorsByCount) {
  const at::Tensor tensor = at::full({2}, 1.0f);
  ASSERT_EQ(tensor.use_count(), 1u);
  const AtenTensorHandle handle = aoti::Libtorch::share(tensor);
  EXPECT_EQ(tensor.use_count(), 2u);
  aoti::Libtorch::destroy(handle);
  EXPECT_EQ(tensor.use_count(), 1u);
  // A handle is also valid for torch.
  EXPECT_EQ(aoti_torch_delete_tensor_object(aoti::Libtorch::share(tensor)), 0);
  EXPECT_EQ(tensor.use_count(), 1u);
}

TEST(Libtorch, GivesTheReasonOfAFailure) {
  if (aoti::Libtorch::import("torch_exception_get_what_without_backtrace") == nullptr) {
    GTEST_SKIP() << "this libtorch has no torch_exception_get_what_without_backtrace";
  }
  const AtenTensorHandle handle = aoti::Libtorch::give(at::full({2, 3}, 1.0f));
  std::int64_t size = 0;
  ASSERT_EQ(aoti_torch_get_size(handle, 1, &size), 0);
  EXPECT_EQ(size, 3);
  ASSERT_NE(aoti_torch_get_size(handle, 7, &size), 0);
  EXPECT_THAT(aoti::Libtorch::last_error(), testing::HasSubstr("Dimension out of range"));
  aoti::Libtorch::destroy(handle);
}

TEST(DType, IsWhatTorchCallsIt) {
#define AOTI_CASE(name) \
  { aoti::DType::name, aoti_torch_dtype_##name() }
  const struct {
    aoti::DType ours;
    std::int32_t torch;
  } cases[] = {
    AOTI_CASE(uint8),
    AOTI_CASE(int8),
    AOTI_CASE(int16),
    AOTI_CASE(int32),
    AOTI_CASE(int64),
    AOTI_CASE(float16),
    AOTI_CASE(float32),
    AOTI_CASE(float64),
    AOTI_CASE(complex32),
    AOTI_CASE(complex64),
    AOTI_CASE(complex128),
    {aoti::DType::boolean, aoti_torch_dtype_bool()},
    AOTI_CASE(bfloat16),
    AOTI_CASE(float8_e5m2),
    AOTI_CASE(float8_e4m3fn),
    AOTI_CASE(uint16),
    AOTI_CASE(uint32),
    AOTI_CASE(uint64),
    AOTI_CASE(float8_e5m2fnuz),
    AOTI_CASE(float8_e4m3fnuz),
#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 12
    AOTI_CASE(float8_e8m0fnu),
    AOTI_CASE(float4_e2m1fn_x2),
#else  // numbered, but without a C function
    {aoti::DType::float8_e8m0fnu, static_cast<int>(c10::ScalarType::Float8_e8m0fnu)},
    {aoti::DType::float4_e2m1fn_x2, static_cast<int>(c10::ScalarType::Float4_e2m1fn_x2)},
#endif
  };
#undef AOTI_CASE
  EXPECT_EQ(std::size(cases), aoti::abi::dtype_rows.size());
  for (const auto& [ours, torch] : cases) {
    SCOPED_TRACE(aoti::to_string(ours));
    EXPECT_EQ(static_cast<std::int32_t>(ours), torch);
    EXPECT_EQ(aoti::to_string(ours), c10::getDtypeNames(static_cast<c10::ScalarType>(torch)).first);
    EXPECT_EQ(aoti::element_size(ours), aoti_torch_dtype_element_size(torch));
    const at::Tensor tensor = at::empty({1}, static_cast<c10::ScalarType>(torch));
    EXPECT_EQ(aoti::Libtorch::dtype(tensor), ours);
  }
}

TEST(DeviceType, IsWhatTorchCallsIt) {
  const struct {
    aoti::DeviceType ours;
    std::int32_t torch;
  } cases[] = {
      {aoti::DeviceType::cpu, aoti_torch_device_type_cpu()},
      {aoti::DeviceType::cuda, aoti_torch_device_type_cuda()},
      {aoti::DeviceType::xpu, aoti_torch_device_type_xpu()},
      {aoti::DeviceType::mps, aoti_torch_device_type_mps()},
      {aoti::DeviceType::meta, aoti_torch_device_type_meta()},
      {aoti::DeviceType::privateuse1, aoti_torch_device_type_privateuse1()},
  };
  EXPECT_EQ(std::size(cases), aoti::abi::device_type_rows.size());
  for (const auto& [ours, torch] : cases) {
    EXPECT_EQ(static_cast<std::int32_t>(ours), torch);
    EXPECT_EQ(aoti::to_string(ours),
              c10::DeviceTypeName(static_cast<c10::DeviceType>(torch), /*lower_case=*/true));
  }
}

}  // namespace aoti_test
