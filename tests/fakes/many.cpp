// 40 inputs, returned as 40 outputs.
#include "fakes/fake_model.hpp"

namespace {

struct Many : Model {
  static constexpr std::size_t inputs = 40;
  static constexpr std::size_t outputs = 40;

  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    for (std::size_t i = 0; i < inputs; ++i) {
      out[i] = in[i];
      in[i] = nullptr;
    }
    return 0;
  }
};

}  // namespace

FAKE_MODEL(Many)
