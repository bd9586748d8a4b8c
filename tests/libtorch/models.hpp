// What the tests on libtorch share: the models that torch compiled, opened, and tensors to give
// them.
#pragma once

#include <ATen/ATen.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

/// Torch's loader hands an image to the system as it is, which asks for libtorch.so.
inline void load_libtorch_so() {
  Dl_info inside{};
  ASSERT_NE(::dladdr(reinterpret_cast<const void*>(&aoti_torch_delete_tensor_object), &inside), 0);
  std::string path = inside.dli_fname;
  path = path.substr(0, path.rfind('/')) + "/libtorch.so";
  ASSERT_NE(::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL), nullptr) << ::dlerror();
}

/// Where the models lie: those of the build, unless AOTI_TEST_MODELS_DIR in the environment names
/// others, which another torch may have compiled.
inline std::string models_file(std::string_view name) {
  const char* other = std::getenv("AOTI_TEST_MODELS_DIR");
  return std::string{other != nullptr ? other : AOTI_TEST_MODELS_DIR}.append("/").append(name);
}

inline std::string model_path(std::string_view name) {
  return models_file(std::string{name}.append(".pt2"));
}

/// Whether torch before `major`.`minor` compiled the models.
inline bool compiled_before(int major, int minor) {
  static const std::pair<int, int> version = [] {
    std::ifstream file{models_file("stamps.json")};
    const std::string text{std::istreambuf_iterator<char>{file}, {}};
    const std::size_t at = text.find(": \"");
    std::pair<int, int> found;
    if (at == text.npos || std::sscanf(&text[at + 3], "%d.%d", &found.first, &found.second) != 2) {
      throw std::runtime_error{"no version in " + models_file("stamps.json")};
    }
    return found;
  }();
  return version < std::pair{major, minor};
}

/// Ends a test as skipped.
[[noreturn]] inline void skip(const std::string& reason) {
  [&] { GTEST_SKIP() << reason; }();
  throw testing::AssertionException{
      testing::TestPartResult{testing::TestPartResult::kSkip, nullptr, 0, reason.c_str()}};
}

/// Whether a model was refused for functions that only a later libtorch than this one has.
inline bool needs_later_libtorch(const aoti::Error& error) {
  return error.code() == aoti::Errc::missing_import &&
         error.text().find("does not provide aoti_torch_") != std::string_view::npos &&
         !compiled_before(TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR + 1);
}

/// Why a model cannot be used; empty where it can. The torch that compiled the others may lack what
/// it needs, or this libtorch.
inline std::string unavailable(std::string_view name) {
  std::ifstream file{models_file(std::string{name}.append(".unavailable"))};
  if (file) return {std::istreambuf_iterator<char>{file}, {}};
  auto runner = Runner::open(model_path(name));
  if (!runner) {
    return needs_later_libtorch(runner.error()) ? std::string{runner.error().text()} : "";
  }
  std::move(runner).value().unload();
  return {};
}

/// Those of the models that can be used.
inline std::vector<const char*> available(std::initializer_list<const char*> names) {
  std::vector<const char*> result;
  for (const char* name : names) {
    if (unavailable(name).empty()) result.push_back(name);
  }
  return result;
}

/// Skips the test where a model cannot be used.
inline void needs(std::string_view name) {
  if (const std::string reason = unavailable(name); !reason.empty()) {
    skip(std::string{name}.append(".pt2: ").append(reason));
  }
}

/// The value; without one the test fails and ends.
template <class T> T value_of(aoti::Result<T> result) {
  if (!result) throw std::runtime_error{result.error().message()};
  return std::move(result).value();
}

template <class R = Runner>
R opened(std::string_view model, const aoti::OpenOptions& options = {}) {
  auto runner = R::open(model_path(model), options);
  if (!runner) needs(model);
  return value_of(std::move(runner));
}

/// What eager PyTorch computed: the two tensors of NAME.bin.
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
