// Changes of weights compared with upstream's, and weights that only torch has.
#include <aoti/weights.hpp>

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <string>
#include <unordered_map>

#include "libtorch/models.hpp"

namespace aoti_test {
namespace {

using aoti::Errc;

using Named = std::unordered_map<std::string, at::Tensor>;

template <class R> Named named_weights(R& runner) {
  Named result;
  for (auto& [name, tensor] : value_of(aoti::weights(runner))) result[name] = tensor;
  return result;
}

// Each way of packaging, compared with upstream's loader after the same change.
TEST(LibtorchWeights, ChangeAsUpstreamsDo) {
  load_libtorch_so();
  const at::Tensor x = recorded_mlp().input;
  for (const char* model : available({"mlp", "mlp_plain", "mlp_appended", "mlp_beside"})) {
    SCOPED_TRACE(model);
    Runner runner = opened(model);
    torch::inductor::AOTIModelPackageLoader loader{model_path(model)};
    at::manual_seed(1);
    for (int round = 0; round < 3; ++round) {
      Named changed;
      auto update = value_of(aoti::update_weights(runner));
      for (const auto& [name, tensor] : named_weights(runner)) {
        changed[name] = at::randn_like(tensor);
        ASSERT_TRUE(
            good(round == 1 ? update.share(name, changed[name]) : update.set(name, changed[name])));
      }
      ASSERT_TRUE(good(update.commit()));
      loader.load_constants(changed, false, true);
      EXPECT_TRUE(same(value_of(runner.run<1>(x))[0], loader.run({x})[0])) << round;
    }
    // One of them, from a transposed view of a larger storage.
    const at::Tensor large = at::randn({100, 64, 32});
    const at::Tensor view = large[3].t();
    auto update = value_of(aoti::update_weights(runner));
    EXPECT_EQ(update.share("0.weight", view).error().code(), Errc::constant_layout);
    ASSERT_TRUE(good(update.set("0.weight", view)));
    ASSERT_TRUE(good(update.commit()));
    Named one{{"0.weight", view.contiguous()}};
    loader.load_constants(one, false, false);
    EXPECT_TRUE(same(value_of(runner.run<1>(x))[0], loader.run({x})[0]));
    EXPECT_TRUE(at::equal(named_weights(runner)["0.weight"], view));
  }
}

TEST(LibtorchWeights, AreStridedTensorsWithMemory) {
  Runner runner = opened("mlp");
  auto update = value_of(aoti::update_weights(runner));
  expect_error(update.set("0.weight", at::ones({32, 64}).to_sparse()), Errc::constant_layout,
               {"found a sparse tensor", ".to_dense()"});
  expect_error(update.set("0.weight", at::ones({32, 64}, at::kMeta)), Errc::constant_device);
  ASSERT_TRUE(good(update.commit()));
  const Recorded expected = recorded_mlp();
  EXPECT_TRUE(close(value_of(runner.run<1>(expected.input))[0], expected.output));
}

}  // namespace
}  // namespace aoti_test
