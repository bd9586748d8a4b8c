// An image without two of the required functions: …Run and …GetNumOutputs.
#include "fakes/fake_model.hpp"

FAKE_MODEL_BUT_RUN_AND_OUTPUTS(Model)
