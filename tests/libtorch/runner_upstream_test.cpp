// Torch's AOTIModelContainerRunnerCpu and this library's runner, on the same images in one process:
// each of its members gives the same results as its replacement here.
#include <torch/version.h>

#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 15
#include <aoti/weights.hpp>

#include <torch/csrc/inductor/aoti_runner/model_container_runner_cpu.h>

#include <cstddef>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "libtorch/models.hpp"

namespace aoti_test {
namespace {

using aoti::WeightSet;
using torch::inductor::AOTIModelContainerRunnerCpu;
using Named = std::unordered_map<std::string, at::Tensor>;

/// The image of a package and the blob beside it, as files: torch's runner accepts no packages.
class RunnerUpstream : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    load_libtorch_so();
    needs(GetParam());
    const auto package = value_of(aoti::Package::open(model_path(GetParam())));
    const aoti::PackagedModel model = value_of(package.model());
    ours.emplace(opened(GetParam()));
    theirs = std::make_unique<AOTIModelContainerRunnerCpu>(written("image.so", model.image), 1);
    if (!model.weights.empty()) {
      blob = written("image.blob", model.weights);
      theirs->update_constant_buffer_from_blob(blob);
    }
    at::manual_seed(1);
  }

  std::string written(const std::string& name, aoti::Bytes bytes) {
    std::string path = folder.path() + "/" + name;
    std::ofstream{path, std::ios::binary}.write(reinterpret_cast<const char*>(bytes.data()),
                                                static_cast<std::streamsize>(bytes.size()));
    return path;
  }

  void expect_same() {
    const at::Tensor x = at::randn({4, 16});
    const auto found = ours->run<1>(x);
    ASSERT_TRUE(good(found));
    EXPECT_TRUE(same(found.value()[0], theirs->run({x})[0]));
  }
  /// Weights that differ from the model's, under the names inside the compiled code, as torch's
  /// runner requires.
  Named other_weights() {
    Named weights;
    const Named by_fqn = theirs->extract_constants_map(false);
    for (const auto& [name, fqn] : theirs->getConstantNamesToOriginalFQNs()) {
      const auto found = by_fqn.find(fqn);
      if (found != by_fqn.end()) weights[name] = at::randn_like(found->second);
    }
    return weights;
  }
  auto begun() { return value_of(aoti::update_weights(*ours)); }

  const TemporaryDirectory folder;
  std::optional<Runner> ours;
  std::unique_ptr<AOTIModelContainerRunnerCpu> theirs;
  std::string blob;
};

TEST_P(RunnerUpstream, RunsBoxed) {
  const at::Tensor x = at::randn({4, 16});
  Tensors mine{x}, its{x};
  const Tensors found = value_of(ours->boxed_run(mine));
  const Tensors expected = theirs->boxed_run(std::move(its));
  ASSERT_EQ(found.size(), expected.size());
  EXPECT_TRUE(same(found[0], expected[0]));
  EXPECT_FALSE(mine[0].defined());
}

TEST_P(RunnerUpstream, TellsTheSame) {
  const char *in = nullptr, *out = nullptr;
  ASSERT_TRUE(good(ours->container().call<&aoti::abi::ModelExports::get_call_spec>(&in, &out)));
  EXPECT_EQ(theirs->get_call_spec(), (std::vector<std::string>{in, out}));
  EXPECT_TRUE(good(ours->call_spec()));
  std::unordered_map<std::string, std::string> names;
  std::unordered_map<std::string, std::int32_t> dtypes;
  for (const aoti::Constant& constant : ours->constants()) {
    names[constant.name] = constant.fqn;
    dtypes[constant.name] = static_cast<std::int32_t>(constant.dtype);
  }
  EXPECT_EQ(names, theirs->getConstantNamesToOriginalFQNs());
  EXPECT_EQ(dtypes, theirs->getConstantNamesToDtypes());
  EXPECT_EQ(theirs->get_custom_objs().size(), 0u);
}

TEST_P(RunnerUpstream, GivesItsWeights) {
  const Named expected = theirs->extract_constants_map(false);
  const auto found = value_of(aoti::weights(*ours));
  EXPECT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : found) {
    ASSERT_TRUE(expected.contains(name)) << name;
    EXPECT_TRUE(same(tensor, expected.at(name))) << name;
  }
}

TEST_P(RunnerUpstream, TakesInactiveWeightsAndSwaps) {
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    Named weights = other_weights();
    torch::inductor::TensorConstantMap pointers;
    auto update = begun();
    for (auto& [name, tensor] : weights) {
      pointers[name] = &tensor;
      ASSERT_TRUE(good(update.set(name, tensor)));
    }
    theirs->update_inactive_constant_buffer(pointers);
    ASSERT_TRUE(good(update.expect_all()));
    ASSERT_TRUE(good(update.stage()));
    expect_same();
    // At this point torch's runner replaces constants that are plain tensors by those of the active
    // set, even if there is nothing to fold.
    if (std::string_view{GetParam()} == "folding") theirs->run_const_fold(true);
    ASSERT_TRUE(good(aoti::fold_weights(*ours, WeightSet::inactive)));
    theirs->swap_constant_buffer();
    ASSERT_TRUE(good(aoti::swap_weights(*ours)));
    expect_same();
  }
}

TEST_P(RunnerUpstream, TakesInactiveWeightsInSteps) {
  // At first its inactive set is empty, and it keeps only parameters.
  Named weights = other_weights();
  theirs->update_constant_buffer(weights, true, true);
  auto all = begun();
  for (const auto& [name, tensor] : weights) ASSERT_TRUE(good(all.set(name, tensor)));
  ASSERT_TRUE(good(all.stage()));
  for (const aoti::Constant& constant : ours->constants()) {
    if (constant.kind != aoti::ConstantKind::parameter) continue;
    const auto kept = weights;
    Named one{{constant.name, at::randn_like(weights.at(constant.name))}};
    for (const auto& other : ours->constants()) {  // for others it would use the active set's
      if (other.kind != aoti::ConstantKind::parameter && weights.contains(other.name)) {
        one[other.name] = weights.at(other.name);
      }
    }
    theirs->update_constant_buffer(one, true, false);
    auto step = begun();
    ASSERT_TRUE(good(step.set(constant.name, one.at(constant.name))));
    ASSERT_TRUE(good(step.stage()));
  }
  theirs->swap_constant_buffer();
  ASSERT_TRUE(good(aoti::swap_weights(*ours)));
  expect_same();
}

TEST_P(RunnerUpstream, UsesTheCallersMemory) {
  Named weights = other_weights();
  theirs->update_constant_buffer(weights, false, true, true);
  auto update = begun();
  for (const auto& [name, tensor] : weights) ASSERT_TRUE(good(update.share(name, tensor)));
  ASSERT_TRUE(good(update.commit()));
  expect_same();
  for (const auto& [name, tensor] : weights) tensor.mul_(0.5);
  theirs->run_const_fold(false);
  ASSERT_TRUE(good(aoti::fold_weights(*ours)));
  expect_same();
}

TEST_P(RunnerUpstream, FreesWhatIsInactive) {
  Named weights = other_weights();
  try {
    theirs->update_constant_buffer_from_cpu(weights, true, true);
  } catch (const c10::Error&) {
    if (!compiled_before(2, 15)) throw;
    GTEST_SKIP() << "torch's runner cannot do this with models of this age";
  }
  theirs->swap_constant_buffer();
  theirs->free_inactive_constant_buffer();
  auto update = begun();
  for (const auto& [name, tensor] : weights) ASSERT_TRUE(good(update.set(name, tensor)));
  ASSERT_TRUE(good(update.stage()));
  ASSERT_TRUE(good(aoti::swap_weights(*ours)));
  ASSERT_TRUE(good(aoti::free_inactive_weights(*ours)));
  expect_same();
}

TEST_P(RunnerUpstream, TakesABlob) {
  if (blob.empty()) GTEST_SKIP() << "the weights are embedded; torch's runner takes no blob for it";
  if (!compiled_before(2, 13)) {  // older ones do not report it
    EXPECT_TRUE(theirs->did_call_load_constants());
  }
  auto bytes = read_file(blob);
  auto* const numbers = reinterpret_cast<float*>(bytes.data());
  for (std::size_t i = 0; i < bytes.size() / sizeof(float); ++i) numbers[i] *= 0.5f;
  const std::string path = written("other.blob", bytes);
  // Torch's runner accepts a blob only once.
  AOTIModelContainerRunnerCpu other{folder.path() + "/image.so", 1};
  other.update_constant_buffer_from_blob(path);
  auto update = begun();
  ASSERT_TRUE(good(update.set_blob(path)));
  ASSERT_TRUE(good(update.commit()));
  const at::Tensor x = at::randn({4, 16});
  EXPECT_TRUE(same(value_of(ours->run<1>(x))[0], other.run({x})[0]));
}

using Counts = std::map<std::string, int>;

struct TheirObserver final : torch::inductor::AOTIModelContainerObserver {
  using Event = torch::inductor::AOTIContainerEvent;
  using Context = torch::inductor::AOTIObserverContext;
  Counts counts;
  void on_begin(Event, const Context&) override {}
  void on_end(Event event, const Context&, bool succeeded) override {
    EXPECT_TRUE(succeeded);
    switch (event) {
      case Event::kInference:
        ++counts["run"];
        break;
      case Event::kUpdateConstantBuffer:
        ++counts["update"];
        break;
      case Event::kSwapConstantBuffer:
        ++counts["swap"];
        break;
      case Event::kFreeInactiveBuffer:
        ++counts["free"];
        break;
      default:
        break;
    }
  }
};
struct OurObserver {
  Counts* counts;
  void begin(aoti::Event) const noexcept {}
  void end(aoti::Event event, const aoti::Completion& completion) const noexcept {
    EXPECT_EQ(completion.error, nullptr);
    if (event == aoti::Event::load || event == aoti::Event::fold) return;
    ++(*counts)[std::string{to_string(event)}];
  }
};

TEST_P(RunnerUpstream, IsObserved) {
  const auto observer = std::make_shared<TheirObserver>();
  Counts counts;
  auto runner =
      value_of(aoti::Runner<aoti::Cpu, aoti::Libtorch, aoti::Options{}, OurObserver>::open(
          model_path(GetParam()), {}, {&counts}));
  theirs->set_observer(observer);
  Named weights = other_weights();
  const at::Tensor x = at::randn({4, 16});
  theirs->run({x});
  theirs->update_constant_buffer(weights, true, true);
  theirs->swap_constant_buffer();
  theirs->free_inactive_constant_buffer();
  ASSERT_TRUE(good(runner.run<1>(x)));
  auto update = value_of(aoti::update_weights(runner));
  for (const auto& [name, tensor] : weights) ASSERT_TRUE(good(update.set(name, tensor)));
  ASSERT_TRUE(good(update.stage()));
  ASSERT_TRUE(good(aoti::swap_weights(runner)));
  ASSERT_TRUE(good(aoti::free_inactive_weights(runner)));
  EXPECT_EQ(counts, observer->counts);
}

INSTANTIATE_TEST_SUITE_P(Models, RunnerUpstream,
                         testing::Values("linear_embedded", "linear_beside", "folding"),
                         [](const auto& test) { return std::string{test.param}; });

}  // namespace
}  // namespace aoti_test
#endif
