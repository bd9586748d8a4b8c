// What the tests on libtorch share: models compiled by torch, opened, and input tensors.
#pragma once

#include <ATen/ATen.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libtorch/runtime_case.hpp"
#include "runtime/models.hpp"
#include "support/support.hpp"

namespace aoti_test {

using Runner = aoti::Runner<aoti::Cpu>;
using SharedRunner =
    aoti::Runner<aoti::Cpu, aoti::Libtorch, aoti::Options{.access = aoti::Access::shared}>;
using UncheckedRunner =
    aoti::Runner<aoti::Cpu, aoti::Libtorch,
                 aoti::Options{.check_inputs = false, .detect_concurrent_use = false}>;

using Tensors = std::vector<at::Tensor>;
using Sizes = std::vector<std::int64_t>;

/// Torch's loader loads an image as it is, which then needs libtorch.so.
inline void load_libtorch_so() {
  Dl_info inside{};
  ASSERT_NE(::dladdr(reinterpret_cast<const void*>(&aoti_torch_delete_tensor_object), &inside), 0);
  std::string path = inside.dli_fname;
  path = path.substr(0, path.rfind('/')) + "/libtorch.so";
  ASSERT_NE(::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL), nullptr) << ::dlerror();
}

// On libtorch, unless another runner is named.
template <class R = Runner> std::string unavailable(std::string_view name);
template <class R = Runner>
std::vector<const char*> available(std::initializer_list<const char*> names);
template <class R = Runner> void needs(std::string_view name);
template <class R = Runner> R opened(std::string_view model, const aoti::OpenOptions& options);

/// The results of eager PyTorch: the two tensors of NAME.bin.
struct Recorded {
  at::Tensor input;
  at::Tensor output;
};

inline Recorded recorded(std::string_view name, const Sizes& input, const Sizes& output) {
  const auto bytes = read_file(models_file(std::string{name}.append(".bin")));
  Recorded result{at::full(input, 0.0f), at::full(output, 0.0f)};
  if (bytes.size() != result.input.nbytes() + result.output.nbytes()) {
    throw std::runtime_error{"the recording has another size"};
  }
  std::memcpy(result.input.data_ptr(), bytes.data(), result.input.nbytes());
  std::memcpy(result.output.data_ptr(), bytes.data() + result.input.nbytes(),
              result.output.nbytes());
  return result;
}

inline Recorded recorded_mlp() { return recorded("mlp", {4, 64}, {4, 8}); }
inline Recorded recorded_wide() { return recorded("wide", {1, 1024}, {1, 1024}); }

inline testing::AssertionResult same(const at::Tensor& found, const at::Tensor& expected) {
  if (found.defined() && found.sizes() == expected.sizes() && found.dtype() == expected.dtype() &&
      at::equal(found, expected)) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "found " << found << "\nexpected " << expected;
}

inline testing::AssertionResult close(const at::Tensor& found, const at::Tensor& expected) {
  if (found.defined() && found.sizes() == expected.sizes() && found.dtype() == expected.dtype() &&
      at::allclose(found, expected, 1e-4, 1e-5)) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "found " << found << "\nexpected " << expected;
}

inline at::Tensor longs(const std::vector<std::int64_t>& numbers) {
  at::Tensor tensor = at::full({static_cast<std::int64_t>(numbers.size())}, 0, at::kLong);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    tensor.data_ptr<std::int64_t>()[i] = numbers[i];
  }
  return tensor;
}

}  // namespace aoti_test
