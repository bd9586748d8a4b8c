// Like `trouble`, but also reports to the program which device and which stream reached it.
#include "fakes/trouble_model.hpp"

extern "C" {
[[gnu::weak]] AOTIRuntimeError on_created(const char* device);
[[gnu::weak]] void on_run(AOTInductorStreamHandle stream);
}

namespace {

struct Streams : TroubleModel {
  AOTIRuntimeError start(std::size_t, const char* device) {
    const AOTIRuntimeError failed = on_created != nullptr ? on_created(device) : 0;
    return failed != 0 ? fail("the fake failed") : 0;
  }
  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    if (on_run != nullptr) on_run(run_stream);
    return TroubleModel::run(in, out);
  }
};

}  // namespace

FAKE_MODEL(Streams)
FAKE_RUN_SINGLE_THREADED(Streams)
FAKE_LAST_ERROR
