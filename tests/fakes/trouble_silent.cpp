// The same as compiled by a torch before 2.13: it gives no reasons.
#include "fakes/trouble_model.hpp"

FAKE_MODEL(TroubleModel)
