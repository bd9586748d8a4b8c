// A complete model: adds two float32 tensors. It has two constants, which it does not use.
#include "fakes/fake_model.hpp"

namespace {

struct Add : Model {
  static constexpr std::array constants{
      ConstantInfo{"weight", "layer.weight", float32, 1, 64, false},
      ConstantInfo{"_FOLDED_0", "", int32, 4, 128, true}};
};

}  // namespace

FAKE_MODEL(Add)
FAKE_RUN_SINGLE_THREADED(Add)
FAKE_LAST_ERROR
FAKE_CONSTANT_DETAILS(Add)
