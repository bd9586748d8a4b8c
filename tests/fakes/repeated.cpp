// Returns its input twice, like models that return one tensor under two names, with a None in
// between. A second input that holds 1 makes it fail after that.
#include "fakes/fake_model.hpp"

namespace {

struct Repeated : Model {
  static constexpr std::size_t outputs = 3;

  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    const bool fails = *data<float>(in[1]) == 1;
    free_input(in[1]);
    out[0] = in[0];
    out[2] = in[0];
    in[0] = nullptr;
    return fails ? fail("the fake failed with its outputs made") : 0;
  }
};

}  // namespace

FAKE_MODEL(Repeated)
FAKE_LAST_ERROR
