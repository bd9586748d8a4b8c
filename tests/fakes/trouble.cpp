// Fails in every way there is, when asked to.
#include "fakes/trouble_model.hpp"

FAKE_MODEL(TroubleModel)
FAKE_RUN_SINGLE_THREADED(TroubleModel)
FAKE_LAST_ERROR
