// Folded constants are computed by fold.
// expected: is required if, and only if, a constant is folded
#include <aoti/linked_model.hpp>
#include <array>

using aoti::model::Call;
using aoti::model::tensor;

struct Bad : aoti::model::Model<Bad> {
  static constexpr std::array inputs{tensor<float>("x", 1)};
  static constexpr std::array outputs{tensor<float>("y", 1)};
  static constexpr std::array constants{aoti::model::folded<float>("f", {1})};
#ifndef COMPILE_FAIL
  aoti::Result<void> fold(Call&) { return aoti::success(); }
#endif
  aoti::Result<void> run(Call&) { return aoti::success(); }
};

aoti::LinkedModel model() { return aoti::linked<Bad>(); }
