// The runtime without libtorch: what every runtime does, and which imports it has.
#include <limits>
#include <set>
#include <string>

#include "runtime/battery.hpp"
#include "runtime/native_case.hpp"

namespace aoti_test {

using aoti::Native;
using aoti::NativeFunctions;
using aoti::Tensor;
namespace imported = aoti::abi::imported;

INSTANTIATE_TYPED_TEST_SUITE_P(Native, RuntimeBattery, Native);

/// What is not here, and so makes a model that imports it be refused by name.
const std::set<std::string_view> absent{
    // operators, which come from providers, besides those that are named after the CPU
    "aoti_torch__mm_plus_mm_out", "aoti_torch_index_put_out",
    // torch's dispatcher
    "aoti_torch_proxy_executor_call_function", "aoti_torch_call_dispatcher",
    // other devices
    "aoti_torch_empty_strided_pinned", "aoti_torch_create_cuda_guard",
    "aoti_torch_delete_cuda_guard", "aoti_torch_cuda_guard_set_index",
    "aoti_torch_create_cuda_stream_guard", "aoti_torch_delete_cuda_stream_guard",
    "aoti_torch_get_current_cuda_stream", "aoti_torch_cuda_caching_allocator_raw_alloc",
    "aoti_torch_cuda_caching_allocator_raw_delete", "aoti_torch_create_xpu_guard",
    "aoti_torch_delete_xpu_guard", "aoti_torch_create_xpu_stream_guard",
    "aoti_torch_delete_xpu_stream_guard", "aoti_torch_get_current_xpu_stream",
    "aoti_torch_get_current_xpu_device", "aoti_torch_mps_set_arg_tensor",
    "aoti_torch_get_current_device_index",
    // debugging, and values for profilers
    "aoti_torch_print_tensor_handle", "aoti_torch_save_tensor_handle", "aoti_torch_int64_to_ivalue",
    "aoti_torch_str_to_ivalue", "aoti_torch_strlist_to_ivalue", "aoti_torch_tensor_to_ivalue",
    "aoti_torch_delete_c10_value_object"};

TEST(Native, HasEveryImportOrItIsListed) {
  for (const aoti::abi::Row& row : aoti::abi::import_rows) {
    const std::string_view symbol = row.symbol;
    const bool expected = !symbol.starts_with("aoti_torch_cpu_") && absent.count(symbol) == 0;
    EXPECT_EQ(Native::import(row.symbol) != nullptr, expected) << symbol;
    if (row.need == aoti::abi::Need::required) {
      EXPECT_NE(Native::import(row.symbol), nullptr) << row.symbol;
    }
  }
}

AOTITorchError my_mm(AtenTensorHandle, AtenTensorHandle, AtenTensorHandle) {
  return NativeFunctions::fail("my_mm", "it is only a test");
}
std::int32_t other_dtype() { return 77; }

TEST(Native, TakesFunctionsFromProvidersFirst) {
  using Mine = aoti::NativeWith<aoti::Provide<imported::cpu_mm_out, my_mm>,
                                aoti::Provide<imported::dtype_float32, other_dtype>>;
  EXPECT_EQ(Native::import("aoti_torch_cpu_mm_out"), nullptr);
  const auto mm = aoti::abi::resolve<Mine, imported::cpu_mm_out>();
  EXPECT_EQ(mm, my_mm);
  EXPECT_NE(mm(nullptr, nullptr, nullptr), 0);
  EXPECT_EQ(Mine::last_error(), "my_mm: it is only a test");
  EXPECT_EQ((aoti::abi::resolve<Mine, imported::dtype_float32>()()), 77);
  EXPECT_EQ((aoti::abi::resolve<Native, imported::dtype_float32>()()), 6);
  EXPECT_EQ((aoti::abi::resolve<Mine, imported::dtype_float64>()()), 7);
}

TEST(Native, MakesALentHandleOneThatStays) {
  Tensor tensor = RuntimeCase<Native>::make<float>({2, 3}, six, {});
  const void* data = tensor.data();
  Tensor kept = Native::take(Native::lend(tensor));
  tensor = Tensor{};
  EXPECT_EQ(kept.data(), data);
  EXPECT_EQ(RuntimeCase<Native>::elements<float>(kept), six);

  const AtenTensorHandle lent = Native::lend(kept);
  AtenTensorHandle view = nullptr;
  const std::int64_t sizes[] = {3}, strides[] = {2};
  ASSERT_EQ(NativeFunctions::_reinterpret_tensor(lent, 1, sizes, strides, 1, &view), 0);
  Native::destroy(lent);
  kept = Tensor{};
  EXPECT_EQ(RuntimeCase<Native>::elements<float>(Native::peek(view)),
            (std::vector<float>{2, 4, 6}));
  Native::destroy(view);
}

TEST(Native, AssignsTensorsWhereThereIsRoom) {
  const Tensor tensor = RuntimeCase<Native>::make<float>({2, 3}, six, {});
  const AtenTensorHandle from = Native::share(tensor);
  AtenTensorHandle undefined = nullptr;
  ASSERT_EQ(NativeFunctions::new_uninitialized_tensor(&undefined), 0);
  bool defined = true;
  ASSERT_EQ(NativeFunctions::is_defined(undefined, &defined), 0);
  EXPECT_FALSE(defined);
  ASSERT_EQ(NativeFunctions::assign_tensors(from, undefined), 0);
  EXPECT_EQ(Native::peek(undefined).data(), tensor.data());

  // Into one that lies in a block with memory of its own, which stays with it.
  const AtenTensorHandle own = Native::give(RuntimeCase<Native>::make<float>({1}, {9}, {}));
  ASSERT_EQ(NativeFunctions::assign_tensors(from, own), 0);
  EXPECT_EQ(Native::peek(own).data(), tensor.data());
  ASSERT_EQ(NativeFunctions::assign_tensors(own, own), 0);

  const std::vector<std::int64_t> many(8, 1);
  const AtenTensorHandle wide = Native::give(RuntimeCase<Native>::make<float>(many, {1}, {}));
  EXPECT_NE(NativeFunctions::assign_tensors(wide, own), 0);
  EXPECT_THAT(Native::last_error(), testing::HasSubstr("fewer dimensions"));
  EXPECT_EQ(NativeFunctions::assign_tensors(own, wide), 0);
  for (const AtenTensorHandle handle : {from, undefined, own, wide}) Native::destroy(handle);
}

TEST(Native, AssignsATensorToOneOfItsOwnMemory) {
  aoti::detail::Pool::trim();
  const std::size_t before = aoti::detail::Pool::reserved();
  for (int i = 0; i < 3; ++i) {
    const AtenTensorHandle own = Native::give(RuntimeCase<Native>::make<float>({2, 3}, six, {}));
    AtenTensorHandle other = nullptr;
    ASSERT_EQ(NativeFunctions::new_tensor_handle(own, &other), 0);
    ASSERT_EQ(NativeFunctions::assign_tensors(other, own), 0);
    EXPECT_EQ(RuntimeCase<Native>::elements<float>(Native::peek(own)), six);
    Native::destroy(own);
    EXPECT_EQ(RuntimeCase<Native>::elements<float>(Native::peek(other)), six);
    Native::destroy(other);
  }
  aoti::detail::Pool::trim();
  EXPECT_EQ(aoti::detail::Pool::reserved(), before);
}

TEST(Native, DoesNotReadUndefinedTensors) {
  AtenTensorHandle undefined = nullptr;
  ASSERT_EQ(NativeFunctions::new_uninitialized_tensor(&undefined), 0);
  const AtenTensorHandle defined = Native::give(RuntimeCase<Native>::make<float>({2, 3}, six, {}));
  EXPECT_NE(NativeFunctions::copy_(defined, undefined, 0), 0);
  EXPECT_EQ(Native::last_error(), "aoti_torch_copy_: the tensor is undefined");
  EXPECT_EQ(Native::last_error(), "");
  EXPECT_NE(NativeFunctions::copy_(undefined, defined, 0), 0);
  Native::destroy(undefined);
  Native::destroy(defined);
}

TEST(Native, ChecksViews) {
  const AtenTensorHandle handle = Native::give(RuntimeCase<Native>::make<float>({2, 3}, six, {}));
  const std::int64_t sizes[] = {2, 3}, beyond[] = {4, 1}, negative[] = {-1, 1};
  const std::int64_t strides[] = {3, 1};
  AtenTensorHandle out = handle;
  EXPECT_NE(NativeFunctions::_reinterpret_tensor(handle, 2, sizes, beyond, 0, &out), 0);
  EXPECT_EQ(out, nullptr);
  EXPECT_THAT(Native::last_error(),
              testing::HasSubstr("aoti_torch__reinterpret_tensor: the view reaches beyond"));
  EXPECT_NE(NativeFunctions::_reinterpret_tensor(handle, 2, sizes, strides, 1, &out), 0);
  EXPECT_NE(NativeFunctions::_reinterpret_tensor(handle, 2, sizes, strides, -1, &out), 0);
  EXPECT_NE(NativeFunctions::_reinterpret_tensor(handle, 2, negative, strides, 0, &out), 0);
  EXPECT_NE(NativeFunctions::_reinterpret_tensor(handle, 65, sizes, strides, 0, &out), 0);
  EXPECT_NE(NativeFunctions::_reinterpret_tensor(handle, -1, sizes, strides, 0, &out), 0);
  EXPECT_NE(NativeFunctions::_alloc_from_pool(handle, 2, 6, 2, sizes, strides, &out), 0);
  EXPECT_NE(NativeFunctions::empty_strided(1, sizes, strides, 6, 1, 0, &out), 0);
  EXPECT_THAT(Native::last_error(), testing::HasSubstr("lie on the CPU"));
  EXPECT_NE(NativeFunctions::create_tensor_from_blob_v2(&out, 1, sizes, strides, 0, 6, 0, 0, &out,
                                                        3, nullptr, 0),
            0);
  std::int64_t number = 0;
  EXPECT_NE(NativeFunctions::get_size(handle, 2, &number), 0);
  EXPECT_EQ(NativeFunctions::get_size(handle, -1, &number), 0);
  EXPECT_EQ(number, 3);
  float item = 0;
  EXPECT_NE(NativeFunctions::item(handle, &item), 0);
  Native::destroy(handle);
}

// A view without elements may begin behind the memory, as torch has it, but not in front of it.
TEST(Native, ChecksViewsWithoutElements) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const std::int64_t none[] = {0}, two[] = {2}, one[] = {1};
  const AtenTensorHandle six_of = Native::give(RuntimeCase<Native>::make<float>({2, 3}, six, {}));
  AtenTensorHandle nothing = nullptr, out = nullptr;
  ASSERT_EQ(NativeFunctions::create_tensor_from_blob(nullptr, 1, none, one, 3, 6, 0, 0, &nothing),
            0);
  EXPECT_EQ(Native::peek(nothing).data(), nullptr);
  for (const AtenTensorHandle from : {six_of, nothing}) {
    ASSERT_EQ(NativeFunctions::_reinterpret_tensor(from, 1, none, one, 100, &out), 0);
    EXPECT_EQ(Native::peek(out).data(), Native::peek(from).data());
    std::int64_t offset = 0;
    EXPECT_EQ(NativeFunctions::get_storage_offset(out, &offset), 0);
    EXPECT_EQ(offset, from == nothing ? 103 : 100);
    // From there offsets count on.
    AtenTensorHandle beyond = nullptr;
    EXPECT_NE(NativeFunctions::_reinterpret_tensor(out, 1, none, one, most, &beyond), 0);
    EXPECT_NE(NativeFunctions::_reinterpret_tensor(out, 1, two, one, most, &beyond), 0);
    EXPECT_EQ(beyond, nullptr);
    Native::destroy(out);
    EXPECT_NE(NativeFunctions::_reinterpret_tensor(from, 1, none, one, -4, &out), 0);
    EXPECT_NE(NativeFunctions::_reinterpret_tensor(from, 1, none, one, most, &out), 0);
    EXPECT_NE(NativeFunctions::_alloc_from_pool(from, -4, 6, 1, none, one, &out), 0);
    EXPECT_THAT(Native::last_error(), testing::HasSubstr("reaches beyond"));
  }
  EXPECT_NE(NativeFunctions::create_tensor_from_blob(nullptr, 1, none, one, -1, 6, 0, 0, &out), 0);
  EXPECT_NE(NativeFunctions::create_tensor_from_blob(nullptr, 1, none, one, most, 6, 0, 0, &out),
            0);
  for (const AtenTensorHandle handle : {six_of, nothing}) Native::destroy(handle);
}

}  // namespace aoti_test
