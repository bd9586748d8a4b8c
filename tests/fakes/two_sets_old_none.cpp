// As two_sets_old, but for what the image has in the place of embedded weights: it came without
// weights.
#include "fakes/two_sets.hpp"

namespace {
using Weights = TwoSets<true, 2>;
}

FAKE_MODEL(Weights)
FAKE_LAST_ERROR
FAKE_EMBEDDED_BYTES(1)
