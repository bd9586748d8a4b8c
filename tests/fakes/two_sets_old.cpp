// Two sets of weights, as of torch 2.4: the model copies, and tells nothing of them.
#include "fakes/two_sets.hpp"

namespace {
using Weights = TwoSets<true, 2>;
}

FAKE_MODEL(Weights)
FAKE_LAST_ERROR
