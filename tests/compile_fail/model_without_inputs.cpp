// A model declares its inputs.
// expected: a model needs static constexpr std::array inputs
#include <aoti/linked_model.hpp>
#include <array>

using aoti::model::Call;
using aoti::model::tensor;

struct Bad : aoti::model::Model<Bad> {
#ifndef COMPILE_FAIL
  static constexpr std::array inputs{tensor<float>("x", 1)};
#endif
  static constexpr std::array outputs{tensor<float>("y", 1)};
  aoti::Result<void> run(Call&) { return aoti::success(); }
};

aoti::LinkedModel model() { return aoti::linked<Bad>(); }
