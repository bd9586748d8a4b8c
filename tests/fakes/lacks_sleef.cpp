// A model that imports a function that Sleef does not have.
#include "fakes/fake_model.hpp"

extern "C" float Sleef_nothing(float);

namespace {

struct LacksSleef : Model {
  AOTIRuntimeError run(AtenTensorHandle*, AtenTensorHandle*) {
    return static_cast<AOTIRuntimeError>(Sleef_nothing(1));
  }
};

}  // namespace

FAKE_MODEL(LacksSleef)
