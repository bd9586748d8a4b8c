// Inputs that only torch has: tensors that are not plain memory on the CPU, and tensors with
// gradients.
#include "libtorch/models.hpp"

namespace aoti_test {
namespace {

using aoti::Errc;

TEST(Inputs, MustBeStridedAndOnTheDevice) {
  const auto [x, output] = recorded_mlp();
  const Runner runner = opened("mlp");
  const struct {
    at::Tensor input;
    Errc code;
    std::vector<std::string> parts;
  } cases[] = {
      {x.to_sparse(),
       Errc::input_layout,
       {"found a sparse tensor, expected a plain strided one, such as .to_dense() returns"}},
      {x.to_sparse_csr(), Errc::input_layout, {"sparse", "strided", ".to_dense()"}},
      {at::quantize_per_tensor(x, 0.1, 0, at::kQInt8),
       Errc::input_layout,
       {"quantized", ".dequantize()"}},
      {x.to_mkldnn(), Errc::input_layout, {"strided", ".to_dense()"}},
      {at::_neg_view(x), Errc::input_layout, {"lazily negated", ".resolve_neg()"}},
      {at::complex(x, x).conj(), Errc::input_layout, {"lazily conjugated", ".resolve_conj()"}},
      {at::_neg_view(at::complex(x, x).conj()),
       Errc::input_layout,
       {"lazily conjugated and negated", ".resolve_conj().resolve_neg()"}},
      {at::_efficientzerotensor({4, 64}, x.options()), Errc::input_layout, {".contiguous()"}},
      {at::_nested_tensor_from_tensor_list({x, x}),
       Errc::input_layout,
       {"nested", ".to_padded_tensor(0)"}},
      {at::empty({4, 64}, at::device(at::kMeta)),
       Errc::input_device,
       {"found a tensor on meta", "expected one on cpu"}},
  };
  for (auto [input, code, parts] : cases) {
    SCOPED_TRACE(input.toString());
    const auto owners = input.use_count();
    parts.push_back("input 0 'input'");
    expect_error(runner.run<1>(input), code, parts);
    Tensors inputs{input};
    expect_error(runner.boxed_run(inputs), code, parts);
    EXPECT_TRUE(inputs[0].is_same(input));
    inputs.clear();
    EXPECT_EQ(input.use_count(), owners);
    EXPECT_TRUE(close(value_of(runner.run<1>(x))[0], output));
  }
  EXPECT_TRUE(good(runner.run<1>(at::_neg_view(x).resolve_neg())));
}

TEST(Inputs, MayRequireGradients) {
  const auto [input, output] = recorded_mlp();
  const at::Tensor x = input.clone().requires_grad_();
  const auto outputs = value_of(opened("mlp").run<1>(x));
  EXPECT_TRUE(close(outputs[0], output));
  EXPECT_FALSE(outputs[0].requires_grad());
}

}  // namespace
}  // namespace aoti_test
