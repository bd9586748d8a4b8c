// Calls an operator through a proxy executor before it adds.
#include "fakes/fake_model.hpp"

namespace {

struct Calls : Model {
  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    if (aoti_torch_proxy_executor_call_function(nullptr, 0, 0, nullptr, 0, nullptr) != 0) return 1;
    return add(in, out);
  }
};

}  // namespace

FAKE_MODEL(Calls)
FAKE_LAST_ERROR
