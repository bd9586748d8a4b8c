// Doubles its input through scratch memory, as kernels with a matrix template do.
#include <memory>
#include <new>

#include "fakes/fake_model.hpp"

namespace {

struct Scratch : Model {
  static constexpr std::size_t inputs = 1;

  // Like torch's models, it lets no exception escape.
  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) try {
    std::int64_t count = 0;
    aoti_torch_get_numel(in[0], &count);
    const auto size = static_cast<std::size_t>(count);
    const std::unique_ptr<float[]> scratch{new float[size]}, rest{new (std::nothrow) float[size]};
    out[0] = empty_like(in[0], float32);
    if (out[0] == nullptr || rest == nullptr) return fail("no memory");
    for (std::size_t i = 0; i < size; ++i) rest[i] = scratch[i] = data<float>(in[0])[i];
    for (std::size_t i = 0; i < size; ++i) data<float>(out[0])[i] = scratch[i] + rest[i];
    free_input(in[0]);
    return 0;
  } catch (const std::bad_alloc&) {
    return fail("no memory");
  }
};

}  // namespace

FAKE_MODEL(Scratch)
