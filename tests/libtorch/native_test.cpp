// The functions without libtorch compared with torch's, on the same data; and both runtimes in one
// process.
#include <aoti/runtime/dlpack.hpp>
#include <aoti/runtime/native.hpp>

#include <ATen/DLConvertor.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include "libtorch/models.hpp"
#include "runtime/native_case.hpp"

namespace {

using aoti::DType;
using aoti::Native;
using aoti::NativeFunctions;
using aoti_test::good;
using aoti_test::value_of;
namespace imported = aoti::abi::imported;

constexpr at::ScalarType dtypes[] = {
    at::kFloat,  at::kDouble, at::kHalf, at::kBFloat16,     at::kChar,
    at::kShort,  at::kInt,    at::kLong, at::kByte,         at::kUInt16,
    at::kUInt32, at::kUInt64, at::kBool, at::kComplexFloat, at::kComplexDouble};

/// The same memory for both runtimes, as handles that this destroys.
struct Both {
  at::Tensor tensor;
  AtenTensorHandle torch;
  AtenTensorHandle native;

  explicit Both(at::Tensor given)
      : tensor{std::move(given)},
        torch{aoti::Libtorch::share(tensor)},
        native{Native::give(value_of(
            aoti::Tensor::borrow(static_cast<DType>(tensor.scalar_type()), tensor.data_ptr(),
                                 {tensor.sizes().data(), tensor.sizes().size()},
                                 {tensor.strides().data(), tensor.strides().size()})))} {}
  Both(const Both&) = delete;
  Both& operator=(const Both&) = delete;
  ~Both() {
    aoti::Libtorch::destroy(torch);
    Native::destroy(native);
  }
};

/// A native handle's contents as a torch tensor; the handle must outlive it.
at::Tensor seen(AtenTensorHandle handle) {
  const aoti::Tensor& tensor = Native::peek(handle);
  return at::from_blob(tensor.data(), {tensor.sizes().data(), tensor.sizes().size()},
                       {tensor.strides().data(), tensor.strides().size()},
                       static_cast<at::ScalarType>(tensor.dtype()));
}

/// Expects that both handles, which are consumed, hold the same.
void expect_same(AtenTensorHandle torch, AtenTensorHandle native) {
  ASSERT_NE(native, nullptr);
  const at::Tensor expected = aoti::Libtorch::take(torch), found = seen(native);
  EXPECT_EQ(found.scalar_type(), expected.scalar_type());
  EXPECT_EQ(found.sizes(), expected.sizes());
  EXPECT_EQ(found.strides(), expected.strides());
  EXPECT_TRUE(found.is_contiguous() == expected.is_contiguous());
  EXPECT_TRUE(at::equal(found.to(at::kDouble), expected.to(at::kDouble))) << found << expected;
  std::int64_t a = 0, b = 0;
  EXPECT_EQ(aoti_torch_get_numel(aoti::Libtorch::share(expected), &a), 0);
  EXPECT_EQ(NativeFunctions::get_numel(native, &b), 0);
  EXPECT_EQ(a, b);
  Native::destroy(native);
}

std::vector<at::Tensor> layouts() {
  const at::Tensor whole = at::arange(2 * 3 * 4 * 5, at::kFloat).reshape({2, 3, 4, 5});
  return {whole,
          whole.transpose(1, 3),
          whole.contiguous(at::MemoryFormat::ChannelsLast),
          whole.slice(1, 1, 3).slice(3, 0, 5, 2),
          whole.select(0, 1).transpose(0, 2),
          whole.narrow(2, 1, 1),
          at::arange(4, at::kFloat).expand({3, 4}),
          at::arange(6, at::kFloat).reshape({2, 1, 3}).transpose(0, 2),
          at::full({}, 3.0f),
          at::empty({0, 3}),
          at::empty({3, 0, 2}).transpose(0, 2)};
}

TEST(NativeFunctions, CloneAsTorchDoes) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBool, at::kHalf, at::kLong}) {
    for (const at::Tensor& layout : layouts()) {
      SCOPED_TRACE(testing::Message() << layout.sizes() << layout.strides() << dtype);
      const Both both{dtype == at::kFloat ? layout : layout.to(dtype)};
      AtenTensorHandle torch = nullptr, native = nullptr;
      ASSERT_EQ(aoti_torch_clone(both.torch, &torch), 0);
      ASSERT_EQ(NativeFunctions::clone(both.native, &native), 0);
      expect_same(torch, native);
      ASSERT_EQ(aoti_torch_clone_preserve_strides(both.torch, &torch), 0);
      ASSERT_EQ(NativeFunctions::clone_preserve_strides(both.native, &native), 0);
      expect_same(torch, native);
    }
  }
}

TEST(NativeFunctions, TellWhatTorchTells) {
  for (const at::Tensor& layout : layouts()) {
    SCOPED_TRACE(testing::Message() << layout.sizes() << layout.strides());
    const at::Tensor own = layout.clone();  // so that the storage begins at its first element
    const Both both{own};
    const auto expect_equal = [&](auto torch, auto native) {
      std::int64_t a = -7, b = -7;
      EXPECT_EQ(torch(both.torch, &a), 0);
      EXPECT_EQ(native(both.native, &b), 0);
      EXPECT_EQ(a, b);
    };
    expect_equal(aoti_torch_get_dim, NativeFunctions::get_dim);
    expect_equal(aoti_torch_get_numel, NativeFunctions::get_numel);
    expect_equal(aoti_torch_get_storage_size, NativeFunctions::get_storage_size);
    expect_equal(aoti_torch_get_storage_numel, NativeFunctions::get_storage_numel);
    expect_equal(aoti_torch_get_storage_offset, NativeFunctions::get_storage_offset);
    std::int32_t a = 0, b = 0;
    EXPECT_EQ(aoti_torch_get_device_index(both.torch, &a), 0);
    EXPECT_EQ(NativeFunctions::get_device_index(both.native, &b), 0);
    EXPECT_EQ(a, b);
    bool c = false, d = true;
    EXPECT_EQ(aoti_torch_is_contiguous(both.torch, &c), 0);
    EXPECT_EQ(NativeFunctions::is_contiguous(both.native, &d), 0);
    EXPECT_EQ(c, d);
  }
}

TEST(NativeFunctions, ReinterpretAsTorchDoes) {
  const at::Tensor memory = at::arange(24, at::kFloat);
  const Both both{memory};
  const std::int64_t sizes[] = {2, 3, 2}, strides[] = {12, 2, 1};
  AtenTensorHandle torch = nullptr, native = nullptr;
  ASSERT_EQ(aoti_torch__reinterpret_tensor(both.torch, 3, sizes, strides, 5, &torch), 0);
  ASSERT_EQ(NativeFunctions::_reinterpret_tensor(both.native, 3, sizes, strides, 5, &native), 0);
  expect_same(torch, native);
  ASSERT_EQ(aoti_torch__alloc_from_pool(both.torch, 16, aoti_torch_dtype_float32(), 3, sizes,
                                        strides, &torch),
            0);
  ASSERT_EQ(NativeFunctions::_alloc_from_pool(both.native, 16, aoti_torch_dtype_float32(), 3, sizes,
                                              strides, &native),
            0);
  expect_same(torch, native);
  const std::int64_t size[] = {5}, stride[] = {3};
  ASSERT_EQ(aoti_torch_as_strided(both.torch, size, stride, &torch), 0);
  ASSERT_EQ(NativeFunctions::as_strided(both.native, size, stride, &native), 0);
  expect_same(torch, native);
}

bool has_sign(at::ScalarType dtype) { return c10::isSignedType(dtype); }

TEST(NativeFunctions, CopyAndConvertAsTorchDoes) {
  const std::vector<double> values{0,    1,   -1,   2.5,     -2.5,  127,  100.75,       0.1,
                                   1e-7, 3.4, 42.9, 65504.0, 0.333, 1e-5, 1.0009765625, 6e-8};
  for (const at::ScalarType from : dtypes) {
    for (const at::ScalarType to : dtypes) {
      SCOPED_TRACE(testing::Message() << from << " to " << to);
      // Conversions of numbers out of range are undefined.
      const bool below_zero = has_sign(from) && has_sign(to);
      const at::Tensor numbers =
          at::tensor(values, at::kDouble).clamp(below_zero ? -3.0 : 0.0, 127.0);
      const at::Tensor source = numbers.to(from).reshape({4, 4}).t();
      const at::Tensor expected = at::zeros({2, 4, 4}, to), found = at::zeros({2, 4, 4}, to);
      const Both give{source}, torch{expected}, native{found};
      ASSERT_EQ(aoti_torch_copy_(torch.torch, give.torch, 0), 0);
      ASSERT_EQ(NativeFunctions::copy_(native.native, give.native, 0), 0);
      EXPECT_TRUE(at::equal(found, expected)) << found << expected;
    }
  }
}

TEST(NativeFunctions, ConvertEveryHalf) {
  at::Tensor halves = at::empty({65536}, at::kShort);
  for (int i = 0; i < 65536; ++i) halves.data_ptr<std::int16_t>()[i] = static_cast<std::int16_t>(i);
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
    const at::Tensor source = halves.view(dtype);
    const at::Tensor wide = at::empty({65536}), back = at::empty({65536}, dtype);
    const Both give{source}, middle{wide}, end{back};
    ASSERT_EQ(NativeFunctions::copy_(middle.native, give.native, 0), 0);
    EXPECT_TRUE(at::equal(at::nan_to_num(wide, 7), at::nan_to_num(source.to(at::kFloat), 7)));
    ASSERT_EQ(NativeFunctions::copy_(end.native, middle.native, 0), 0);
    EXPECT_TRUE(at::equal(at::nan_to_num(back.to(at::kFloat), 7),
                          at::nan_to_num(source.to(at::kFloat), 7)));
    // Numbers between two representable ones, and too large or too small ones.
    const at::Tensor floats =
        (at::randn({1 << 16}) * at::pow(2.0, at::randint(-30, 20, {1 << 16}).to(at::kFloat)))
            .contiguous();
    const at::Tensor expected = floats.to(dtype), found = at::empty({1 << 16}, dtype);
    const Both from{floats}, to{found};
    ASSERT_EQ(NativeFunctions::copy_(to.native, from.native, 0), 0);
    EXPECT_TRUE(at::equal(found, expected));
  }
}

TEST(NativeFunctions, CopyRefusesWhatTorchRefuses) {
  const Both small{at::zeros({2, 3})}, other{at::zeros({2, 4})};
  EXPECT_NE(aoti_torch_copy_(small.torch, other.torch, 0), 0);
  EXPECT_NE(NativeFunctions::copy_(small.native, other.native, 0), 0);
  EXPECT_EQ(Native::last_error(), "aoti_torch_copy_: the sizes do not match");
}

TEST(NativeFunctions, ZeroWhateverTheLayout) {
  for (const at::Tensor& layout : layouts()) {
    if (layout.numel() == 0 || layout.strides().vec() == at::IntArrayRef{0, 1}.vec()) continue;
    const at::Tensor memory = layout.clone(), around = at::ones({100});
    const Both both{memory};
    ASSERT_EQ(NativeFunctions::zero_(both.native), 0);
    EXPECT_EQ(memory.abs().sum().item<float>(), 0);
    const at::Tensor part = around.as_strided({3, 4}, {20, 2});
    const Both inside{part};
    ASSERT_EQ(NativeFunctions::zero_(inside.native), 0);
    EXPECT_EQ(around.sum().item<float>(), 88);
  }
}

template <class T, class Torch, class Native_> void expect_item(Torch torch, Native_ native) {
  for (const at::ScalarType dtype : dtypes) {
    SCOPED_TRACE(dtype);
    const Both both{at::full({1, 1}, 3.0).to(dtype)};
    T a{}, b{};
    ASSERT_EQ(torch(both.torch, &a), 0);
    ASSERT_EQ(native(both.native, &b), 0);
    EXPECT_EQ(a, b);
  }
}

TEST(NativeFunctions, GoBetweenScalarsAndTensors){
#define AOTI_SCALAR(name, type)                                                     \
  {                                                                                 \
    SCOPED_TRACE(#name);                                                            \
    expect_item<type>(aoti_torch_item_##name,                                       \
                      aoti::abi::resolve<Native, imported::item_##name>());         \
    AtenTensorHandle torch = nullptr, native = nullptr;                             \
    ASSERT_EQ(aoti_torch_scalar_to_tensor_##name(static_cast<type>(5), &torch), 0); \
    ASSERT_EQ((aoti::abi::resolve<Native, imported::scalar_to_tensor_##name>()(     \
                  static_cast<type>(5), &native)),                                  \
              0);                                                                   \
    expect_same(torch, native);                                                     \
  }
    AOTI_SCALAR(float32, float) AOTI_SCALAR(float64, double) AOTI_SCALAR(int8, std::int8_t)
        AOTI_SCALAR(int16, std::int16_t) AOTI_SCALAR(int32, std::int32_t)
            AOTI_SCALAR(int64, std::int64_t) AOTI_SCALAR(uint8, std::uint8_t)
                AOTI_SCALAR(uint16, std::uint16_t) AOTI_SCALAR(uint32, std::uint32_t)
                    AOTI_SCALAR(uint64, std::uint64_t) AOTI_SCALAR(bool, bool)
#undef AOTI_SCALAR
}

TEST(NativeFunctions, GiveTorchsNumbers) {
  for (const aoti::abi::Row& row : aoti::abi::import_rows) {
    const std::string_view name = row.symbol;
    if (name.find("_dtype_") == name.npos && name.find("_layout_") == name.npos &&
        name.find("_memory_format_") == name.npos && name.find("_device_type_") == name.npos) {
      continue;
    }
    if (name.ends_with("element_size") || name.find("get_") != name.npos) continue;
    using Number = std::int32_t();
    auto* torch = reinterpret_cast<Number*>(aoti::Libtorch::import(row.symbol));
    auto* native = reinterpret_cast<Number*>(Native::import(row.symbol));
    ASSERT_NE(native, nullptr) << name;
    if (torch == nullptr) continue;
    EXPECT_EQ(native(), torch()) << name;
  }
  for (int dtype = 0; dtype < 46; ++dtype) {
    const std::size_t size = NativeFunctions::dtype_element_size(dtype);
    if (size == 0) continue;
    EXPECT_EQ(size, aoti_torch_dtype_element_size(dtype)) << dtype;
  }
}

TEST(NativeFunctions, FindWhatIsNotFinite) {
  for (const double bad : {INFINITY, -INFINITY, NAN}) {
    const Both finite{at::ones({3, 4})}, other{at::full({3, 4}, bad, at::kBFloat16)};
    EXPECT_EQ(NativeFunctions::check_inf_and_nan("x", finite.native), 0);
    EXPECT_NE(NativeFunctions::check_inf_and_nan("x", other.native), 0);
  }
}

TEST(Dlpack, GoesToTorchAndBack) {
  for (const at::ScalarType dtype :
       {at::kFloat, at::kLong, at::kBool, at::kBFloat16, at::kComplexFloat}) {
    const at::Tensor tensor = at::arange(12).to(dtype).reshape({3, 4}).t();
    const aoti::Tensor here = value_of(aoti::from_dlpack(at::toDLPack(tensor)));
    EXPECT_EQ(here.data(), tensor.data_ptr());
    EXPECT_GT(tensor.use_count() + tensor.storage().use_count(),
              2u);  // the tensor or the storage is shared
    const at::Tensor back = at::fromDLPack(value_of(aoti::to_dlpack<DLManagedTensor>(here)));
    EXPECT_TRUE(back.strides() == tensor.strides() && back.dtype() == tensor.dtype());
    EXPECT_EQ(back.data_ptr(), tensor.data_ptr());
  }
}

// Both runtimes in one process, on one package: each model gets its own runtime's functions.
TEST(BothRuntimes, RunOneModelSideBySide) {
  using Bare = aoti::Runner<aoti::Cpu, Native>;
  const auto torch = aoti_test::opened("add");
  const auto native = aoti_test::opened<Bare>("add");
  const at::Tensor a = at::randn({8}), b = at::randn({8});
  const auto x = value_of(aoti::Tensor::borrow(a.data_ptr<float>(), {8}));
  const auto y = value_of(aoti::Tensor::borrow(b.data_ptr<float>(), {8}));
  for (int i = 0; i < 3; ++i) {
    const auto expected = value_of(torch.run<1>(a, b));
    const auto found = value_of(native.run<1>(x, y));
    const at::Tensor view = at::from_blob(found[0].data(), {8});
    EXPECT_TRUE(at::equal(view, expected[0]));
  }
}

}  // namespace
