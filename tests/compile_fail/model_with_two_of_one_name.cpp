// Constants are found by their names.
// expected: each constant needs a name of its own
#include <aoti/linked_model.hpp>
#include <array>

using aoti::model::Call;
using aoti::model::tensor;

struct Bad : aoti::model::Model<Bad> {
  static constexpr std::array inputs{tensor<float>("x", 1)};
  static constexpr std::array outputs{tensor<float>("y", 1)};
#ifdef COMPILE_FAIL
  static constexpr std::array constants{aoti::model::parameter<float>("w", {1}),
                                        aoti::model::parameter<float>("w", {1})};
#else
  static constexpr std::array constants{aoti::model::parameter<float>("w", {1}),
                                        aoti::model::parameter<float>("v", {1})};
#endif
  aoti::Result<void> run(Call&) { return aoti::success(); }
};

aoti::LinkedModel model() { return aoti::linked<Bad>(); }
