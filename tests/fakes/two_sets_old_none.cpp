// As two_sets_old, but the image has, in place of embedded weights, the mark of an image without
// weights.
#include "fakes/two_sets.hpp"

namespace {
using Weights = TwoSets<true, 2>;
}

FAKE_MODEL(Weights)
FAKE_LAST_ERROR
FAKE_EMBEDDED_BYTES(1)
