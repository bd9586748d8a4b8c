// Adds, and writes exp(0), computed by a Sleef function, to the first element.
#include "fakes/fake_model.hpp"

extern "C" float Sleef_expf_u10(float);

namespace {

struct Sleef : Model {
  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    const AOTIRuntimeError failed = add(in, out);
    if (failed == 0) *data<float>(out[0]) = Sleef_expf_u10(0);
    return failed;
  }
};

}  // namespace

FAKE_MODEL(Sleef)
