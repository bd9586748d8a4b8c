// Adds. Fails if a function that it imports weakly, and that no torch has, is present.
#include "fakes/fake_model.hpp"

extern "C" [[gnu::weak]] AOTITorchError aoti_torch_no_such_function();

namespace {

struct WeakImport : Model {
  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    if (aoti_torch_no_such_function != nullptr) return fail("the function is there");
    return add(in, out);
  }
};

}  // namespace

FAKE_MODEL(WeakImport)
