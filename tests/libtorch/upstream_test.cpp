// Torch's own package loader gives bit-identical results.
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <string>

#include "libtorch/models.hpp"

namespace {

using aoti_test::model_path;
using aoti_test::opened;
using aoti_test::Recorded;
using aoti_test::recorded;
using aoti_test::Tensors;
using aoti_test::value_of;

/// Skips the test if torch's own loader cannot serve for comparison.
void needs_upstream(std::string_view name) {
  aoti_test::needs(name);
  const auto package = value_of(aoti::Package::open(model_path(name)));
  const auto model = package.model();
  if (TORCH_VERSION_MINOR < 9 && model && !model.value().weights.empty()) {
    aoti_test::skip(
        "torch's loader of this libtorch does not read weights beside the image, and crashes");
  }
}

class Upstream : public testing::Test {
 protected:
  static void SetUpTestSuite() { aoti_test::load_libtorch_so(); }

  /// Both return the expected first output, and equal results.
  static void compare(const std::string& model, const Tensors& inputs, const at::Tensor& first) {
    SCOPED_TRACE(model);
    needs_upstream(model);
    torch::inductor::AOTIModelPackageLoader upstream{model_path(model)};
    const Tensors theirs = upstream.run(inputs);
    const Tensors ours = value_of(opened(model).run(inputs));
    ASSERT_EQ(ours.size(), theirs.size());
    EXPECT_TRUE(aoti_test::close(ours[0], first));
    for (std::size_t i = 0; i < ours.size(); ++i) {
      EXPECT_TRUE(aoti_test::same(ours[i], theirs[i])) << "output " << i;
      EXPECT_EQ(ours[i].strides(), theirs[i].strides()) << "output " << i;
    }
  }
};

TEST_F(Upstream, GivesTheSameForMlp) {
  const auto [input, output] = aoti_test::recorded_mlp();
  for (const char* model : aoti_test::available({"mlp", "mlp_plain", "mlp_appended"})) {
    compare(model, {input}, output);
  }
  const auto wide = aoti_test::recorded_wide();
  compare("wide", {wide.input}, wide.output);
  const at::Tensor rows = at::arange(1024, at::kLong).remainder(4);
  compare("mlp", {input.index_select(0, rows)}, output.index_select(0, rows));
}

TEST_F(Upstream, GivesTheSameForImage) {
  const auto [input, output] = recorded("image", {2, 3, 8, 8}, {2, 4, 8, 8});
  compare("image", {input.contiguous(at::MemoryFormat::ChannelsLast)}, output);
}

TEST_F(Upstream, GivesTheSameForNested) {
  for (const std::int64_t batch : {1, 4, 64}) {
    const at::Tensor x = at::randn({batch, 3}), scale = at::randn({batch, 3});
    compare("nested", {x, scale}, x * scale);
  }
}

TEST_F(Upstream, TellsTheSameOfAModel) {
  torch::inductor::AOTIModelPackageLoader upstream{model_path("nested")};
  const auto ours = opened("nested");
  const auto metadata = upstream.get_metadata();
  EXPECT_EQ(metadata.size(), ours.metadata().items.size());
  for (const auto& [key, value] : metadata) EXPECT_EQ(ours.metadata()[key], value) << key;

  torch::inductor::AOTIModelPackageLoader mlp{model_path("mlp")};
  std::vector<std::string> fqns;
  const std::vector<aoti::Constant> constants = opened("mlp").constants();
  for (const aoti::Constant& constant : constants) {
    fqns.push_back(constant.fqn);
  }
  EXPECT_THAT(fqns, testing::UnorderedElementsAreArray(mlp.get_constant_fqns()));
}

}  // namespace
