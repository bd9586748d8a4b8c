// Adds a float64 weight to its input. The weight lies in the image, in eight bytes, and the model,
// like those of torch 2.12 and before, does not say whether it has weights.
#include "fakes/two_sets.hpp"

namespace {

constexpr std::int32_t float64 = 7;

struct OneNumber : Model {
  static constexpr std::size_t inputs = 1;
  static constexpr std::array constants{ConstantInfo{"t", "t", float64, 2, 8, false}};

  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    out[0] = empty_like(in[0], float32);
    if (out[0] == nullptr) return fail("no memory");
    for (int i = 0; i < 8; ++i) data<float>(out[0])[i] = data<float>(in[0])[i] + 1;
    free_input(in[0]);
    return 0;
  }
};

}  // namespace

FAKE_MODEL(OneNumber)
FAKE_CONSTANT_DETAILS(OneNumber)
FAKE_EMBEDDED_BYTES(8)
