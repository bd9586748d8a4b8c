// Models written in C++ that tests link into their program, on the native runtime.
#pragma once

#define AOTI_LINKED_RUNTIME aoti::Native
#include <aoti/aoti.hpp>
#include <aoti/linked_model.hpp>
#include <aoti/runtime/native.hpp>
#include <array>
#include <atomic>
#include <cstddef>
#include <stdexcept>

#include "support/support.hpp"

namespace aoti_test {

namespace model = aoti::model;
using aoti::model::Call;

/// y = w * x + f where f, which is folded, is 2 * b, and s counts the runs.
struct Affine : model::Model<Affine> {
  static constexpr std::array inputs{model::tensor<float>("x", "n")};
  static constexpr std::array outputs{model::tensor<float>("y", "n"),
                                      model::tensor<std::int64_t>("runs", 1)};
  static constexpr std::array w{3.0f}, b{5.0f};
  static constexpr std::array<std::int64_t, 1> s{0};
  static constexpr std::array constants{
      model::parameter("layer.w", {1}, w), model::parameter("layer.b", {1}, b),
      model::buffer("runs", {1}, s), model::folded<float>("f", {1})};

  static inline std::atomic<int> folds = 0;

  aoti::Result<void> fold(Call& call) {
    ++folds;
    AOTI_TRY(const auto bias, call.constant<float>(1));
    AOTI_TRY(const auto result, call.constant<float>(3));
    if (bias[0] == 666) return aoti::Error{aoti::Errc::model_failed, "fold", "666 is refused"};
#if defined(__cpp_exceptions)
    if (bias[0] == 667) throw std::runtime_error{"667 is thrown"};
#endif
    result[0] = 2 * bias[0];
    return aoti::success();
  }

  aoti::Result<void> run(Call& call) {
    AOTI_TRY(const auto x, call.input<float>(0));
    AOTI_TRY(const auto weight, call.constant<float>(0));
    AOTI_TRY(const auto runs, call.constant<std::int64_t>(2));
    AOTI_TRY(const auto offset, call.constant<float>(3));
    AOTI_TRY(const auto y, call.output<float>(0, call.input(0).sizes()));
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = weight[0] * x[i] + offset[0];
    const std::array<std::int64_t, 1> one{1};
    AOTI_TRY(const auto count, call.output<std::int64_t>(1, one));
    count[0] = std::atomic_ref{runs[0]}.fetch_add(1) + 1;  // other instances may run, too
    return aoti::success();
  }
};

/// Gives its input back, unless it is told to fail; without constants.
struct Echo : model::Model<Echo> {
  static constexpr std::array inputs{model::tensor<float>("x", model::any)};
  static constexpr std::array outputs{model::tensor<float>("y", model::any)};

  enum class Trouble { none, refuses, throws, forgets };
  static inline std::atomic<Trouble> trouble = Trouble::none;

  aoti::Result<void> run(Call& call) {
    switch (trouble.load()) {
      case Trouble::refuses:
        return aoti::Error{aoti::Errc::invalid_argument, "Echo", "it was told to fail"};
      case Trouble::throws:
#if defined(__cpp_exceptions)
        throw std::runtime_error{"it was told to throw"};
#endif
      case Trouble::forgets:
        return aoti::success();
      case Trouble::none:
        break;
    }
    call.set_output(0, call.take_input(0));
    return aoti::success();
  }
};

/// Without initial values: hosts set them.
struct Empty : model::Model<Empty> {
  static constexpr std::array inputs{model::tensor<float>("x", 1)};
  static constexpr std::array outputs{model::tensor<float>("y", 1)};
  static constexpr std::array constants{model::parameter<float>("w", {1})};

  aoti::Result<void> run(Call& call) {
    AOTI_TRY(const auto x, call.input<float>(0));
    AOTI_TRY(const auto w, call.constant<float>(0));
    AOTI_TRY(const auto y, call.output<float>(0, call.input(0).sizes()));
    y[0] = w[0] * x[0];
    return aoti::success();
  }
};

/// With a constant of no elements.
struct Hollow : model::Model<Hollow> {
  static constexpr std::array inputs{model::tensor<float>("x", 1)};
  static constexpr std::array outputs{model::tensor<float>("y", 1)};
  static constexpr std::array<float, 0> nothing{};
  static constexpr std::array constants{model::parameter("empty", {0}, nothing)};

  aoti::Result<void> run(Call& call) {
    AOTI_TRY(const auto empty, call.constant<float>(0));
    EXPECT_TRUE(empty.empty());
    call.set_output(0, call.take_input(0));
    return aoti::success();
  }
};

inline aoti::Tensor floats(std::initializer_list<float> values) {
  auto made = aoti::Tensor::empty(aoti::DType::float32, {static_cast<std::int64_t>(values.size())});
  EXPECT_TRUE(made) << made.error().message();
  std::copy(values.begin(), values.end(), static_cast<float*>(made.value().data()));
  return std::move(made).value();
}

template <class T = float> T first(const aoti::Tensor& tensor) {
  return *static_cast<const T*>(tensor.data());
}

}  // namespace aoti_test
