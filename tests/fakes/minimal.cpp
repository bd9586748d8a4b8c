// The oldest possible model: the required functions, and no call spec.
#include "fakes/fake_model.hpp"

namespace {

struct Minimal : Model {
  static const char* call_spec_in() { return ""; }
  static const char* call_spec_out() { return ""; }
};

}  // namespace

FAKE_MODEL(Minimal)
