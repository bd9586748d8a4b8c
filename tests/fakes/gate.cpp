// Stays inside a run until it is released. Its input is two int32: how many threads have entered,
// which it counts, and how many may leave, which the test sets.
#include <atomic>
#include <thread>

#include "fakes/fake_model.hpp"

namespace {

struct Gate : Model {
  static constexpr std::size_t inputs = 1;

  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    auto* numbers = data<std::int32_t>(in[0]);
    std::atomic_ref{numbers[0]}.fetch_add(1);
    while (std::atomic_ref{numbers[1]}.load() == 0) std::this_thread::yield();
    out[0] = in[0];
    in[0] = nullptr;
    return 0;
  }
};

}  // namespace

FAKE_MODEL(Gate)
FAKE_LAST_ERROR
FAKE_RUN_SINGLE_THREADED(Gate)
