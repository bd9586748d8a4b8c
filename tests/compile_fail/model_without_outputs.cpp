// A model returns something.
// expected: a model needs at least one output
#include <aoti/linked_model.hpp>
#include <array>

using aoti::model::Call;
using aoti::model::tensor;

struct Bad : aoti::model::Model<Bad> {
  static constexpr std::array inputs{tensor<float>("x", 1)};
#ifdef COMPILE_FAIL
  static constexpr std::array<aoti::model::Port, 0> outputs{};
#else
  static constexpr std::array outputs{tensor<float>("y", 1)};
#endif
  aoti::Result<void> run(Call&) { return aoti::success(); }
};

aoti::LinkedModel model() { return aoti::linked<Bad>(); }
