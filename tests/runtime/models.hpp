// What the batteries on models compiled by torch share: the models, opened on a tensor runtime, and
// their inputs.
#pragma once

#include <aoti/aoti.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/runtime_case.hpp"

namespace aoti_test {

/// Where the models lie: those of the build, unless the environment variable AOTI_TEST_MODELS_DIR
/// names others, possibly compiled by another torch.
inline std::string models_file(std::string_view name) {
  const char* other = std::getenv("AOTI_TEST_MODELS_DIR");
  return std::string{other != nullptr ? other : AOTI_TEST_MODELS_DIR}.append("/").append(name);
}

inline std::string model_path(std::string_view name) {
  return models_file(std::string{name}.append(".pt2"));
}

/// Ends a test that cannot go on.
[[noreturn]] inline void give_up(const std::string& reason) {
#if GTEST_HAS_EXCEPTIONS
  throw std::runtime_error{reason};
#else
  std::fprintf(stderr, "%s\n", reason.c_str());
  std::abort();
#endif
}

/// Ends a test as skipped.
[[noreturn]] inline void skip(const std::string& reason) {
#if GTEST_HAS_EXCEPTIONS
  [&] { GTEST_SKIP() << reason; }();
  throw testing::AssertionException{
      testing::TestPartResult{testing::TestPartResult::kSkip, nullptr, 0, reason.c_str()}};
#else
  give_up(reason);
#endif
}

/// Whether a torch before `major`.`minor` compiled the models.
inline bool compiled_before(int major, int minor) {
  static const std::pair<int, int> version = [] {
    std::ifstream file{models_file("stamps.json")};
    const std::string text{std::istreambuf_iterator<char>{file}, {}};
    const std::size_t at = text.find(": \"");
    std::pair<int, int> found;
    if (at == text.npos || std::sscanf(&text[at + 3], "%d.%d", &found.first, &found.second) != 2) {
      give_up("no version in " + models_file("stamps.json"));
    }
    return found;
  }();
  return version < std::pair{major, minor};
}

/// The value; if there is none, the test fails and ends.
template <class T> T value_of(aoti::Result<T> result) {
  if (!result) give_up(result.error().message());
  return std::move(result).value();
}

/// Why a model cannot be used; empty if it can. The torch that compiled the others, or this
/// runtime, may lack something that it needs.
template <class Runner> std::string unavailable(std::string_view name) {
  std::ifstream file{models_file(std::string{name}.append(".unavailable"))};
  if (file) return {std::istreambuf_iterator<char>{file}, {}};
  auto runner = Runner::open(model_path(name));
  if (!runner) {
    using Case = RuntimeCase<typename Runner::TensorRuntime>;
    return Case::needs_later_torch(runner.error()) ? std::string{runner.error().text()} : "";
  }
  std::move(runner).value().unload();
  return {};
}

/// The models that can be used.
template <class Runner>
std::vector<const char*> available(std::initializer_list<const char*> names) {
  std::vector<const char*> result;
  for (const char* name : names) {
    if (unavailable<Runner>(name).empty()) result.push_back(name);
  }
  return result;
}

/// Skips the test if a model cannot be used.
template <class Runner> void needs(std::string_view name) {
  if (const std::string reason = unavailable<Runner>(name); !reason.empty()) {
    skip(std::string{name}.append(".pt2: ").append(reason));
  }
}

template <class Runner>
Runner opened(std::string_view model, const aoti::OpenOptions& options = {}) {
  auto runner = Runner::open(model_path(model), options);
  if (!runner) needs<Runner>(model);
  return value_of(std::move(runner));
}

/// Models on one tensor runtime, and its tensors.
template <class Runtime> struct OnRuntime {
  using Runner = aoti::Runner<aoti::Cpu, Runtime>;
  using SharedRunner =
      aoti::Runner<aoti::Cpu, Runtime, aoti::Options{.access = aoti::Access::shared}>;
  using UncheckedRunner =
      aoti::Runner<aoti::Cpu, Runtime,
                   aoti::Options{.check_inputs = false, .detect_concurrent_use = false}>;
  using Tensor = typename Runtime::Tensor;
  using Tensors = std::vector<Tensor>;
  using Case = RuntimeCase<Runtime>;
  using Numbers = std::vector<std::int64_t>;
  using Floats = std::vector<float>;

  template <class R = Runner>
  static R opened(std::string_view model, const aoti::OpenOptions& options = {}) {
    return aoti_test::opened<R>(model, options);
  }
  static void needs(std::string_view model) { aoti_test::needs<Runner>(model); }
  static std::vector<const char*> available(std::initializer_list<const char*> names) {
    return aoti_test::available<Runner>(names);
  }

  /// Networks that this runtime can run: one for each place where weights may lie.
  static std::vector<const char*> networks() {
    if (!Case::has_operators) return {"mlp_tuned"};
    return available({"mlp", "mlp_plain", "mlp_appended", "mlp_beside"});
  }
  /// A network whose weights lie in a separate file.
  static const char* network_beside() { return Case::has_operators ? "mlp_beside" : "mlp_tuned"; }

  static Tensor floats(const Numbers& sizes, const Floats& elements, const Numbers& strides = {}) {
    return Case::template make<float>(sizes, elements, strides);
  }
  static Tensor longs(const Numbers& elements) {
    return Case::template make<std::int64_t>({static_cast<std::int64_t>(elements.size())},
                                             elements);
  }
  static Tensor bools(const std::vector<bool>& elements) {
    return Case::template make<bool>({static_cast<std::int64_t>(elements.size())}, elements);
  }
  static Floats floats_in(const Tensor& tensor) { return Case::template elements<float>(tensor); }
  static Numbers longs_in(const Tensor& tensor) {
    return Case::template elements<std::int64_t>(tensor);
  }
  static std::vector<bool> bools_in(const Tensor& tensor) {
    return Case::template elements<bool>(tensor);
  }
  static Numbers sizes_of(const Tensor& tensor) {
    const auto sizes = Runtime::sizes(tensor);
    return {sizes.begin(), sizes.end()};
  }

  /// first, first + 1, …
  static Floats count_from(float first, std::size_t count) {
    Floats numbers(count);
    for (std::size_t i = 0; i < count; ++i) numbers[i] = first + static_cast<float>(i);
    return numbers;
  }
  static Floats times(float factor, Floats numbers) {
    for (float& number : numbers) number *= factor;
    return numbers;
  }
  /// A tensor with these sizes, the same in each run.
  static Tensor random(const Numbers& sizes, unsigned seed) {
    std::mt19937 generator{seed};
    std::size_t count = 1;
    for (const std::int64_t size : sizes) count *= static_cast<std::size_t>(size);
    Floats numbers(count);
    for (float& number : numbers) number = static_cast<float>(generator() % 2001) / 1000 - 1;
    return floats(sizes, numbers);
  }

  static testing::AssertionResult close(const Tensor& tensor, const Floats& expected) {
    const Floats found = floats_in(tensor);
    bool same = found.size() == expected.size();
    for (std::size_t i = 0; same && i < found.size(); ++i) {
      same = std::abs(found[i] - expected[i]) <= 1e-5f + 1e-4f * std::abs(expected[i]);
    }
    if (same) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "found " << testing::PrintToString(found) << "\nexpected "
                                       << testing::PrintToString(expected);
  }

  /// The results of eager PyTorch: the input, with these sizes, and the output in NAME.bin.
  struct Recorded {
    Numbers sizes;
    Floats in;
    Floats output;

    Tensor input() const { return floats(sizes, in); }
    /// A single row of the input, and its result.
    Tensor input_row(std::size_t row) const {
      return floats({1, sizes[1]}, part(in, row % rows(), rows()));
    }
    Floats output_row(std::size_t row) const { return part(output, row % rows(), rows()); }

   private:
    std::size_t rows() const { return static_cast<std::size_t>(sizes[0]); }
    static Floats part(const Floats& all, std::size_t index, std::size_t count) {
      const auto size = static_cast<std::ptrdiff_t>(all.size() / count);
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(index) * size;
      return {begin, begin + size};
    }
  };
  static Recorded recorded(const char* file, const Numbers& sizes) {
    const auto bytes = read_file(models_file(std::string{file}.append(".bin")));
    std::size_t count = 1;
    for (const std::int64_t size : sizes) count *= static_cast<std::size_t>(size);
    Floats all(bytes.size() / sizeof(float));
    if (all.size() <= count) give_up(std::string{file} + ".bin is too short");
    std::memcpy(all.data(), bytes.data(), all.size() * sizeof(float));
    const auto middle = all.begin() + static_cast<std::ptrdiff_t>(count);
    return {sizes, {all.begin(), middle}, {middle, all.end()}};
  }
  /// The results for a network.
  static Recorded recorded_of(std::string_view model) {
    if (model == "wide") return recorded("wide", {1, 1024});
    if (model == "mlp_tuned") return recorded("mlp_small", {1, 16});
    return recorded("mlp", {4, 64});
  }

  /// Whether a runner computes the right results of a network, or of "add".
  static testing::AssertionResult works(const Runner& runner, std::string_view model) {
    if (model == "add") {
      const Tensor a = floats({8}, count_from(1, 8)), b = floats({8}, count_from(2, 8));
      return gives(runner.template run<1>(a, b), {3, 5, 7, 9, 11, 13, 15, 17});
    }
    const Recorded expected = recorded_of(model);
    return gives(runner.template run<1>(expected.input()), expected.output);
  }

 private:
  template <class Outputs>
  static testing::AssertionResult gives(const aoti::Result<Outputs>& outputs, const Floats& first) {
    return outputs ? close(outputs.value()[0], first) : good(outputs);
  }
};

}  // namespace aoti_test
