// Two sets of weights, without any at first.
#include "fakes/two_sets.hpp"

namespace {
using Weights = TwoSets<false, 3>;
}

FAKE_MODEL(Weights)
FAKE_LAST_ERROR
FAKE_CONSTANT_DETAILS(Weights)
FAKE_TWO_SETS_PAIRS(Weights)
