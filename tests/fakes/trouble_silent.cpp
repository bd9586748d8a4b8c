// The same as compiled by a torch before 2.13: what went wrong cannot be asked for.
#include "fakes/trouble_model.hpp"

FAKE_MODEL(TroubleModel)
