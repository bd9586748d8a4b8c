// LSTM layers on oneDNN, compared with torch's.
#include "libtorch/onednn.hpp"

namespace aoti_test {
namespace {

using Layer = aoti::abi::imported::cpu_mkldnn_rnn_layer;

struct Lstm {
  Twin input, of_input, of_hidden, bias_input, bias_hidden, hidden, cell;

  Lstm(std::int64_t steps, std::int64_t batch, std::int64_t channels, std::int64_t size,
       bool transposed)
      : input{twin(transposed ? at::randn({batch, steps, channels}).transpose(0, 1)
                              : at::randn({steps, batch, channels}))},
        of_input{twin(at::randn({4 * size, channels}) * 0.2)},
        of_hidden{twin(at::randn({4 * size, size}) * 0.2)},
        bias_input{twin(at::randn({4 * size}))},
        bias_hidden{twin(at::randn({4 * size}))},
        hidden{twin(at::randn({1, batch, size}))},
        cell{twin(at::randn({1, batch, size}))} {}

  AOTITorchError call(bool torch, bool reverse, AtenTensorHandle* outs, std::int64_t mode = 2) {
    const auto of = [torch](Twin& t) { return torch ? t.of_torch() : t.of_native(); };
    const auto function = torch ? torch_function<Layer>() : native_function<Layer>();
    return function(of(input), of(of_input), of(of_hidden), of(bias_input), of(bias_hidden),
                    of(hidden), of(cell), reverse, nullptr, 0, mode, hidden.torch.size(2), 1, 1, 0,
                    0, 0, &outs[0], &outs[1], &outs[2], &outs[3]);
  }
};

TEST(Rnn, IsThatOfTorch) {
  at::manual_seed(0);
  for (const auto& [steps, batch, channels, size] :
       std::vector<std::tuple<int, int, int, int>>{{5, 3, 4, 6},
                                                   {1, 1, 4, 6},
                                                   {32, 4, 64, 128},
                                                   {7, 1, 16, 16},
                                                   {3, 17, 1, 1},
                                                   {64, 1, 32, 64},
                                                   {9, 1, 40, 96},
                                                   {6, 1, 3, 8}}) {
    for (const bool reverse : {false, true}) {
      for (const bool transposed : {false, true}) {
        Lstm lstm{steps, batch, channels, size, transposed};
        AtenTensorHandle expected[4] = {}, found[4] = {};
        ASSERT_EQ(lstm.call(false, reverse, found), 0) << aoti::NativeOnednn::last_error();
        // Torch's function assumes that the input is row-major.
        lstm.input.torch = lstm.input.torch.contiguous();
        ASSERT_EQ(lstm.call(true, reverse, expected), 0);
        for (int i = 0; i < 3; ++i) {
          const at::Tensor wanted = taken_torch(expected[i]);
          const aoti::Tensor got = taken_native(found[i]);
          EXPECT_TRUE(same_layout(got, wanted)) << i;
          EXPECT_TRUE(assert_close(torch_of(got), wanted))
              << i << " of " << steps << " steps" << (reverse ? ", reverse" : "")
              << (transposed ? ", transposed" : "");
        }
        EXPECT_FALSE(taken_native(found[3]).defined());
        taken_torch(expected[3]);
      }
    }
  }
}

TEST(Rnn, RefusesOtherCells) {
  Lstm lstm{5, 3, 4, 6, false};
  AtenTensorHandle outs[4] = {};
  EXPECT_NE(lstm.call(false, false, outs, 3), 0);
  EXPECT_EQ(aoti::NativeOnednn::last_error(), "aoti_torch_cpu_mkldnn_rnn_layer: only for an LSTM");
}

}  // namespace
}  // namespace aoti_test
