// A constant has as many values as its shape.
// expected: initial values must be as many as its shape has elements
#include <aoti/linked_model.hpp>
#include <array>

using aoti::model::Call;
using aoti::model::tensor;

struct Bad : aoti::model::Model<Bad> {
  static constexpr std::array inputs{tensor<float>("x", 1)};
  static constexpr std::array outputs{tensor<float>("y", 1)};
  static constexpr std::array values{1.0f, 2.0f, 3.0f};
#ifdef COMPILE_FAIL
  static constexpr std::array constants{aoti::model::parameter("w", {2, 2}, values)};
#else
  static constexpr std::array constants{aoti::model::parameter("w", {3}, values)};
#endif
  aoti::Result<void> run(Call&) { return aoti::success(); }
};

aoti::LinkedModel model() { return aoti::linked<Bad>(); }
