// Fourier transforms on FFTW, compared with torch's.
#include <aoti/runtime/fftw.hpp>

#include "libtorch/native_operators.hpp"

namespace aoti_test {
namespace {

namespace imported = aoti::abi::imported;
using Native = aoti::NativeWith<aoti::Fftw>;
using Dims = std::vector<std::int64_t>;

template <class Import>
void expect_imported(const at::Tensor& self, const Dims& dims, std::int64_t normalization,
                     bool flag) {
  SCOPED_TRACE(testing::Message() << Import::symbol << self.sizes() << self.strides() << " over "
                                  << at::IntArrayRef{dims} << " " << normalization << flag);
  Twin x = twin(self);
  AtenTensorHandle wanted = nullptr, got = nullptr;
  const auto count = static_cast<std::int64_t>(dims.size());
  ASSERT_EQ(
      torch_function<Import>()(x.of_torch(), dims.data(), count, normalization, flag, &wanted), 0);
  ASSERT_EQ((aoti::abi::resolve<Native, Import>()(x.of_native(), dims.data(), count, normalization,
                                                  flag, &got)),
            0)
      << Native::last_error();
  const at::Tensor expected = taken_torch(wanted);
  const aoti::Tensor found = Native::take(got);
  EXPECT_TRUE(same_layout(found, expected));
  ASSERT_EQ(static_cast<at::ScalarType>(found.dtype()), expected.scalar_type());
  if (expected.numel() == 0) return;
  EXPECT_TRUE(assert_close(at::view_as_real(torch_of(found)), at::view_as_real(expected), 2));
}

std::vector<at::Tensor> laid(const at::Tensor& tensor) {
  return {tensor, tensor.transpose(0, -1).contiguous().transpose(0, -1),
          tensor.transpose(1, 2).contiguous().transpose(1, 2), tensor.slice(1, 0, 3).slice(0, 1),
          tensor.slice(0, 0, 1).expand(tensor.sizes())};
}

class Transforms : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(0); }
};

TEST_P(Transforms, OfComplexNumbers) {
  const at::ScalarType dtype = c10::toComplexType(GetParam());
  for (const at::Tensor& x : laid(at::randn({3, 5, 4, 6}, dtype))) {
    for (const Dims& dims :
         {Dims{3}, Dims{0}, Dims{1, 2}, Dims{3, 0}, Dims{2, 1, 3}, Dims{0, 1, 2, 3}}) {
      for (const std::int64_t normalization : {0, 1, 2}) {
        expect_imported<imported::cpu__fft_c2c>(x, dims, normalization, normalization != 2);
      }
    }
  }
  for (const std::int64_t size : {1, 2, 7, 64, 101, 1000}) {
    expect_imported<imported::cpu__fft_c2c>(at::randn({2, size}, dtype), {1}, 0, true);
  }
  expect_imported<imported::cpu__fft_c2c>(at::randn({0, 4}, dtype), {1}, 0, true);
  expect_imported<imported::cpu__fft_c2c>(at::randn({3, 4}, dtype).t(), {}, 0, true);
}

TEST_P(Transforms, OfRealNumbers) {
  for (const at::Tensor& x : laid(at::randn({3, 5, 4, 6}, GetParam()))) {
    for (const Dims& dims : {Dims{3}, Dims{0}, Dims{1, 2}, Dims{3, 0}, Dims{2, 1, 3}}) {
      for (const std::int64_t normalization : {0, 1, 2}) {
        for (const bool onesided : {true, false}) {
          expect_imported<imported::cpu__fft_r2c>(x, dims, normalization, onesided);
        }
      }
    }
  }
  for (const std::int64_t size : {1, 2, 7, 64, 101, 1000}) {
    expect_imported<imported::cpu__fft_r2c>(at::randn({2, size}, GetParam()), {1}, 0, true);
  }
}

TEST_P(Transforms, BackToRealNumbers) {
  const at::ScalarType dtype = c10::toComplexType(GetParam());
  for (const at::Tensor& x : laid(at::randn({3, 5, 4, 6}, dtype))) {
    const at::Tensor before = x.clone();
    for (const Dims& dims : {Dims{3}, Dims{0}, Dims{1, 2}, Dims{3, 0}, Dims{2, 1, 3}}) {
      const std::int64_t half = x.size(dims.back());
      for (const std::int64_t size : {2 * half - 2, 2 * half - 1}) {
        for (const std::int64_t normalization : {0, 1, 2}) {
          if (size < 1) continue;
          expect_torchs<Native>(
              "aten::_fft_c2r",
              {given("self", x), given("dim", dims), given("normalization", normalization),
               given("last_dim_size", size)},
              {at::_fft_c2r(x, dims, normalization, size)}, 2);
        }
      }
    }
    EXPECT_TRUE(at::equal(x, before));
  }
}

INSTANTIATE_TEST_SUITE_P(Fftw, Transforms, testing::Values(at::kFloat, at::kDouble),
                         [](const auto& test) { return std::string{c10::toString(test.param)}; });

TEST(Fftw, RefusesWhatDoesNotFit) {
  const auto back = [](const at::Tensor& x, const Dims& dims, std::int64_t size) {
    return refusal<Native>("aten::_fft_c2r",
                           {given("self", x), given("dim", dims), given("normalization", 0),
                            given("last_dim_size", size)},
                           1);
  };
  const at::Tensor x = at::randn({3, 4}, at::kComplexFloat);
  EXPECT_EQ(back(x, {1}, 8), "aten::_fft_c2r: the sizes do not match");
  EXPECT_EQ(back(x, {2}, 6), "aten::_fft_c2r: there is no such dimension");
  EXPECT_EQ(back(x, {0, 0, 1}, 6), "aten::_fft_c2r: a dimension comes twice");
  EXPECT_EQ(back(at::randn({3, 4}), {1}, 6), "aten::_fft_c2r: not for this dtype");
}

}  // namespace
}  // namespace aoti_test
