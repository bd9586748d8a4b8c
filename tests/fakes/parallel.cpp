// Adds on two threads of GCC's OpenMP library, which stay alive and wait for more.
#include "fakes/fake_model.hpp"

extern "C" void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags);

namespace {

struct Parallel : Model {
  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    GOMP_parallel([](void*) {}, nullptr, 2, 0);
    return add(in, out);
  }
};

}  // namespace

FAKE_MODEL(Parallel)
