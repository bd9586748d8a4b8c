// Reopens its own file while it is created, as models with appended weights do: the last eight
// bytes of the file must be a magic number.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>

#include "fakes/fake_model.hpp"

namespace {

struct Appended : Model {
  AOTIRuntimeError start(std::size_t, const char*) {
    Dl_info info{};
    if (dladdr(reinterpret_cast<void*>(&create<Appended>), &info) == 0) return fail("no dladdr");
    std::FILE* file = std::fopen(info.dli_fname, "rb");
    if (file == nullptr) return fail("cannot reopen the image");
    char magic[8] = {};
    std::fseek(file, -8, SEEK_END);
    const bool complete = std::fread(magic, 1, sizeof magic, file) == sizeof magic;
    std::fclose(file);
    return complete && std::memcmp(magic, "weights!", 8) == 0 ? 0 : fail("no weights at the end");
  }
};

}  // namespace

FAKE_MODEL(Appended)
FAKE_LAST_ERROR
