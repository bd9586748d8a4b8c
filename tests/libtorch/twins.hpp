// What the tests of operators without libtorch share: tensors of both runtimes in the same memory,
// and torch's own operators to compare with.
#pragma once

#include <ATen/ATen.h>

#include <aoti/runtime/native.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "libtorch/models.hpp"
#include "runtime/native_case.hpp"

namespace aoti_test {

/// One tensor for torch and for the native runtime.
struct Twin {
  at::Tensor torch;
  aoti::Tensor native;

  AtenTensorHandle of_torch() { return reinterpret_cast<AtenTensorHandle>(&torch); }
  AtenTensorHandle of_native() {
    return aoti::detail::TensorBody::handle(aoti::detail::TensorAccess::body_of(native));
  }
};

/// A native tensor on torch's memory.
inline aoti::Tensor native_of(const at::Tensor& tensor) {
  return value_of(aoti::Tensor::borrow(static_cast<aoti::DType>(tensor.scalar_type()),
                                       tensor.numel() != 0 ? tensor.data_ptr() : nullptr,
                                       {tensor.sizes().data(), tensor.sizes().size()},
                                       {tensor.strides().data(), tensor.strides().size()}));
}
inline Twin twin(const at::Tensor& tensor) { return {tensor, native_of(tensor)}; }

/// A copy of the native tensor's elements, with its strides.
inline at::Tensor torch_of(const aoti::Tensor& tensor) {
  const auto sizes = tensor.sizes(), strides = tensor.strides();
  return at::from_blob(tensor.data(), at::IntArrayRef{sizes.data(), sizes.size()},
                       at::IntArrayRef{strides.data(), strides.size()},
                       at::TensorOptions{static_cast<at::ScalarType>(tensor.dtype())});
}

/// As torch.testing.assert_close does by default.
inline testing::AssertionResult assert_close(const at::Tensor& found, const at::Tensor& expected,
                                             double widened = 1) {
  double relative = 0, absolute = 0;
  switch (expected.scalar_type()) {
    case at::kFloat:
    case at::kComplexFloat:
      relative = 1.3e-6, absolute = 1e-5;
      break;
    case at::kDouble:
    case at::kComplexDouble:
      relative = absolute = 1e-7;
      break;
    case at::kBFloat16:
      relative = 1.6e-2, absolute = 1e-5;
      break;
    case at::kHalf:
      relative = 1e-3, absolute = 1e-5;
      break;
    default:
      break;
  }
  if (found.sizes() != expected.sizes() || found.scalar_type() != expected.scalar_type()) {
    return testing::AssertionFailure() << "found " << found.toString() << found.sizes()
                                       << ", expected " << expected.toString() << expected.sizes();
  }
  if (at::allclose(found, expected, relative * widened, absolute * widened, true)) {
    return testing::AssertionSuccess();
  }
  const at::Tensor apart = (found - expected).abs().to(at::kDouble);
  return testing::AssertionFailure()
         << "apart by up to " << apart.max().item<double>() << ", expected up to "
         << expected.abs().to(at::kDouble).max().item<double>();
}

/// Sizes, and strides where they are not 1.
inline testing::AssertionResult same_layout(const aoti::Tensor& found, const at::Tensor& expected) {
  const at::IntArrayRef sizes{found.sizes().data(), found.sizes().size()};
  const at::IntArrayRef strides{found.strides().data(), found.strides().size()};
  if (sizes == expected.sizes() && strides == expected.strides()) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure()
         << "found " << sizes << " of strides " << strides << ", expected " << expected.sizes()
         << " of strides " << expected.strides();
}

template <class Import> typename Import::type* torch_function() {
  return aoti::abi::resolve<aoti::Libtorch, Import>();
}
/// Takes over what a function handed out.
inline at::Tensor taken_torch(AtenTensorHandle handle) { return aoti::Libtorch::take(handle); }

}  // namespace aoti_test
