// The model of two_sets.hpp, written on aoti::model::Model.
#include <aoti/export_model.hpp>
#include <array>
#include <cstddef>

namespace {

using aoti::model::buffer;
using aoti::model::folded;
using aoti::model::parameter;
using aoti::model::tensor;

struct Written : aoti::model::Model<Written> {
  static constexpr std::array inputs{tensor<float>("x", 8)};
  static constexpr std::array outputs{tensor<float>("y", 8)};
  static constexpr std::array<float, 8> ones{1, 1, 1, 1, 1, 1, 1, 1};
  static constexpr std::array<float, 8> twos{2, 2, 2, 2, 2, 2, 2, 2};
  static constexpr std::array<float, 8> threes{3, 3, 3, 3, 3, 3, 3, 3};
  enum { w, b, t, f };
  static constexpr std::array constants{parameter("layer.w", {8}, ones),
                                        parameter("layer.b", {8}, twos), buffer("t", {8}, threes),
                                        folded<float>("f_", {8})};

  aoti::Result<void> fold(aoti::model::Call& call) {
    AOTI_TRY(const auto weight, call.constant<float>(w));
    AOTI_TRY(const auto bias, call.constant<float>(b));
    AOTI_TRY(const auto result, call.constant<float>(f));
    if (weight[0] == 666) {
      return aoti::Error{aoti::Errc::model_failed, "fold", "666 cannot be folded"};
    }
    for (std::size_t i = 0; i < 8; ++i) result[i] = 2 * weight[i] + bias[i];
    return aoti::success();
  }

  aoti::Result<void> run(aoti::model::Call& call) {
    AOTI_TRY(const auto x, call.input<float>(0));
    AOTI_TRY(const auto y, call.output<float>(0, call.input(0).sizes()));
    for (std::size_t i = 0; i < 8; ++i) y[i] = x[i];
    for (const std::size_t constant : {w, t, f}) {
      AOTI_TRY(const auto values, call.constant<float>(constant));
      for (std::size_t i = 0; i < 8; ++i) y[i] += values[i];
    }
    return aoti::success();
  }
};

}  // namespace

AOTI_EXPORT_MODEL(Written);
