// Weights read, changed in one step, staged, swapped and freed, on models of several releases.
#include <aoti/weights.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/runners.hpp"

namespace aoti_test {
inline std::atomic<int> copies = 0;
}

// Called by the fakes with two sets.
extern "C" __attribute__((used)) void on_weights(const char* what, AOTInductorStreamHandle,
                                                 AOTIProxyExecutorHandle) {
  aoti_test::copies += std::string_view{what} == "copy";
}

namespace aoti_test {
namespace {

using aoti::Errc;
using aoti::PackagedWeights;
using aoti::update_weights;
using aoti::WeightSet;
using aoti::WeightsState;

class Weights : public Tidy {};

FakeTensor eight(float value) { return tensor<float>({8}, std::vector<float>(8, value)); }

/// y of the fakes, 0 + w + (2 w + b) + t, which must be equal in all elements; -1 if not.
template <class R> float output(const R& runner) {
  auto result = runner.template run<1>(eight(0));
  if (!result) {
    ADD_FAILURE() << result.error().message();
    return -1;
  }
  const std::vector<float> all = elements<float>(result.value()[0]);
  for (const float value : all) {
    if (value != all[0]) return -1;
  }
  return all[0];
}
constexpr float y(float w, float b, float t) { return 3 * w + b + t; }
constexpr float at_first = y(1, 2, 3);

template <class R> void set_all(aoti::WeightsUpdate<R>& update, float w, float b, float t) {
  EXPECT_TRUE(good(update.set("layer.w", eight(w))));
  EXPECT_TRUE(good(update.set("layer.b", eight(b))));
  EXPECT_TRUE(good(update.set("t", eight(t))));
}

template <class R> auto begun(R& runner) {
  auto update = update_weights(runner);
  if (!update) ADD_FAILURE() << update.error().message();
  return std::move(update).value();
}

const std::array<std::string, 4> keeping{"two_sets.pt2", "two_sets_maps.pt2", "two_sets_beside.pt2",
                                         "two_sets_written.pt2"};

TEST_F(Weights, AreChangedAsAWhole) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    EXPECT_EQ(runner.weights_state(), WeightsState::folded);
    EXPECT_EQ(output(runner), at_first);
    auto update = begun(runner);
    set_all(update, 10, 20, 30);
    EXPECT_EQ(output(runner), at_first);
    ASSERT_TRUE(good(update.commit()));
    EXPECT_EQ(output(runner), y(10, 20, 30));
  }
}

TEST_F(Weights, AreChangedInPart) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    // Each of them in turn, and all of them twice, so that weights in the model's own memory are
    // used until they are replaced, in either buffer.
    float value[3] = {1, 2, 3};
    const char* names[] = {"layer.w", model == "two_sets_written.pt2" ? "layer.b" : "b_", "t"};
    for (int i = 0; i < 7; ++i) {
      auto update = begun(runner);
      value[i % 3] = static_cast<float>(10 * i);
      ASSERT_TRUE(good(update.set(names[i % 3], eight(value[i % 3]))));
      ASSERT_TRUE(good(update.commit()));
      EXPECT_EQ(output(runner), y(value[0], value[1], value[2])) << i;
    }
    ASSERT_TRUE(good(begun(runner).commit()));  // nothing at all
    EXPECT_EQ(output(runner), y(value[0], value[1], value[2]));
  }
}

TEST_F(Weights, ThatOthersWereDerivedFromAreChangedWithThem) {
  Runner runner = opened(package("two_sets_derived.pt2"));
  for (const bool stages : {false, true}) {
    auto update = begun(runner);
    ASSERT_TRUE(good(update.set("layer.w", eight(10))));
    expect_error(stages ? update.stage() : update.commit(), Errc::missing_constants,
                 {"two_sets_derived.pt2", "copies of weights", "no tensor for layer.b"});
    EXPECT_EQ(output(runner), at_first);
    expect_error(aoti::swap_weights(runner), Errc::bad_state, {"no second set"});
  }
  auto both = begun(runner);
  ASSERT_TRUE(good(both.set("layer.w", eight(10))));
  ASSERT_TRUE(good(both.set("layer.b", eight(20))));
  ASSERT_TRUE(good(both.commit()));
  EXPECT_EQ(output(runner), y(10, 20, 3));
  auto derived = begun(runner);
  ASSERT_TRUE(good(derived.set("layer.b", eight(30))));
  ASSERT_TRUE(good(derived.commit()));
  EXPECT_EQ(output(runner), y(10, 30, 3));
}

TEST_F(Weights, ThatAreTiedHaveSeveralNames) {
  Runner runner = opened(package("two_sets_tied.pt2"));
  EXPECT_EQ(runner.constants()[0].aliases, std::vector<std::string>{"tied.w"});
  for (const char* name : {"tied.w", "layer.w", "w_"}) {
    auto update = begun(runner);
    ASSERT_TRUE(good(update.set(name, eight(10))));
    ASSERT_TRUE(good(update.commit()));
    EXPECT_EQ(output(runner), y(10, 2, 3)) << name;
    auto back = begun(runner);
    ASSERT_TRUE(good(back.set("layer.w", eight(1))));
    ASSERT_TRUE(good(back.commit()));
  }
  auto update = begun(runner);
  ASSERT_TRUE(good(update.set("layer.w", eight(10))));
  ASSERT_TRUE(good(update.set("tied.w", eight(10))));
  expect_error(update.set("layer.w", eight(11)), Errc::constant_conflict,
               {"'layer.w'", "one weight with tied.w"});
  expect_error(update.set("tied.w", eight(11)), Errc::constant_conflict);
  ASSERT_TRUE(good(update.commit()));
  EXPECT_EQ(output(runner), y(10, 2, 3));
  auto again = begun(runner);
  ASSERT_TRUE(good(again.set("tied.w", eight(11))));
  ASSERT_TRUE(good(again.set("tied.w", eight(12))));
  ASSERT_TRUE(good(again.commit()));
  EXPECT_EQ(output(runner), y(12, 2, 3));

  std::vector<float> blob;
  for (const float value : {10.0f, 20.0f, 30.0f}) blob.insert(blob.end(), 8, value);
  auto over_blob = begun(runner);  // a blob's values do not count as set under another name
  ASSERT_TRUE(good(over_blob.set("layer.w", eight(9))));
  ASSERT_TRUE(good(over_blob.set_blob(std::as_bytes(std::span{blob}))));
  ASSERT_TRUE(good(over_blob.set("tied.w", eight(13))));
  ASSERT_TRUE(good(over_blob.commit()));
  EXPECT_EQ(output(runner), y(13, 20, 30));
}

TEST_F(Weights, ThatAreNoConstantsAreToldApart) {
  Runner runner = opened(package("two_sets_tied.pt2"));
  auto update = begun(runner);
  EXPECT_TRUE(good(update.set("spare", eight(10))));
  expect_error(update.set("gone", eight(10)), Errc::no_such_constant,
               {"'gone'", "compiled with its values"});
  expect_error(update.set("module.layer.w", eight(10)), Errc::no_such_constant,
               {"layer.w = tied.w", "leave out the prefix 'module.'"});
  ASSERT_TRUE(good(update.commit()));
  EXPECT_EQ(output(runner), at_first);
  Runner plain = opened(package("two_sets.pt2"));  // its package has no spec
  expect_error(begun(plain).set("spare", eight(10)), Errc::no_such_constant,
               {"not used, or compiled"});
}

TEST_F(Weights, ThatAreViewsLieWithinTheirStorage) {
  std::vector<aoti::Constant> constants(1);
  constants[0].name = "w_";
  constants[0].dtype = aoti::DType::float32;
  constants[0].bytes = 4096;
  constants[0].offset = 64;
  std::string source =
      "constants_info_[0].name = \"w_\";\nconstants_info_[0].offset = 100;\n"
      "constants_info_[0].shape = {8, 32};\nconstants_info_[0].stride = {64L, 2L};\n"
      "constants_info_[0].layout = static_cast<int32_t>(cached_torch_layout_strided);\n";
  aoti::detail::SourceReader<>{source}.read(constants);
  EXPECT_TRUE(constants[0].described);
  EXPECT_EQ(constants[0].shape, (std::vector<std::int64_t>{8, 32}));
  EXPECT_EQ(constants[0].offset, 64u + 400u);
}

TEST_F(Weights, ThatAreNotCommittedChangeNothing) {
  Runner runner = opened(package("two_sets.pt2"));
  {
    auto update = begun(runner);
    set_all(update, 10, 20, 30);
    expect_error(update_weights(runner), Errc::bad_state,
                 {"two_sets.pt2", "update of the weights is open"});
  }
  EXPECT_EQ(output(runner), at_first);
  auto update = begun(runner);
  auto moved = std::move(update);
  ASSERT_TRUE(good(moved.set("t", eight(4))));
  expect_error(update.set("t", eight(5)), Errc::bad_state, {"ended or moved from"});  // NOLINT
  ASSERT_TRUE(good(moved.commit()));
  expect_error(moved.commit(), Errc::bad_state, {"ended"});
  expect_error(moved.set("t", eight(5)), Errc::bad_state, {"ended"});
  EXPECT_EQ(output(runner), y(1, 2, 4));
}

TEST_F(Weights, ThatCannotBeFoldedChangeNothing) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    auto update = begun(runner);
    set_all(update, 666, 20, 30);
    const bool old = model == "two_sets_maps.pt2";
    expect_error(update.commit(), Errc::model_failed,
                 {"ConstantFolding", old ? "before torch 2.13" : "666 cannot be folded"});
    EXPECT_EQ(output(runner), at_first);
    auto next = begun(runner);
    set_all(next, 10, 20, 30);
    ASSERT_TRUE(good(next.commit()));
    EXPECT_EQ(output(runner), y(10, 20, 30));
  }
}

TEST_F(Weights, AreCheckedBeforeTheyAreTaken) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    auto update = begun(runner);
    const auto refused = [&](const char* name, const FakeTensor& tensor, Errc code,
                             const std::vector<std::string>& parts) {
      expect_error(update.set(name, tensor), code, parts);
      expect_error(update.share(name, tensor), code, parts);
    };
    refused("layer.x", eight(1), Errc::no_such_constant,
            {model, "'layer.x'", "layer.w, layer.b, t"});
    refused("f_", eight(1), Errc::no_such_constant, {"'f_'"});
    refused("", eight(1), Errc::no_such_constant, {});
    refused("layer.w", {}, Errc::undefined_tensor, {"weight 'layer.w'"});
    refused("layer.w", tensor<std::int32_t>({8}, std::vector<std::int32_t>(8)),
            Errc::constant_dtype, {"weight 'layer.w'", "found int32, expected float32"});
    refused("layer.w", tensor<float>({2, 4}, std::vector<float>(8)), Errc::constant_shape,
            {"found the shape [2, 4], expected [8]"});
    refused("t", tensor<float>({16}, std::vector<float>(16)), Errc::constant_shape, {"[16]"});
    refused("t", tensor<float>({}, {1}), Errc::constant_shape, {"found the shape []"});
    FakeTensor sparse = eight(1), elsewhere = eight(1);
    sparse.strided = false;
    elsewhere.device = DeviceType::cuda;
    refused("t", sparse, Errc::constant_layout, {"not strided"});
    refused("t", elsewhere, Errc::constant_device, {"on cuda, expected one on cpu"});
    const FakeTensor apart = tensor<float>({8}, {4, 4, 4, 4, 4, 4, 4, 4}, {2});
    expect_error(update.share("t", apart), Errc::constant_layout,
                 {"found the strides [2], expected [1]"});
    ASSERT_TRUE(good(update.set("t", apart)));
    ASSERT_TRUE(good(update.commit()));
    EXPECT_EQ(output(runner), y(1, 2, 4));
  }
}

TEST_F(Weights, MayBeTheCallersOwnMemory) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    FakeTensor mine = eight(7);
    auto update = begun(runner);
    ASSERT_TRUE(good(update.share("t", mine)));
    ASSERT_TRUE(good(update.set("layer.b", eight(20))));
    ASSERT_TRUE(good(update.commit()));
    EXPECT_EQ(output(runner), y(1, 20, 7));
    for (int i = 0; i < 8; ++i) static_cast<float*>(mine.data())[i] = 8;
    EXPECT_EQ(output(runner), y(1, 20, 8));
    FakeTensor w = aoti::weights(runner).value()[0].tensor;
    for (int i = 0; i < 8; ++i) static_cast<float*>(w.data())[i] = 2;
    ASSERT_TRUE(good(aoti::fold_weights(runner)));
    EXPECT_EQ(output(runner), y(2, 20, 8));
    const long owners = mine.storage.use_count();
    auto next = begun(runner);
    ASSERT_TRUE(good(next.set("t", eight(9))));
    ASSERT_TRUE(good(next.commit()));
    EXPECT_LT(mine.storage.use_count(), owners);
    EXPECT_EQ(mine.storage.use_count(), 1);
    EXPECT_EQ(output(runner), y(2, 20, 9));
  }
}

TEST_F(Weights, AreStagedSwappedAndFreed) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    expect_error(aoti::swap_weights(runner), Errc::bad_state, {"no second set"});
    expect_error(aoti::weights(runner, WeightSet::inactive), Errc::bad_state, {"no second set"});
    auto update = begun(runner);
    set_all(update, 10, 20, 30);
    ASSERT_TRUE(good(update.stage()));
    EXPECT_EQ(output(runner), at_first);
    const auto staged = aoti::weights(runner, WeightSet::inactive);
    ASSERT_TRUE(good(staged));
    ASSERT_EQ(staged.value().size(), 3u);
    EXPECT_EQ(staged.value()[1].name, "layer.b");
    EXPECT_EQ(elements<float>(staged.value()[1].tensor)[0], 20);
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(good(aoti::swap_weights(runner)));
      EXPECT_EQ(output(runner), i % 2 == 0 ? y(10, 20, 30) : at_first);
    }
    ASSERT_TRUE(good(aoti::free_inactive_weights(runner)));
    expect_error(aoti::swap_weights(runner), Errc::bad_state, {"no second set"});
    ASSERT_TRUE(good(aoti::free_inactive_weights(runner)));
    EXPECT_EQ(output(runner), y(10, 20, 30));
  }
}

TEST_F(Weights, AreStagedInSteps) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    const auto stage = [&](const char* name, float value) {
      auto update = begun(runner);
      ASSERT_TRUE(good(update.set(name, eight(value))));
      ASSERT_TRUE(good(update.stage()));
    };
    for (int round = 0; round < 2; ++round) {
      stage("layer.w", 10);
      stage("t", 30);
      EXPECT_EQ(output(runner), at_first);
      ASSERT_TRUE(good(aoti::swap_weights(runner)));
      EXPECT_EQ(output(runner), y(10, 2, 30));
      // A set that was swapped out is not staged.
      stage("layer.b", 20);
      ASSERT_TRUE(good(aoti::swap_weights(runner)));
      EXPECT_EQ(output(runner), y(10, 20, 30));
      auto back = begun(runner);
      set_all(back, 1, 2, 3);
      ASSERT_TRUE(good(back.commit()));
    }
    stage("layer.w", 10);
    ASSERT_TRUE(good(aoti::free_inactive_weights(runner)));
    stage("t", 30);
    auto update = begun(runner);
    ASSERT_TRUE(good(update.set("layer.b", eight(20))));
    ASSERT_TRUE(good(update.commit()));
    EXPECT_EQ(output(runner), y(1, 20, 30));
  }
}

TEST_F(Weights, ThatAreStagedAreFoldedAnew) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    expect_error(aoti::fold_weights(runner, WeightSet::inactive), Errc::bad_state,
                 {"no second set"});
    const auto stage = [&](const FakeTensor& w) {
      auto update = begun(runner);
      ASSERT_TRUE(good(update.share("layer.w", w)));
      ASSERT_TRUE(good(update.set("t", eight(30))));
      ASSERT_TRUE(good(update.stage()));
    };
    const FakeTensor mine = eight(10);
    const auto write = [&](float value) {
      for (int i = 0; i < 8; ++i) static_cast<float*>(mine.data())[i] = value;
    };
    stage(mine);
    write(11);
    ASSERT_TRUE(good(aoti::fold_weights(runner, WeightSet::inactive)));
    EXPECT_EQ(output(runner), at_first);
    write(666);
    expect_error(aoti::fold_weights(runner, WeightSet::inactive), Errc::model_failed);
    EXPECT_EQ(output(runner), at_first);
    expect_error(aoti::swap_weights(runner), Errc::bad_state, {"no second set"});
    write(10);
    stage(mine);
    write(11);
    ASSERT_TRUE(good(aoti::fold_weights(runner, WeightSet::inactive)));
    ASSERT_TRUE(good(aoti::swap_weights(runner)));
    EXPECT_EQ(output(runner), y(11, 2, 30));
  }
}

TEST_F(Weights, AreReadWithoutACopy) {
  for (const std::string& model : keeping) {
    Runner runner = opened(package(model));
    const auto weights = aoti::weights(runner);
    ASSERT_TRUE(good(weights));
    ASSERT_EQ(weights.value().size(), 3u);
    for (int i = 0; i < 3; ++i) {
      const char* names[] = {"layer.w", "layer.b", "t"};
      const auto& weight = weights.value()[static_cast<std::size_t>(i)];
      EXPECT_EQ(weight.name, names[i]);
      EXPECT_EQ(elements<float>(weight.tensor), std::vector<float>(8, static_cast<float>(i + 1)));
    }
    static_cast<float*>(weights.value()[2].tensor.data())[0] = 50;
    EXPECT_EQ(elements<float>(runner.run<1>(eight(0)).value()[0])[0], y(1, 2, 50));
  }
  EXPECT_EQ(output(opened(package("two_sets_beside.pt2"))), at_first);  // the file is unchanged
  Runner old = opened(package("two_sets_old.pt2"));
  expect_error(aoti::weights(old), Errc::unsupported, {"ExtractConstantsMap", "2.8"});
}

TEST_F(Weights, ThatAModelCannotDescribeAreNotGuessed) {
  Runner undescribed = opened(package("two_sets_old.pt2"));
  auto update = begun(undescribed);
  expect_error(update.set("t", eight(1)), Errc::unsupported, {"weight 't'", "shape"});
  // With shapes from the package's spec, everything works that the model supports.
  Runner runner = opened(package("two_sets_old_described.pt2"));
  for (const float w : {10.0f, 11.0f}) {
    auto described = begun(runner);
    expect_error(described.share("t", eight(1)), Errc::unsupported, {"2.8"});
    expect_error(described.set_blob(aoti::Bytes{}), Errc::unsupported,
                 {"GetConstantDataSize", "torch 2.8"});
    set_all(described, w, 20, 30);
    ASSERT_TRUE(good(described.commit()));
    EXPECT_EQ(output(runner), y(w, 20, 30));
  }
  auto part = begun(runner);
  ASSERT_TRUE(good(part.set("layer.w", eight(1))));
  expect_error(part.commit(), Errc::missing_constants, {"layer.b, t"});
  EXPECT_EQ(output(runner), y(11, 20, 30));
}

// A model of torch 2.12 and before does not say whether it has weights; its image does.
TEST_F(Weights, AreMissedInOldImages) {
  for (const char* name : {"two_sets_old_none", "two_sets_old_beside"}) {
    expect_error(Runner::open(package(std::string{name} + ".pt2")), Errc::unsupported,
                 {name, "no weights"});
    expect_error(Runner::open(fake(name)), Errc::unsupported, {name, "no weights"});
    EXPECT_EQ(opened(fake(name), {.weights = PackagedWeights::ignored}).weights_state(),
              WeightsState::none);
  }
  EXPECT_EQ(output(opened(fake("two_sets_old"))), at_first);
  // Eight bytes may be the weights themselves.
  EXPECT_EQ(elements<float>(opened(fake("one_number")).run<1>(eight(2)).value()[0])[0], 3);
}

TEST_F(Weights, MayComeAfterTheModel) {
  expect_error(Runner::open(package("two_sets_empty.pt2")), Errc::unsupported,
               {"two_sets_empty.pt2 (model)", "no weights", "PackagedWeights::optional"});
  Runner runner = opened(package("two_sets_empty.pt2"), {.weights = PackagedWeights::ignored});
  EXPECT_EQ(runner.weights_state(), WeightsState::none);
  EXPECT_EQ(runner.input_count(), 1u);
  expect_error(runner.run<1>(eight(0)), Errc::bad_state, {"two_sets_empty.pt2", "no weights yet"});
  expect_error(aoti::weights(runner), Errc::bad_state, {"no weights yet"});
  expect_error(aoti::fold_weights(runner), Errc::bad_state, {"no weights yet"});
  auto part = begun(runner);
  ASSERT_TRUE(good(part.set("layer.w", eight(1))));
  expect_error(part.commit(), Errc::missing_constants, {"layer.b, t"});
  expect_error(runner.run<1>(eight(0)), Errc::bad_state, {"no weights yet"});
  auto update = begun(runner);
  set_all(update, 10, 20, 30);
  ASSERT_TRUE(good(update.commit()));
  EXPECT_EQ(runner.weights_state(), WeightsState::folded);
  EXPECT_EQ(output(runner), y(10, 20, 30));
  expect_error(aoti::swap_weights(runner), Errc::bad_state, {"no second set"});
  Runner moved = std::move(runner);
  EXPECT_EQ(output(moved), y(10, 20, 30));
  Runner without =
      opened(package("two_sets_undescribed.pt2"), {.weights = PackagedWeights::ignored});
  auto undescribed = begun(without);
  expect_error(undescribed.set("t", eight(1)), Errc::unsupported, {"tells the shape"});
}

// If the package's description of weights contradicts their sizes, they are not used in place.
TEST_F(Weights, ThatArePoorlyDescribedAreCopied) {
  const struct {
    const char* model;
    int copies;
  } cases[] = {{"two_sets_beside.pt2", 0},
               {"two_sets_by_source.pt2", 0},
               {"two_sets_wrong_source.pt2", 1},
               {"two_sets_short_source.pt2", 1},
               {"two_sets_wrong_spec.pt2", 1}};
  for (const auto& [model, expected] : cases) {
    SCOPED_TRACE(model);
    const int before = copies;
    Runner runner = opened(package(model));
    EXPECT_EQ(copies - before, expected);
    EXPECT_EQ(output(runner), at_first);
    auto update = begun(runner);  // the tensors that the model made give the shapes
    set_all(update, 10, 20, 30);
    ASSERT_TRUE(good(update.commit()));
    EXPECT_EQ(output(runner), y(10, 20, 30));
  }
}

TEST_F(Weights, BesideTheImageMayBeLeftOut) {
  Runner runner = opened(package("two_sets_beside.pt2"), {.weights = PackagedWeights::ignored});
  EXPECT_EQ(runner.weights_state(), WeightsState::none);
  expect_error(runner.run<1>(eight(0)), Errc::bad_state, {"no weights yet"});
  auto update = begun(runner);
  set_all(update, 10, 20, 30);
  ASSERT_TRUE(good(update.commit()));
  EXPECT_EQ(output(runner), y(10, 20, 30));
  EXPECT_EQ(output(opened(package("two_sets.pt2"), {.weights = PackagedWeights::ignored})),
            at_first);
  for (const char* model : {"two_sets_beside.pt2", "two_sets.pt2"}) {
    EXPECT_EQ(output(opened(package(model), {.weights = PackagedWeights::optional})), at_first);
  }
  const Runner without =
      opened(package("two_sets_empty.pt2"), {.weights = PackagedWeights::optional});
  EXPECT_EQ(without.weights_state(), WeightsState::none);
}

TEST_F(Weights, MayBeExpectedToBeAll) {
  // As in torch, its third constant may be left out: it is a tensor or a buffer; b is a buffer.
  Runner runner = opened(package("two_sets.pt2"));
  auto update = begun(runner);
  expect_error(update.expect_all(), Errc::missing_constants,
               {"two_sets.pt2", "all parameters", "no tensor for layer.w"});
  ASSERT_TRUE(good(update.set("w_", eight(10))));
  ASSERT_TRUE(good(update.expect_all()));
  ASSERT_TRUE(good(update.commit()));
  expect_error(update.expect_all(), Errc::bad_state, {"ended"});
  Runner old = opened(package("two_sets_old_described.pt2"));  // does not report the kinds
  auto all = begun(old);
  expect_error(all.expect_all(), Errc::missing_constants, {"layer.w, layer.b, t"});
  set_all(all, 1, 2, 3);
  EXPECT_TRUE(good(all.expect_all()));
}

TEST_F(Weights, ComeFromABlob) {
  const std::string path = testing::TempDir() + "aoti_weights.blob";
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    // Models pad each constant to 64 bytes, which most fakes do not.
    const bool pads = model == "two_sets_written.pt2";
    const std::size_t room = pads ? 16 : 8;
    std::vector<float> blob(3 * room);
    for (std::size_t i = 0; i < 3; ++i) {
      for (std::size_t k = 0; k < 8; ++k) blob[i * room + k] = 10 * static_cast<float>(i + 1);
    }
    const auto bytes = std::as_bytes(std::span{blob});
    std::ofstream{path, std::ios::binary}.write(reinterpret_cast<const char*>(bytes.data()),
                                                static_cast<std::streamsize>(bytes.size()));
    Runner runner = opened(package(model));
    for (int i = 0; i < 2; ++i) {
      auto update = begun(runner);
      expect_error(update.set_blob(bytes.first(92)), Errc::invalid_argument,
                   {"found a blob of 92 bytes, expected ", pads ? "192" : "96"});
      expect_error(update.set_blob(path + "x"), Errc::not_found, {"aoti_weights.blobx"});
      ASSERT_TRUE(good(i == 0 ? update.set_blob(bytes) : update.set_blob(path)));
      ASSERT_TRUE(good(update.set("t", eight(31))));
      ASSERT_TRUE(good(update.commit()));
      EXPECT_EQ(output(runner), y(10, 20, 31));
    }
  }
  std::remove(path.c_str());
}

TEST_F(Weights, DoNotChangeWhenMemoryRunsOut) {
  for (const std::string& model : keeping) {
    SCOPED_TRACE(model);
    Runner runner = opened(package(model));
    bool refused = false, done = false;
    for (int allowed = 0; allowed < 50 && !done; ++allowed) {
      auto update = begun(runner);
      allocations_left = allowed;
      const auto set = update.set("layer.w", eight(10));
      allocations_left = -1;
      done = set.has_value();
      if (done) break;
      refused = true;
      EXPECT_EQ(set.error().code(), Errc::out_of_memory);
      ASSERT_TRUE(good(update.commit()));
      EXPECT_EQ(output(runner), at_first);
    }
    EXPECT_TRUE(refused && done);
  }
}

TEST_F(Weights, OfAnExclusiveRunnerAreNotChangedDuringARun) {
  Runner runner = opened(package("two_sets.pt2"));
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::thread other{[&] {
    while (!stop) {
      auto result = runner.run<1>(eight(0));
      if (!result && result.error().code() != Errc::bad_state) ++wrong;
    }
  }};
  // The other thread may have been stopped inside a run, which blocks all commits until it
  // continues.
  int committed = 0;
  for (int i = 0; i < 1000 || (committed == 0 && i < 1000000); ++i) {
    auto update = begun(runner);
    set_all(update, 1, 2, 3);
    auto done = update.commit();
    if (done) {
      ++committed;
    } else {
      EXPECT_EQ(done.error().code(), Errc::bad_state) << done.error().message();
      std::this_thread::yield();
    }
  }
  stop = true;
  other.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(committed, 0);
  EXPECT_EQ(output(runner), at_first);
}

// The results of each run come from one set of weights, and memory does not grow.
TEST_F(Weights, OfASharedRunnerChangeUnderLoad) {
  for (const std::string& model : {std::string{"two_sets.pt2"}, std::string{"two_sets_maps.pt2"}}) {
    SCOPED_TRACE(model);
    SharedRunner runner = opened<SharedRunner>(package(model), {.instances = 2});
    std::atomic<bool> stop = false;
    std::atomic<int> mixed = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] {
        while (!stop) {
          const float found = output(runner);  // w = i, b = 1000 i, t = 0
          const float i_of = found / 1003;
          if (found != at_first && i_of != static_cast<float>(static_cast<int>(i_of))) ++mixed;
        }
      });
    }
    int live = 0;
    for (int i = 1001; i <= 2000; ++i) {
      auto update = begun(runner);
      const auto value = static_cast<float>(i);
      set_all(update, value, 1000 * value, 0);
      ASSERT_TRUE(good(update.commit()));
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(mixed, 0);
    EXPECT_EQ(output(runner), 1003 * 2000);
    live = live_storages;
    for (int i = 0; i < 10; ++i) {
      auto update = begun(runner);
      set_all(update, 1, 2, 3);
      ASSERT_TRUE(good(update.commit()));
    }
    EXPECT_EQ(live_storages, live);
  }
}

}  // namespace
}  // namespace aoti_test
