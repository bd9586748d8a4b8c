// Carries 1.5 MB of weights inside the image, as compiled models do: element i is the number i. It
// copies them when it is created, and looks up the numbers of its input in the copy.
#include <algorithm>
#include <vector>

#include "fakes/fake_model.hpp"

asm(R"(
.pushsection .rodata.weights, "a", @progbits
  .balign 64
  .global weights_before
weights_before:
  .long -7
  .balign 64
  .global _binary_constants_bin_start
_binary_constants_bin_start:
  .set number, 0
  .rept 393216
  .long number
  .set number, number + 1
  .endr
  .global _binary_constants_bin_end
_binary_constants_bin_end:
  .global weights_after
weights_after:
  .long -9
.popsection
)");

extern "C" {
extern const std::int32_t _binary_constants_bin_start[393216];
extern const std::int32_t weights_before;
extern const std::int32_t weights_after;
}

namespace {

struct Embedded : Model {
  static constexpr std::size_t inputs = 1;

  std::vector<std::int32_t> weights;

  AOTIRuntimeError start(std::size_t, const char*) {
    if (weights_before != -7 || weights_after != -9) return fail("the image lost its neighbours");
    weights.assign(std::begin(_binary_constants_bin_start), std::end(_binary_constants_bin_start));
    return 0;
  }

  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    out[0] = empty_like(in[0], int32);
    if (out[0] == nullptr) return fail("no memory");
    std::int64_t count = 0;
    aoti_torch_get_numel(in[0], &count);
    const auto* numbers = data<std::int32_t>(in[0]);
    std::transform(numbers, numbers + count, data<std::int32_t>(out[0]),
                   [&](std::int32_t i) { return weights[static_cast<std::size_t>(i)]; });
    free_input(in[0]);
    return 0;
  }
};

}  // namespace

FAKE_MODEL(Embedded)
FAKE_LAST_ERROR
