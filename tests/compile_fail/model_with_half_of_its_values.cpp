// A host loads all weights or none.
// expected: give all weights initial values, or none
#include <aoti/linked_model.hpp>
#include <array>

using aoti::model::Call;
using aoti::model::tensor;

struct Bad : aoti::model::Model<Bad> {
  static constexpr std::array inputs{tensor<float>("x", 1)};
  static constexpr std::array outputs{tensor<float>("y", 1)};
  static constexpr std::array values{1.0f};
#ifdef COMPILE_FAIL
  static constexpr std::array constants{aoti::model::parameter("w", {1}, values),
                                        aoti::model::parameter<float>("v", {1})};
#else
  static constexpr std::array constants{aoti::model::parameter("w", {1}, values),
                                        aoti::model::parameter("v", {1}, values)};
#endif
  aoti::Result<void> run(Call&) { return aoti::success(); }
};

aoti::LinkedModel model() { return aoti::linked<Bad>(); }
