// The same packages on libtorch and without it, compared.
#include <aoti/weights.hpp>

#include <cstdint>
#include <filesystem>
#include <thread>
#include <vector>

#include "libtorch/onednn.hpp"

namespace aoti_test {
namespace {

using Native = aoti::Runner<aoti::Cpu, aoti::NativeOnednn>;

void expect_alike(std::string_view model, const Tensors& inputs, double widened = 1,
                  const aoti::OpenOptions& options = {}) {
  if (!std::filesystem::exists(model_path(model))) {
    GTEST_SKIP() << model << " is compiled only when asked for by name";
  }
  auto torch = opened(model, options);
  auto native = opened<Native>(model, options);
  for (int i = 0; i < 3; ++i) {
    const Tensors expected = value_of(torch.run(inputs));
    std::vector<aoti::Tensor> native_inputs;
    for (const at::Tensor& input : inputs) native_inputs.push_back(native_of(input));
    const std::vector<aoti::Tensor> found = value_of(native.run(native_inputs));
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t k = 0; k < found.size(); ++k) {
      EXPECT_TRUE(same_layout(found[k], expected[k]));
      EXPECT_TRUE(assert_close(torch_of(found[k]), expected[k], widened)) << "output " << k;
    }
  }
}

class Models : public testing::Test {
 protected:
  void SetUp() override { at::manual_seed(0); }
};

TEST_F(Models, Mlp) {
  for (const char* name : {"mlp", "mlp_plain", "mlp_appended", "mlp_beside"}) {
    for (const std::int64_t batch : {4, 1, 100}) expect_alike(name, {at::randn({batch, 64})});
  }
}
TEST_F(Models, Linear) {
  for (const char* name : {"linear_beside", "linear_embedded", "linear_foreign", "folding"}) {
    for (const std::int64_t batch : {4, 1, 64}) expect_alike(name, {at::randn({batch, 16})});
  }
}
TEST_F(Models, Wide) { expect_alike("wide", {at::randn({1, 1024})}); }
TEST_F(Models, Image) {
  for (const std::int64_t batch : {2, 1, 5}) {
    expect_alike("image", {at::randn({batch, 3, 8, 8}).contiguous(at::MemoryFormat::ChannelsLast)});
  }
}

// Compiled only when asked for by name. A network of many layers adds up the rounding of each:
// torch's own accuracy tests allow 1e-4 for whole models.
TEST_F(Models, Vit) { expect_alike("vit", {at::randn({1, 3, 224, 224})}, 10); }
TEST_F(Models, VitBeside) { expect_alike("vit_beside", {at::randn({1, 3, 224, 224})}, 10); }
TEST_F(Models, Resnet18) { expect_alike("resnet18", {at::randn({1, 3, 224, 224})}, 10); }
TEST_F(Models, Frozen) { expect_alike("frozen", {at::randn({2, 3, 8, 8})}); }
TEST_F(Models, FrozenPackTheirWeightsOnce) {
  using aoti::detail::onednn::PackedWeight;
  const at::Tensor x = at::randn({2, 3, 8, 8});
  auto torch = opened("frozen");
  auto native = opened<Native>("frozen");
  const auto expect_alike_now = [&] {
    const std::vector<aoti::Tensor> found = value_of(native.run(std::vector{native_of(x)}));
    const Tensors expected = value_of(torch.run(Tensors{x}));
    for (std::size_t k = 0; k < found.size(); ++k) {
      EXPECT_TRUE(assert_close(torch_of(found[k]), expected[k])) << "output " << k;
    }
  };
  const std::uint64_t before = PackedWeight::made.load();
  expect_alike_now();
  const std::uint64_t packed = PackedWeight::made.load() - before;
  EXPECT_GE(packed, 3u);  // those of the convolutions
  expect_alike_now();
  std::thread{expect_alike_now}.join();
  EXPECT_EQ(PackedWeight::made.load() - before, packed);

  auto torch_update = value_of(aoti::update_weights(torch));
  auto native_update = value_of(aoti::update_weights(native));
  for (const aoti::Constant& constant : native.constants()) {
    if (!constant.derived) continue;
    const at::Tensor value = at::randn(constant.shape);
    EXPECT_TRUE(good(torch_update.set(constant.name, value)));
    EXPECT_TRUE(good(native_update.set(constant.name, native_of(value))));
  }
  EXPECT_TRUE(good(torch_update.commit()));
  EXPECT_TRUE(good(native_update.commit()));
  const std::uint64_t again = PackedWeight::made.load() - before - packed;
  EXPECT_GE(again, 3u);  // by the update, before any run
  expect_alike_now();
  EXPECT_LT(again, packed);  // one was not set
  expect_alike_now();
  EXPECT_EQ(PackedWeight::made.load() - before, packed + again);

  // They may be written to from now on.
  EXPECT_FALSE(value_of(aoti::weights(native)).empty());
  expect_alike_now();
  EXPECT_EQ(PackedWeight::made.load() - before, packed + again);

  native = value_of(Native::open(model_path("frozen"), {.pack_weights = false}));
  torch = opened("frozen");
  expect_alike_now();
  EXPECT_EQ(PackedWeight::made.load() - before, packed + again);
}
TEST_F(Models, PackedAreRefused) {
  if (!std::filesystem::exists(model_path("linear_packed"))) {
    GTEST_SKIP() << "linear_packed is compiled only when asked for by name";
  }
  const auto refused = Native::open(model_path("linear_packed"));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("cpp.weight_prepack"), std::string::npos)
      << refused.error().message();
}
TEST_F(Models, MobilenetV3) { expect_alike("mobilenet_v3", {at::randn({1, 3, 224, 224})}, 10); }
TEST_F(Models, Lstm) { expect_alike("lstm", {at::randn({4, 32, 64})}); }
TEST_F(Models, Bert) {
  expect_alike("bert", {at::randint(1000, {2, 48}), at::ones({2, 48}, at::kLong)}, 10);
}
TEST_F(Models, Llama) {
  expect_alike("llama", {at::randint(1000, {2, 48}), at::ones({2, 48}, at::kLong)}, 10);
}

}  // namespace
}  // namespace aoti_test
