// More inputs than a runner takes.
#include "fakes/fake_model.hpp"

namespace {

struct Huge : Model {
  static constexpr std::size_t inputs = 1025;
};

}  // namespace

FAKE_MODEL(Huge)
