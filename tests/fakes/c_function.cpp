// Adds, and calls an operator through a C function, from a library that make_packages.py adds to
// the needed ones.
#include "fakes/fake_model.hpp"

extern "C" {
extern const int needs_twice __asm__("libfake_twice.so");
const int needs_twice = 1;
AOTITorchError aoti_torch_tests_twice(AtenTensorHandle tensor);
int twice_version();
}

namespace {

struct Calls : Model {
  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    if (twice_version() != 3 || aoti_torch_tests_twice(in[0]) != 0) return fail("no such function");
    return add(in, out);
  }
};

}  // namespace

FAKE_MODEL(Calls)
