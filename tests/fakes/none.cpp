// A model without inputs and outputs.
#include "fakes/fake_model.hpp"

namespace {

struct None : Model {
  static constexpr std::size_t inputs = 0;
  static constexpr std::size_t outputs = 0;
  AOTIRuntimeError run(AtenTensorHandle*, AtenTensorHandle*) { return 0; }
};

}  // namespace

FAKE_MODEL(None)
