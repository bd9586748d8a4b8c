// Provides a function that a model imports: here the matrix product of a small network, which
// would otherwise come from oneDNN (aoti/runtime/onednn.hpp) or from libtorch.
#include <aoti/aoti.hpp>
#include <aoti/runtime/native.hpp>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

/// out = beta * bias + alpha * a b, for float32, as torch's aoti_torch_cpu_addmm_out.
AOTITorchError addmm_out(AtenTensorHandle out_handle, AtenTensorHandle bias_handle,
                         AtenTensorHandle a_handle, AtenTensorHandle b_handle, double beta,
                         double alpha) {
  const aoti::Tensor& out = aoti::Native::peek(out_handle);
  const aoti::Tensor& bias = aoti::Native::peek(bias_handle);
  const aoti::Tensor& a = aoti::Native::peek(a_handle);
  const aoti::Tensor& b = aoti::Native::peek(b_handle);
  if (a.dtype() != aoti::DType::float32 || bias.rank() != 1) {
    return aoti::NativeFunctions::fail("addmm_out", "only float32 with a bias of one row");
  }
  const auto at = [](const aoti::Tensor& t, std::int64_t i, std::int64_t k) -> float& {
    return static_cast<float*>(t.data())[i * t.strides()[0] + k * t.strides()[1]];
  };
  for (std::int64_t i = 0; i < out.sizes()[0]; ++i) {
    for (std::int64_t k = 0; k < out.sizes()[1]; ++k) {
      double sum = 0;
      for (std::int64_t j = 0; j < a.sizes()[1]; ++j) sum += double{at(a, i, j)} * at(b, j, k);
      const double added = static_cast<const float*>(bias.data())[k * bias.strides()[0]];
      at(out, i, k) = static_cast<float>(beta * added + alpha * sum);
    }
  }
  return 0;
}

using Runtime = aoti::NativeWith<aoti::Provide<aoti::abi::imported::cpu_addmm_out, addmm_out>>;

int fail(const aoti::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string path = (argc > 1 ? std::string{argv[1]} : ".") + "/mlp.pt2";

  // Without it, the model is refused, and the error names the missing function.
  auto refused = aoti::Runner<aoti::Cpu, aoti::Native>::open(path);
  if (refused) return 1;
  std::printf("%s\n", refused.error().message().c_str());

  auto runner = aoti::Runner<aoti::Cpu, Runtime>::open(path);
  if (!runner) return fail(runner.error());
  const std::vector<float> zeros(4 * 64);
  auto input = aoti::Tensor::borrow(zeros.data(), {4, 64});
  if (!input) return fail(input.error());
  auto outputs = runner.value().run<1>(input.value());
  if (!outputs) return fail(outputs.error());
  auto elements = outputs.value()[0].elements<float>();
  if (!elements) return fail(elements.error());
  std::printf("of zeros: %g, %g, …\n", elements.value()[0], elements.value()[1]);
  return elements.value()[0] == elements.value()[8] ? 0 : 1;
}
