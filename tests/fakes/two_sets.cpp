// Two sets of weights, changed through pairs, with a constant of the kind that folding the
// inactive set takes from the active one.
#include "fakes/two_sets.hpp"

namespace {
using Weights = TwoSets<true, 3>;
}

FAKE_MODEL(Weights)
FAKE_LAST_ERROR
FAKE_CONSTANT_DETAILS(Weights)
FAKE_TWO_SETS_PAIRS(Weights)
