// Two sets of weights, initially without any; they can be copied from a blob.
#include "fakes/two_sets.hpp"

namespace {
using Weights = TwoSets<false, 3>;
}

FAKE_MODEL(Weights)
FAKE_LAST_ERROR
FAKE_CONSTANT_DETAILS(Weights)
FAKE_TWO_SETS_PAIRS(Weights)

extern "C" {
AOTIRuntimeError AOTInductorModelContainerGetConstantsBlobSize(C, std::uint64_t* out) {
  return answer(out, std::uint64_t{sizeof Weights::block});
}
AOTIRuntimeError AOTInductorModelUpdateConstantsFromBlob(C c, const std::uint8_t* blob) {
  tell("copy");
  model_of<Weights>(c)->load(reinterpret_cast<const float*>(blob));
  return 0;
}
}
