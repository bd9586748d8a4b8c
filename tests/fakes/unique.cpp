// Counts its runs in a variable that the loader would share between all images of the process, and
// because of which it would never unload one. Fails unless its input is the number of runs.
#include "fakes/fake_model.hpp"

inline int runs = 0;

namespace {

struct Unique : Model {
  static constexpr std::size_t inputs = 1;

  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    if (*data<std::int32_t>(in[0]) != runs++) return fail("the count differs");
    out[0] = in[0];
    in[0] = nullptr;
    return 0;
  }
};

}  // namespace

FAKE_MODEL(Unique)
FAKE_LAST_ERROR
