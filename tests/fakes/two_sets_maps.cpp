// Two sets of weights, changed through maps, as in torch 2.8, which gives no error texts.
#include "fakes/two_sets.hpp"

namespace {
using Weights = TwoSets<true, 2, true>;
}

FAKE_MODEL(Weights)
FAKE_CONSTANT_DETAILS(Weights)
FAKE_TWO_SETS_MAPS(Weights)

// Reads the first set, whichever is active.
extern "C" AOTIRuntimeError AOTInductorModelContainerRunSingleThreaded(
    C c, AtenTensorHandle* in, std::size_t inputs, AtenTensorHandle* out, std::size_t outputs,
    AOTInductorStreamHandle stream, AOTIProxyExecutorHandle) {
  const Weights& model = *model_of<Weights>(c);
  if (model.active != 0 && !model.sets[0].is_folded) return fail("Unknown constant state");
  return run<Weights>(c, in, inputs, out, outputs, stream);
}
