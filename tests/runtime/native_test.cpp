// The runtime without libtorch: what every runtime does, and which imports it provides.
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

/// Missing functions: a model that imports one is refused by name.
const std::set<std::string_view> absent{
    // operators, which come from providers, besides those that are named after the CPU
    "aoti_torch__mm_plus_mm_out", "aoti_torch_index_put_out", "aoti_torch_scatter_out",
    "aoti_torch_scatter_reduce_out",
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

TEST(Native, LendsAHandleInRoomOfTheCallers) {
  Tensor tensor = RuntimeCase<Native>::make<float>({2, 3}, six, {});
  const void* data = tensor.data();
  Native::Room room;
  const AtenTensorHandle handle = Native::lend(tensor, room);
  EXPECT_EQ(static_cast<const void*>(handle), &room);
  EXPECT_TRUE(Native::is_lent(handle));
  Native::destroy(handle);
  EXPECT_EQ(RuntimeCase<Native>::elements<float>(Native::peek(handle)), six);

  // A tensor taken from a handle stays valid, and so do results that models make of it.
  Tensor kept = Native::take(handle);
  AtenTensorHandle view = nullptr, same = nullptr;
  const std::int64_t sizes[] = {3}, strides[] = {2};
  ASSERT_EQ(NativeFunctions::_reinterpret_tensor(handle, 1, sizes, strides, 1, &view), 0);
  ASSERT_EQ(NativeFunctions::new_tensor_handle(handle, &same), 0);
  EXPECT_NE(NativeFunctions::assign_tensors(view, handle), 0);
  EXPECT_THAT(Native::last_error(), testing::HasSubstr("is an input"));
  room = {};
  tensor = Tensor{};
  EXPECT_EQ(kept.data(), data);
  EXPECT_EQ(RuntimeCase<Native>::elements<float>(kept), six);
  kept = Tensor{};
  EXPECT_EQ(RuntimeCase<Native>::elements<float>(Native::peek(same)), six);
  EXPECT_FALSE(Native::is_lent(same));
  Native::destroy(same);
  EXPECT_EQ(RuntimeCase<Native>::elements<float>(Native::peek(view)),
            (std::vector<float>{2, 4, 6}));
  Native::destroy(view);
}

TEST(Native, LendsTensorsOfAnyRank) {
  for (const std::size_t rank : {0, 1, 3, 4, 7, 8, 64}) {
    SCOPED_TRACE(rank);
    const std::vector<std::int64_t> sizes(rank, 1);
    const Tensor tensor = RuntimeCase<Native>::make<float>(sizes, {7}, {});
    Native::Room room;
    const AtenTensorHandle handle = Native::lend(tensor, room);
    EXPECT_EQ(Native::is_lent(handle), rank <= 7);
    const Tensor& lent = Native::peek(handle);
    EXPECT_EQ(std::vector(lent.sizes().begin(), lent.sizes().end()), sizes);
    EXPECT_EQ(std::vector(lent.strides().begin(), lent.strides().end()), sizes);
    EXPECT_EQ(lent.data(), tensor.data());
    Native::destroy(handle);
  }
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

  // Into a tensor that lies in one block with its memory, and keeps it.
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
  Native::destroy(handle);
}

AtenTensorHandle handle_of(double value, aoti::DType dtype) {
  const Tensor from = RuntimeCase<Native>::make<double>({}, {value});
  Tensor tensor = Tensor::empty(dtype, {}).value();
  const AtenTensorHandle in = Native::share(from), out = Native::give(std::move(tensor));
  EXPECT_EQ(NativeFunctions::copy_(out, in, 0), 0);
  Native::destroy(in);
  return out;
}

/// The result of item_… for a number; -99 if it fails.
template <class Import, class T>
double item(double value, aoti::DType dtype = aoti::DType::float64) {
  const AtenTensorHandle handle = handle_of(value, dtype);
  T out{};
  const int failed = aoti::abi::resolve<Native, Import>()(handle, &out);
  if (failed != 0) {
    EXPECT_EQ(Native::last_error(), std::string{Import::symbol} +
                                        ": the number cannot be converted to that type without "
                                        "overflow");
  }
  Native::destroy(handle);
  return failed != 0 ? -99 : static_cast<double>(out);
}

// As torch 2.15 does.
TEST(Native, ChecksWhatItemsFitInto) {
  using aoti::DType;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ((item<imported::item_uint8, std::uint8_t>(300, DType::int64)), -99);
  EXPECT_EQ((item<imported::item_uint8, std::uint8_t>(255, DType::int64)), 255);
  EXPECT_EQ((item<imported::item_uint8, std::uint8_t>(-1, DType::int64)), 255);
  EXPECT_EQ((item<imported::item_uint8, std::uint8_t>(-300, DType::int64)), -99);
  EXPECT_EQ((item<imported::item_uint16, std::uint16_t>(-300, DType::int64)), 65236);
  EXPECT_EQ((item<imported::item_uint8, std::uint8_t>(255.5)), 255);
  EXPECT_EQ((item<imported::item_uint8, std::uint8_t>(256)), -99);
  EXPECT_EQ((item<imported::item_uint8, std::uint8_t>(-0.5)), -99);
  EXPECT_EQ((item<imported::item_int8, std::int8_t>(127.9)), 127);
  EXPECT_EQ((item<imported::item_int8, std::int8_t>(-128.5)), -99);
  EXPECT_EQ((item<imported::item_int32, std::int32_t>(0x1p31)), -99);
  EXPECT_EQ((item<imported::item_int64, std::int64_t>(-0x1p63)), -0x1p63);
  EXPECT_EQ((item<imported::item_int64, std::int64_t>(0x1p63, DType::uint64)), -99);
  EXPECT_EQ((item<imported::item_uint64, std::uint64_t>(0x1p63)), 0x1p63);
  EXPECT_EQ((item<imported::item_int64, std::int64_t>(infinity)), -99);
  EXPECT_EQ((item<imported::item_float32, float>(1e300)), -99);
  EXPECT_EQ((item<imported::item_float32, float>(infinity)), infinity);
  EXPECT_EQ((item<imported::item_float64, double>(1e300, DType::complex128)), 1e300);
  EXPECT_EQ((item<imported::item_bool, bool>(300)), 1);
  EXPECT_EQ((item<imported::item_int32, std::int32_t>(1.5, DType::float8_e4m3fn)), 1);

  const AtenTensorHandle six_of = Native::give(RuntimeCase<Native>::make<float>({2, 3}, six, {}));
  float one = 0;
  EXPECT_NE((aoti::abi::resolve<Native, imported::item_float32>()(six_of, &one)), 0);
  EXPECT_EQ(Native::last_error(),
            "aoti_torch_item_float32: the tensor does not have exactly one element");
  Native::destroy(six_of);
}

TEST(Native, HasScalarsOfTwoBytesAndComplexOnes) {
  using aoti::DType;
  using aoti::detail::Complex;
  // torch's types for these numbers are not known here, but their components are.
  const auto function = [](const char* name, auto type) {
    return reinterpret_cast<decltype(type)>(Native::import(name));
  };
  AtenTensorHandle handle = handle_of(1.5, DType::float32);
  std::uint16_t bits = 0;
  ASSERT_EQ((NativeFunctions::item<imported::item_float16, DType::float16>(handle, &bits)), 0);
  EXPECT_EQ(bits, 0x3e00);
  ASSERT_EQ((NativeFunctions::item<imported::item_bfloat16, DType::bfloat16>(handle, &bits)), 0);
  EXPECT_EQ(bits, 0x3fc0);
  Native::destroy(handle);
  handle = handle_of(70000, DType::float32);
  EXPECT_NE((NativeFunctions::item<imported::item_float16, DType::float16>(handle, &bits)), 0);
  EXPECT_EQ((NativeFunctions::item<imported::item_bfloat16, DType::bfloat16>(handle, &bits)), 0);
  Native::destroy(handle);

  using Make = AOTITorchError (*)(Complex<double>, AtenTensorHandle*);
  const auto make = function("aoti_torch_scalar_to_tensor_complex128", Make{});
  ASSERT_NE(make, nullptr);
  ASSERT_EQ(make({1, -2}, &handle), 0);
  EXPECT_EQ(Native::peek(handle).dtype(), DType::complex128);
  Complex<float> narrow{};
  ASSERT_EQ((NativeFunctions::item<imported::item_complex64, DType::complex64>(handle, &narrow)),
            0);
  EXPECT_EQ(narrow.real, 1);
  EXPECT_EQ(narrow.imaginary, -2);
  float real = 0;
  EXPECT_NE((NativeFunctions::item<imported::item_float32, DType::float32>(handle, &real)), 0);
  Native::destroy(handle);
  using MakeNarrow = AOTITorchError (*)(Complex<float>, AtenTensorHandle*);
  ASSERT_EQ(function("aoti_torch_scalar_to_tensor_complex64", MakeNarrow{})(narrow, &handle), 0);
  EXPECT_EQ(static_cast<const float*>(Native::peek(handle).data())[1], -2);
  Native::destroy(handle);
}

/// A tensor made from numbers; a complex number is two of them.
template <class T>
AtenTensorHandle on(std::vector<T>& numbers, aoti::DType dtype,
                    const std::vector<std::int64_t>& sizes,
                    const std::vector<std::int64_t>& strides = {}) {
  return Native::give(Tensor::borrow(dtype, numbers.data(), sizes, strides).value());
}

TEST(Native, CopiesComplexNumbersAsTorchDoes) {
  using aoti::DType;
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> complex{1, 2, -3.5f, 0, 0, 4, 300, -1};
  const AtenTensorHandle from = on(complex, DType::complex64, {4});
  const auto copied = [&](auto to, DType dtype) {
    const AtenTensorHandle target = on(to, dtype, {4});
    EXPECT_EQ(NativeFunctions::copy_(target, from, 0), 0);
    Native::destroy(target);
    return to;
  };
  using testing::ElementsAre;
  EXPECT_THAT(copied(std::vector<double>(8), DType::complex128),
              ElementsAre(1, 2, -3.5, 0, 0, 4, 300, -1));
  EXPECT_THAT(copied(std::vector<std::uint16_t>(8), DType::complex32),
              ElementsAre(0x3c00, 0x4000, 0xc300, 0, 0, 0x4400, 0x5cb0, 0xbc00));
  EXPECT_THAT(copied(std::vector<double>(4), DType::float64), ElementsAre(1, -3.5, 0, 300));
  EXPECT_THAT(copied(std::vector<std::uint8_t>(4), DType::uint8), ElementsAre(1, 253, 0, 44));
  EXPECT_THAT(copied(std::vector<std::uint8_t>(4), DType::boolean), ElementsAre(1, 1, 1, 1));
  EXPECT_THAT(copied(std::vector<std::uint8_t>(4), DType::float8_e5m2),
              ElementsAre(0x3c, 0xc3, 0, 0x5d));

  std::vector<std::int64_t> whole{7, -8};
  const AtenTensorHandle integers = on(whole, DType::int64, {2}),
                         two = on(complex, DType::complex64, {2});
  ASSERT_EQ(NativeFunctions::copy_(two, integers, 0), 0);
  EXPECT_THAT(complex, ElementsAre(7, 0, -8, 0, 0, 4, 300, -1));
  EXPECT_EQ(NativeFunctions::check_inf_and_nan("", from), 0);
  complex[1] = infinity;
  EXPECT_NE(NativeFunctions::check_inf_and_nan("", from), 0);
  complex[1] = 0;
  complex[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(NativeFunctions::check_inf_and_nan("", from), 0);
  for (const AtenTensorHandle handle : {from, integers, two}) Native::destroy(handle);
}

TEST(Native, CopiesFloat8AsTorchDoes) {
  using aoti::DType;
  std::vector<float> floats{1.5, -448, 465, 1e9f, 0x1p-10f, -0.f, 61440, 1.0625};
  const AtenTensorHandle from = on(floats, DType::float32, {8});
  const auto bits = [&](DType dtype) {
    std::vector<std::uint8_t> to(8);
    std::vector<float> back(8);
    const AtenTensorHandle target = on(to, dtype, {8}), end = on(back, DType::float32, {8});
    EXPECT_EQ(NativeFunctions::copy_(target, from, 0), 0);
    EXPECT_EQ(NativeFunctions::copy_(end, target, 0), 0);
    EXPECT_EQ(back[0], dtype == DType::float8_e8m0fnu ? 2 : 1.5);
    Native::destroy(target);
    Native::destroy(end);
    return to;
  };
  using testing::ElementsAre;
  EXPECT_THAT(bits(DType::float8_e4m3fn), ElementsAre(60, 254, 126, 126, 0, 128, 126, 56));
  EXPECT_THAT(bits(DType::float8_e5m2), ElementsAre(62, 223, 95, 124, 20, 128, 124, 60));
  EXPECT_THAT(bits(DType::float8_e4m3fnuz), ElementsAre(68, 128, 128, 128, 1, 0, 128, 64));
  EXPECT_THAT(bits(DType::float8_e5m2fnuz), ElementsAre(66, 227, 99, 128, 24, 0, 128, 64));
  EXPECT_THAT(bits(DType::float8_e8m0fnu), ElementsAre(128, 136, 136, 157, 117, 0, 143, 127));
  Native::destroy(from);
}

TEST(Native, ZeroesWhateverTheLayout) {
  std::vector<double> numbers(16, 1);
  const AtenTensorHandle handle = on(numbers, aoti::DType::complex128, {2, 2}, {1, 4});
  ASSERT_EQ(NativeFunctions::zero_(handle), 0);
  EXPECT_THAT(numbers, testing::ElementsAre(0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1));
  Native::destroy(handle);
}

// As in torch, a view without elements may begin after the memory, but not before it.
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
    // Offsets are counted from there.
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
