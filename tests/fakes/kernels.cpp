// Adds a value that it reads from a kernel file in each run, in the way that GPU models load
// kernels.
#include <cstdio>

#include "fakes/fake_model.hpp"

namespace {

struct Kernels : Model {
  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    char text[8] = {};
    std::FILE* file = std::fopen((kernel_folder + "/one.cubin").c_str(), "r");
    if (file == nullptr) return fail("there is no one.cubin");
    const std::size_t read = std::fread(text, 1, sizeof text, file);
    std::fclose(file);
    if (read != 6 || std::string{text} != "kernel") return fail("one.cubin is another");
    return add(in, out);
  }
};

}  // namespace

FAKE_MODEL(Kernels)
FAKE_LAST_ERROR
