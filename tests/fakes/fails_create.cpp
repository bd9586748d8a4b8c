// A model that cannot be created.
#include "fakes/fake_model.hpp"

namespace {

struct FailsCreate : Model {
  AOTIRuntimeError start(std::size_t, const char*) { return fail("the fake cannot be created"); }
};

}  // namespace

FAKE_MODEL(FailsCreate)
FAKE_LAST_ERROR
