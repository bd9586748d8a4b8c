// A model that throws while it is created.
#include <stdexcept>

#include "fakes/fake_model.hpp"

namespace {

struct ThrowsCreate : Model {
  AOTIRuntimeError start(std::size_t, const char*) {
    throw std::runtime_error{"the fake threw while it was created"};
  }
};

}  // namespace

FAKE_MODEL(ThrowsCreate)
FAKE_LAST_ERROR
