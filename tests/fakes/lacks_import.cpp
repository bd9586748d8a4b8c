// A model that imports two functions that no test program provides, one of which has no row.
#include "fakes/fake_model.hpp"

extern "C" AOTITorchError aoti_torch_no_such_function();

namespace {

struct LacksImport : Model {
  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    aoti_torch_no_such_function();
    return aoti_torch_cpu_addmm_out(out[0], in[0], in[0], in[1], 1, 1);
  }
};

}  // namespace

FAKE_MODEL(LacksImport)
