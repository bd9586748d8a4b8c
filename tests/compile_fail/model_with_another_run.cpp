// A model is run on a Call.
// expected: a model needs aoti::Result<void> run\(aoti::model::Call&\)
#include <aoti/linked_model.hpp>
#include <array>

using aoti::model::Call;
using aoti::model::tensor;

struct Bad : aoti::model::Model<Bad> {
  static constexpr std::array inputs{tensor<float>("x", 1)};
  static constexpr std::array outputs{tensor<float>("y", 1)};
#ifdef COMPILE_FAIL
  void run(const float*, float*) {}
#else
  aoti::Result<void> run(Call&) { return aoti::success(); }
#endif
};

aoti::LinkedModel model() { return aoti::linked<Bad>(); }
