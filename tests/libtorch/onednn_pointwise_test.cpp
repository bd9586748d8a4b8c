// Linear layers and convolutions with fused functions on oneDNN, compared with torch's, with
// weights that are not packed; and the refusal of packed ones.
#include "libtorch/onednn.hpp"

namespace aoti_test {
namespace {

namespace imported = aoti::abi::imported;

struct Function {
  const char* name;
  std::vector<double> scalars = {};
  const char* algorithm = nullptr;
};
const std::vector<Function> functions = {{"none"},
                                         {"relu"},
                                         {"leaky_relu", {0.2}},
                                         {"sigmoid"},
                                         {"tanh"},
                                         {"swish"},
                                         {"hardswish"},
                                         {"hardsigmoid"},
                                         {"hardtanh", {-0.2, 0.3}},
                                         {"gelu", {}, "none"},
                                         {"gelu", {}, "tanh"}};

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

template <class Call> void expect_alike(const Call& call, const std::string& what) {
  AtenTensorHandle expected_handle = nullptr, found_handle = nullptr;
  ASSERT_EQ(call(true, &expected_handle), 0) << what;
  ASSERT_EQ(call(false, &found_handle), 0) << what << ": " << aoti::NativeOnednn::last_error();
  const at::Tensor expected = taken_torch(expected_handle);
  const aoti::Tensor found = taken_native(found_handle);
  EXPECT_TRUE(same_layout(found, expected)) << what;
  EXPECT_TRUE(assert_close(torch_of(found), expected, 2)) << what;
}

template <class Import> auto function_in(bool torch) {
  return torch ? torch_function<Import>() : native_function<Import>();
}
AtenTensorHandle of(Twin& twin, bool torch) { return torch ? twin.of_torch() : twin.of_native(); }

TEST(Pointwise, LinearLayers) {
  at::manual_seed(0);
  Twin weight = twin(at::randn({12, 20}) * 0.2), bias = twin(at::randn({12}));
  for (const Sizes& sizes : std::vector<Sizes>{{5, 20}, {2, 3, 20}, {1, 20}}) {
    Twin x = twin(at::randn(sizes));
    for (const Function& function : functions) {
      for (const bool biased : {false, true}) {
        Parameters parameters{function};
        expect_alike(
            [&](bool torch, AtenTensorHandle* out) {
              AtenTensorHandle b = of(bias, torch);
              return function_in<imported::cpu__linear_pointwise>(torch)(
                  of(x, torch), of(weight, torch), biased ? &b : nullptr, function.name,
                  parameters.scalars.data(), parameters.count(), parameters.algorithm_or_null(),
                  out);
            },
            function.name);
      }
    }
    Sizes result = sizes;
    result.back() = 12;
    Twin other = twin(at::randn(result));
    for (const char* operation : {"add", "sub"}) {
      expect_alike(
          [&](bool torch, AtenTensorHandle* out) {
            AtenTensorHandle b = of(bias, torch);
            return function_in<imported::cpu__linear_pointwise_binary>(torch)(
                of(x, torch), of(other, torch), of(weight, torch), &b, operation, out);
          },
          operation);
    }
  }
}

TEST(Pointwise, Convolutions) {
  at::manual_seed(0);
  const std::int64_t one[] = {1, 1};
  for (const at::MemoryFormat format :
       {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    Twin x = twin(at::randn({2, 6, 9, 8}).contiguous(format));
    Twin weight = twin((at::randn({10, 6, 3, 3}) * 0.2).contiguous(format));
    Twin bias = twin(at::randn({10}));
    Twin other = twin(at::randn({2, 10, 9, 8}).contiguous(format));
    for (const Function& function : functions) {
      Parameters parameters{function};
      expect_alike(
          [&](bool torch, AtenTensorHandle* out) {
            AtenTensorHandle b = of(bias, torch);
            return function_in<imported::cpu_mkldnn__convolution_pointwise>(torch)(
                of(x, torch), of(weight, torch), &b, one, 2, one, 2, one, 2, 1, function.name,
                parameters.scalars.data(), parameters.count(), parameters.algorithm_or_null(), out);
          },
          function.name);
    }
    const char* relu = "relu";
    for (const char** function : {static_cast<const char**>(nullptr), &relu}) {
      expect_alike(
          [&](bool torch, AtenTensorHandle* out) {
            AtenTensorHandle b = of(bias, torch);
            double alpha = 1;
            return function_in<imported::cpu_mkldnn__convolution_pointwise_binary>(torch)(
                of(x, torch), of(other, torch), of(weight, torch), &b, one, 2, one, 2, one, 2, 1,
                "add", &alpha, function, nullptr, 0, nullptr, out);
          },
          "add");
      Twin torch_target = twin(other.torch.clone()), native_target = twin(other.torch.clone());
      expect_alike(
          [&](bool torch, AtenTensorHandle* out) {
            Twin& target = torch ? torch_target : native_target;
            AtenTensorHandle b = of(bias, torch);
            double alpha = 1;
            return function_in<imported::cpu_mkldnn__convolution_pointwise_binary_>(torch)(
                of(target, torch), of(x, torch), of(weight, torch), &b, one, 2, one, 2, one, 2, 1,
                "add", &alpha, function, nullptr, 0, nullptr, out);
          },
          "add in place");
    }
  }
}

TEST(Pointwise, SmallConvolutionsOfThreeDimensions) {
  at::manual_seed(0);
  const std::int64_t one[] = {1, 1, 1};
  for (const at::MemoryFormat format :
       {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast3d}) {
    Twin x = twin(at::randn({1, 4, 8, 8, 8}).contiguous(format));
    Twin weight = twin(at::randn({8, 4, 3, 3, 3})), bias = twin(at::randn({8}));
    expect_alike(
        [&](bool torch, AtenTensorHandle* out) {
          AtenTensorHandle b = of(bias, torch);
          return function_in<imported::cpu_mkldnn__convolution_pointwise>(torch)(
              of(x, torch), of(weight, torch), &b, one, 3, one, 3, one, 3, 1, "relu", nullptr, 0,
              nullptr, out);
        },
        "relu");
  }
}

// Adding a tensor times zero needs another plan than a plain convolution.
TEST(Pointwise, ConvolutionsWithAndWithoutAnotherAreNotMixedUp) {
  const std::int64_t one[] = {1, 1};
  const double no_scalar = 0;
  Twin x = twin(at::randn({1, 3, 5, 5})), weight = twin(at::randn({4, 3, 3, 3}));
  Twin other = twin(at::randn({1, 4, 5, 5})), bias = twin(at::randn({4}));
  const at::Tensor expected = at::conv2d(x.torch, weight.torch, bias.torch, 1, 1);
  for (int i = 0; i < 3; ++i) {
    AtenTensorHandle b = bias.of_native(), added = nullptr, plain = nullptr;
    double alpha = no_scalar;
    ASSERT_EQ(native_function<imported::cpu_mkldnn__convolution_pointwise_binary>()(
                  x.of_native(), other.of_native(), weight.of_native(), &b, one, 2, one, 2, one, 2,
                  1, "add", &alpha, nullptr, nullptr, 0, nullptr, &added),
              0);
    ASSERT_EQ(native_function<imported::cpu_mkldnn__convolution_pointwise>()(
                  x.of_native(), weight.of_native(), &b, one, 2, one, 2, one, 2, 1, "none", nullptr,
                  0, nullptr, &plain),
              0);
    for (const AtenTensorHandle handle : {added, plain}) {
      const aoti::Tensor found = taken_native(handle);
      EXPECT_TRUE(assert_close(torch_of(found), expected, 4));
    }
  }
}

TEST(Pointwise, RefusesUnknownFunctions) {
  Twin x = twin(at::randn({2, 3})), weight = twin(at::randn({4, 3}));
  AtenTensorHandle out = nullptr;
  EXPECT_NE(native_function<imported::cpu__linear_pointwise>()(
                x.of_native(), weight.of_native(), nullptr, "erf", nullptr, 0, nullptr, &out),
            0);
  EXPECT_EQ(aoti::NativeOnednn::last_error(),
            "aoti_torch_cpu__linear_pointwise: the fused function is not known");
}

TEST(PackedWeights, AreRefused) {
  float data[4] = {};
  const std::int64_t sizes[] = {2, 2}, strides[] = {2, 1};
  constexpr std::int32_t mkldnn = 2;
  AtenTensorHandle out = nullptr;
  EXPECT_NE(native_function<imported::create_tensor_from_blob_v2>()(
                data, 2, sizes, strides, 0, static_cast<std::int32_t>(aoti::DType::float32), 0, -1,
                &out, mkldnn, nullptr, 0),
            0);
  EXPECT_NE(aoti::NativeOnednn::last_error().find("cpp.weight_prepack"), std::string::npos);
}

}  // namespace
}  // namespace aoti_test
