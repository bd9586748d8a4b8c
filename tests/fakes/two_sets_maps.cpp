// Two sets of weights, changed through maps, as of torch 2.8.
#include "fakes/two_sets.hpp"

namespace {
using Weights = TwoSets<true, 2>;
}

FAKE_MODEL(Weights)
FAKE_LAST_ERROR
FAKE_CONSTANT_DETAILS(Weights)
FAKE_TWO_SETS_MAPS(Weights)
