// Operators for the tests, in a library like a user's: plain functions, registered with torch.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <tuple>

namespace {

/// factor * x, rolled by each of the shifts; plus the bias; negated if the mode is "negative".
at::Tensor mix(const at::Tensor& x, double factor, at::IntArrayRef shifts,
               const std::optional<at::Tensor>& bias, c10::string_view mode) {
  at::Tensor y = x * factor;
  for (const std::int64_t shift : shifts) y = y.roll(shift);
  if (bias) y = y + *bias;
  return mode == "negative" ? -y : y;
}

std::tuple<at::Tensor, at::Tensor> halves(const at::Tensor& x) {
  const std::int64_t half = x.size(0) / 2;
  return {x.narrow(0, 0, half).clone(), x.narrow(0, half, x.size(0) - half).clone()};
}

std::vector<at::Tensor> pieces(const at::Tensor& x, std::int64_t count) {
  std::vector<at::Tensor> result;
  for (const at::Tensor& piece : x.chunk(count)) result.push_back(piece.clone());
  return result;
}

at::Tensor sum_of(const std::vector<at::Tensor>& tensors, std::vector<double> weights,
                  at::ScalarType dtype) {
  at::Tensor sum = at::zeros_like(tensors[0]);
  for (std::size_t i = 0; i < tensors.size(); ++i) sum = sum + weights[i] * tensors[i];
  return sum.to(dtype);
}

/// The first of the tensors plus the others; `fill` stands for a missing one.
at::Tensor gather(const c10::List<std::optional<at::Tensor>>& tensors, const at::Scalar& fill) {
  at::Tensor sum = *tensors.get(0);
  for (std::size_t i = 1; i < tensors.size(); ++i) {
    const std::optional<at::Tensor> next = tensors.get(i);
    sum = next ? sum + *next : sum + fill;
  }
  return sum;
}

/// The elements of x, repeated as needed, in another shape.
at::Tensor resized(const at::Tensor& x, at::IntArrayRef sizes, at::Device device) {
  at::Tensor y = at::empty(sizes, x.options().device(device));
  float* const to = y.data_ptr<float>();
  for (std::int64_t i = 0; i < y.numel(); ++i) to[i] = x.const_data_ptr<float>()[i % x.numel()];
  return y;
}

at::Tensor not_negative(const at::Tensor& x) {
  TORCH_CHECK(x.min().item<double>() >= 0, "a negative number was found by not_negative");
  return x.clone();
}

at::Tensor scaled(const at::Tensor& x, const at::Scalar& factor,
                  const std::optional<at::Scalar>& shift) {
  TORCH_CHECK(factor.isBoolean() && shift && shift->isBoolean(), "scaled expects bools");
  return x * factor + *shift;
}

void accumulate(at::Tensor& total, const at::Tensor& x) { total.add_(x); }

TORCH_LIBRARY(aoti_tests, library) {
  library.def("mix(Tensor x, float factor, int[] shifts, Tensor? bias, str mode) -> Tensor", mix);
  library.def("halves(Tensor x) -> (Tensor, Tensor)", halves);
  library.def("pieces(Tensor x, int count) -> Tensor[]", pieces);
  library.def("sum_of(Tensor[] tensors, float[] weights, ScalarType dtype) -> Tensor", sum_of);
  library.def("gather(Tensor?[] tensors, Scalar fill) -> Tensor", gather);
  library.def("resized(Tensor x, SymInt[] sizes, Device device) -> Tensor");
  library.impl("resized", c10::DispatchKey::CPU, TORCH_FN(resized));
  library.def("not_negative(Tensor x) -> Tensor", not_negative);
  library.def("scaled(Tensor x, Scalar factor, Scalar? shift) -> Tensor", scaled);
  library.def("accumulate(Tensor(a!) total, Tensor x) -> ()", accumulate);
}

}  // namespace
