// Two sets of weights, as in torch 2.4: the model copies them, and does not list them.
#include "fakes/two_sets.hpp"

namespace {
using Weights = TwoSets<true, 2>;
}

FAKE_MODEL(Weights)
FAKE_LAST_ERROR
