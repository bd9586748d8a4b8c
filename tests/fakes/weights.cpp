// Adds its input and eight float32 weights from a blob beside the image.
#include <cstring>

#include "fakes/fake_model.hpp"

namespace {

struct Weights : Model {
  static constexpr std::size_t inputs = 1;
  static constexpr std::array constants{ConstantInfo{"w", "layer.w", float32, 1, 32, false}};

  bool loaded = false;
  float weights[8] = {};

  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    out[0] = empty_like(in[0], float32);
    if (out[0] == nullptr) return fail("no memory");
    for (int i = 0; i < 8; ++i) data<float>(out[0])[i] = data<float>(in[0])[i] + weights[i];
    free_input(in[0]);
    return 0;
  }
};

}  // namespace

FAKE_MODEL(Weights)
FAKE_LAST_ERROR

extern "C" {
AOTIRuntimeError AOTInductorModelContainerGetConstantsBlobSize(C, std::uint64_t* out) {
  return answer(out, std::uint64_t{sizeof Weights::weights});
}
AOTIRuntimeError AOTInductorModelContainerDidCallLoadConstants(C c, bool* out) {
  return answer(out, model_of<Weights>(c)->loaded);
}
AOTIRuntimeError AOTInductorModelUpdateConstantsFromBlob(C c, const std::uint8_t* blob) {
  std::memcpy(model_of<Weights>(c)->weights, blob, sizeof Weights::weights);
  model_of<Weights>(c)->loaded = true;
  return 0;
}
}
