// A consumer's own model.
#include <aoti/export_model.hpp>
#include <array>

struct Echo : aoti::model::Model<Echo> {
  static constexpr std::array inputs{aoti::model::tensor<float>("x", aoti::model::any)};
  static constexpr std::array outputs{aoti::model::tensor<float>("y", aoti::model::any)};

  aoti::Result<void> run(aoti::model::Call& call) {
    call.set_output(0, call.take_input(0));
    return aoti::success();
  }
};

AOTI_EXPORT_MODEL(Echo);
