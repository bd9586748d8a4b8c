// Adds. Contains the names of two missing libraries, which make_packages.py adds to the needed
// ones.
#include "fakes/fake_model.hpp"

extern "C" {
extern const int needs_torch __asm__("libtorch_fake.so");
extern const int needs_other __asm__("libother_fake.so");
const int needs_torch = 1;
const int needs_other = 1;
}

FAKE_MODEL(Model)
