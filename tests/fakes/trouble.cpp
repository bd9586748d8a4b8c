// Fails in every possible way, on request.
#include "fakes/trouble_model.hpp"

FAKE_MODEL(TroubleModel)
FAKE_RUN_SINGLE_THREADED(TroubleModel)
FAKE_LAST_ERROR
