// As two_sets_old, but the image has, in place of embedded weights, the size of weights in a file
// beside it.
#include "fakes/two_sets.hpp"

namespace {
using Weights = TwoSets<true, 2>;
}

FAKE_MODEL(Weights)
FAKE_LAST_ERROR
FAKE_EMBEDDED_BYTES(8)
