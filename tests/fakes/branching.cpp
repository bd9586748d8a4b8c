// Two inputs a, b and the outputs a + b and a - b. If the first element of a is negative, it first
// makes a tensor that it does not need.
#include "fakes/fake_model.hpp"

namespace {

struct Branching : Model {
  static constexpr std::size_t outputs = 2;

  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    AtenTensorHandle unneeded = nullptr;
    if (*data<float>(in[0]) < 0) unneeded = empty_like(in[0], float32);
    std::int64_t count = 0;
    aoti_torch_get_numel(in[0], &count);
    for (int k = 0; k < 2; ++k) {
      out[k] = empty_like(in[0], float32);
      if (out[k] == nullptr) return fail("no memory");
      for (std::int64_t i = 0; i < count; ++i) {
        const float a = data<float>(in[0])[i], b = data<float>(in[1])[i];
        data<float>(out[k])[i] = k == 0 ? a + b : a - b;
      }
    }
    if (unneeded != nullptr) aoti_torch_delete_tensor_object(unneeded);
    free_input(in[0]);
    free_input(in[1]);
    return 0;
  }
};

}  // namespace

FAKE_MODEL(Branching)
