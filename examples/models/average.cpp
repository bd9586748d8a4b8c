// A model with state: the running average of what it was called with, kept in a buffer that the
// host can read, and set, as if it were a weight.
#include <aoti/export_model.hpp>
#include <array>
#include <cstddef>

namespace {

using aoti::model::any;
using aoti::model::buffer;
using aoti::model::folded;
using aoti::model::parameter;
using aoti::model::tensor;

struct Average : aoti::model::Model<Average> {
  static constexpr std::array inputs{tensor<float>("x", any)};
  static constexpr std::array outputs{tensor<float>("average", any)};
  static constexpr std::array start{0.0f};
  static constexpr std::array half_life{10.0f};
  enum { average, decay, steps };
  static constexpr std::array constants{buffer("average", {1}, start), folded<float>("decay", {1}),
                                        parameter("half_life", {1}, half_life)};

  // Called when the half-life was set, not in each run.
  aoti::Result<void> fold(aoti::model::Call& call) {
    AOTI_TRY(const auto half_life_set, call.constant<float>(steps));
    AOTI_TRY(const auto decay_set, call.constant<float>(decay));
    decay_set[0] = __builtin_exp2f(-1 / half_life_set[0]);
    return aoti::success();
  }

  aoti::Result<void> run(aoti::model::Call& call) {
    AOTI_TRY(const auto x, call.input<float>(0));
    AOTI_TRY(const auto state, call.constant<float>(average));
    AOTI_TRY(const auto keep, call.constant<float>(decay));
    AOTI_TRY(const auto out, call.output<float>(0, call.input(0).sizes()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      out[i] = state[0] = keep[0] * state[0] + (1 - keep[0]) * x[i];
    }
    return aoti::success();
  }
};

}  // namespace

AOTI_EXPORT_MODEL(Average);
