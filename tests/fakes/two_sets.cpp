// Two sets of weights, changed through pairs, with a constant of the kind that folding the inactive
// set takes from the active set.
#include "fakes/two_sets.hpp"

namespace {
using Weights = TwoSets<true, 3>;
}

FAKE_MODEL(Weights)
FAKE_LAST_ERROR
FAKE_CONSTANT_DETAILS(Weights)
FAKE_TWO_SETS_PAIRS(Weights)

// Reads the list of models that are available, which may be empty.
extern "C" AOTIRuntimeError AOTInductorModelContainerRunSingleThreaded(
    C c, AtenTensorHandle* in, std::size_t inputs, AtenTensorHandle* out, std::size_t outputs,
    AOTInductorStreamHandle stream, AOTIProxyExecutorHandle) {
  if (model_of<Weights>(c)->pending) return fail("a read beyond the end");
  return run<Weights>(c, in, inputs, out, outputs, stream);
}
