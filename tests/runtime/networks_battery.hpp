// Models that import operators, on the tensor runtimes that have some. A file for one runtime
// includes how it makes tensors, and has
//   INSTANTIATE_TYPED_TEST_SUITE_P(Name, NetworksBattery, Runtime);
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/weights_battery.hpp"

namespace aoti_test {

template <class Runtime> class NetworksBattery : public testing::Test {};
TYPED_TEST_SUITE_P(NetworksBattery);

TYPED_TEST_P(NetworksBattery, TakeEveryBatchSize) {
  using B = OnRuntime<TypeParam>;
  const auto [sizes, in, output] = B::recorded_of("mlp");
  const auto reference = B::opened("mlp");
  const auto networks = B::networks();
  for (const std::int64_t batch : {1, 2, 3, 4, 5, 64, 1023, 1024}) {
    SCOPED_TRACE(batch);
    typename B::Floats rows, expected;
    for (std::int64_t i = 0; i < batch; ++i) {
      const std::int64_t row = i % 4;
      rows.insert(rows.end(), in.begin() + 64 * row, in.begin() + 64 * (row + 1));
      expected.insert(expected.end(), output.begin() + 8 * row, output.begin() + 8 * (row + 1));
    }
    const auto x = B::floats({batch, 64}, rows);
    const auto y = value_of(reference.template run<1>(x));
    EXPECT_EQ(B::sizes_of(y[0]), (typename B::Numbers{batch, 8}));
    EXPECT_TRUE(B::close(y[0], expected));
    for (const char* name : networks) {
      SCOPED_TRACE(name);
      EXPECT_EQ(B::floats_in(value_of(B::opened(name).template run<1>(x))[0]), B::floats_in(y[0]));
    }
  }
  expect_error(reference.template run<1>(B::random({1025, 64}, 1)), aoti::Errc::input_shape,
               {"input 0 'input'", "dimension 0 (batch)", "found 1025", "expected 1 to 1024"});
}

// Its memory is channels-last.
TYPED_TEST_P(NetworksBattery, TakeImagesHoweverTheyLie) {
  using B = OnRuntime<TypeParam>;
  using Numbers = typename B::Numbers;
  using Floats = typename B::Floats;
  const auto runner = B::opened("image");
  EXPECT_EQ(runner.spec()->inputs[0].order, (std::vector<int>{0, 2, 3, 1}));
  const auto [sizes, in, output] = B::recorded("image", {2, 3, 8, 8});
  for (const Numbers& strides :
       {Numbers{}, {192, 1, 24, 3}, {1, 2, 6, 48}, {400, 100, 10, 1}, {192, 64, 1, 8}}) {
    SCOPED_TRACE(testing::PrintToString(strides));
    const auto input = B::floats(sizes, in, strides);
    for (int i = 0; i < 2; ++i) {
      const auto outputs = value_of(runner.template run<1>(input));
      EXPECT_TRUE(B::close(outputs[0], output));
      EXPECT_EQ(B::sizes_of(outputs[0]), (Numbers{2, 4, 8, 8}));
      const auto found = TypeParam::strides(outputs[0]);
      EXPECT_EQ((Numbers{found.begin(), found.end()}), (Numbers{256, 1, 32, 4}));
    }
    EXPECT_EQ(B::floats_in(input), in);
    EXPECT_EQ(B::Case::owners(input), 1u);
  }
  Floats one{in.begin(), in.begin() + 192}, expected;
  for (const std::int64_t batch : {1, 64}) {
    expected.clear();
    for (std::int64_t i = 0; i < batch; ++i) {
      expected.insert(expected.end(), output.begin(), output.begin() + 256);
    }
    const auto input = B::Case::view(one.data(), {batch, 3, 8, 8}, {0, 64, 8, 1});
    EXPECT_TRUE(B::close(value_of(runner.template run<1>(input))[0], expected));
  }
}

TYPED_TEST_P(NetworksBattery, TellOfThemselves) {
  using B = OnRuntime<TypeParam>;
  const auto mlp = B::opened("mlp"), plain = B::opened("mlp_plain");
  EXPECT_EQ(value_of(mlp.input_name(0)), "input");
  EXPECT_EQ(value_of(mlp.output_name(0)), "linear_1");
  // Without a spec, they are those of the compiled code.
  EXPECT_EQ(plain.spec(), nullptr);
  EXPECT_EQ(value_of(plain.input_name(0)), value_of(plain.container().input_name(0)));
  EXPECT_EQ(value_of(plain.output_name(0)), "output0");
  expect_error(plain.input_name(1), aoti::Errc::invalid_argument, {"no input 1", "has 1"});
  for (const char* name : {"mlp", "mlp_plain", "image"}) {
    SCOPED_TRACE(name);
    const auto call = value_of(B::opened(name).call_spec());
    EXPECT_EQ(call.args.leaf_count(), 1u);
    EXPECT_EQ(call.kwargs.children.size(), 0u);
    EXPECT_EQ(call.result.leaf_count(), 1u);
  }
}

TYPED_TEST_P(NetworksBattery, TellTheirConstants) {
  using B = OnRuntime<TypeParam>;
  using Expected = std::vector<std::pair<std::string, std::size_t>>;  // by FQN, with bytes
  const Expected of_mlp{{"0.weight", 32 * 64 * 4}, {"0.bias", 32 * 4}, {"2.weight", 8 * 32 * 4}};
  for (const char* model : B::available({"mlp", "mlp_beside", "image"})) {
    SCOPED_TRACE(model);
    const bool image = std::string_view{model} == "image";
    const auto runner = B::opened(model);
    const auto& constants = runner.constants();
    // The compiler may write small weights into the code: then they are not listed.
    for (const auto& [fqn, bytes] : image ? Expected{{"0.weight", 4 * 3 * 3 * 3 * 4}} : of_mlp) {
      SCOPED_TRACE(fqn);
      const auto found =
          std::find_if(constants.begin(), constants.end(),
                       [&fqn = fqn](const aoti::Constant& c) { return c.fqn == fqn; });
      ASSERT_NE(found, constants.end());
      EXPECT_FALSE(found->name.empty());
      EXPECT_EQ(found->dtype, aoti::DType::float32);
      EXPECT_GE(found->bytes, bytes);
      EXPECT_LT(found->bytes, bytes + 64);  // padded
      EXPECT_FALSE(found->folded);
    }
  }
}

TYPED_TEST_P(NetworksBattery, WithoutASpecCountTheirInputsOnly) {
  using B = OnRuntime<TypeParam>;
  using aoti::Errc;
  const auto plain = B::opened("mlp_plain");
  const auto x = B::recorded_of("mlp").input();
  expect_error(plain.template run<1>(), Errc::input_count, {"found 0", "expected 1"});
  expect_error(plain.template run<1>(x, x), Errc::input_count, {"found 2", "expected 1"});
  expect_error(plain.template run<1>(typename B::Tensor{}), Errc::undefined_tensor,
               {"input 0", "undefined"});
  EXPECT_TRUE(B::works(plain, "mlp_plain"));
  EXPECT_TRUE(good(plain.template run<1>(B::random({1025, 64}, 1))));
}

/// With an input that only the operator refuses.
template <class Runner> void expect_the_operators_reason(const char* model) {
  using Runtime = typename Runner::TensorRuntime;
  using B = OnRuntime<Runtime>;
  using aoti::Errc;
  SCOPED_TRACE(model);
  const auto runner = B::template opened<Runner>(model);
  const bool tells = runner.container().exports().get_last_error != nullptr;
  const std::string reason = tells ? B::Case::refused_product() : "before torch 2.13";
  auto wrong = B::random({4, 63}, 1);
  for (int i = 0; i < 3; ++i) {
    expect_error(runner.template run<1>(wrong), Errc::model_failed, {reason});
    const typename B::Tensors inputs{wrong};
    expect_error(runner.run(inputs), Errc::model_failed, {reason});
  }
  EXPECT_EQ(B::Case::owners(wrong), 1u);
  AtenTensorHandle in[] = {Runtime::share(wrong)}, out[1] = {};
  expect_error(runner.run_handles(in, out), Errc::model_failed, {reason});
  EXPECT_EQ(in[0], nullptr);
  EXPECT_EQ(out[0], nullptr);
  EXPECT_EQ(B::Case::owners(wrong), 1u);

  // After the model has been called, moved inputs are gone.
  const auto memory = wrong;
  expect_error(runner.template run<1>(std::move(wrong)), Errc::model_failed, {reason});
  EXPECT_EQ(B::Case::owners(memory), 1u);
  typename B::Tensors inputs{memory};
  expect_error(runner.boxed_run(inputs), Errc::model_failed, {reason});
  EXPECT_FALSE(Runtime::is_defined(inputs[0]));
  EXPECT_EQ(B::Case::owners(memory), 1u);

  const auto expected = B::recorded_of("mlp");
  EXPECT_TRUE(B::close(value_of(runner.template run<1>(expected.input()))[0], expected.output));
}

TYPED_TEST_P(NetworksBattery, PassOnWhyAnOperatorFailed) {
  using B = OnRuntime<TypeParam>;
  expect_the_operators_reason<typename B::Runner>("mlp_plain");
  for (const char* unchecked : B::available({"mlp", "mlp_appended"})) {
    expect_the_operators_reason<typename B::UncheckedRunner>(unchecked);
  }
}

/// The weights in NAME_weights.bin, in order.
template <class Runtime>
typename Weights<Runtime>::Named other_weights(
    const std::string& name,
    const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& shapes) {
  using B = Weights<Runtime>;
  const auto bytes = read_file(models_file(name + "_weights.bin"));
  typename B::Named result;
  std::size_t at = 0;
  for (const auto& [weight, shape] : shapes) {
    std::size_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    typename B::Floats numbers(count);
    if (at + 4 * count > bytes.size()) give_up("there are too few weights");
    std::memcpy(numbers.data(), bytes.data() + at, 4 * count);
    at += 4 * count;
    result[weight] = B::floats(shape, numbers);
  }
  if (at != bytes.size()) give_up("there are too many weights");
  return result;
}

template <class Runtime> typename Weights<Runtime>::Named linear_weights() {
  return other_weights<Runtime>("linear", {{"first.weight", {24, 16}},
                                           {"first.bias", {24}},
                                           {"second.weight", {12, 24}},
                                           {"second.bias", {12}},
                                           {"scale", {24}},
                                           {"_tensor_constant0", {12}}});
}

template <class Runner, class Recorded>
testing::AssertionResult gives(const Runner& runner, const Recorded& recorded) {
  using B = OnRuntime<typename Runner::TensorRuntime>;
  return B::close(value_of(runner.template run<1>(recorded.input()))[0], recorded.output);
}

// With the weights of eager PyTorch, the model computes the same, however it was packaged.
TYPED_TEST_P(NetworksBattery, TakeTheWeightsOfTheModule) {
  using B = Weights<TypeParam>;
  const auto first = B::recorded("linear", {4, 16});
  const auto second = B::recorded("linear_updated", {4, 16});
  for (const char* model : B::available({"linear_beside", "linear_embedded", "linear_foreign"})) {
    SCOPED_TRACE(model);
    auto runner = B::opened(model);
    // Torch 2.8 embeds all weights, and models before 2.11 copy them.
    const bool beside = std::string_view{model} != "linear_embedded" && !compiled_before(2, 11);
    EXPECT_TRUE(gives(runner, first));
    const auto before = B::named(runner);
    EXPECT_EQ(before.size(), 6u);
    const std::string file = std::filesystem::canonical(model_path(model));
    for (const auto& [name, tensor] : before) {
      EXPECT_EQ(file_at(B::Case::data(tensor)) == file, beside) << name;
    }
    // Models before torch 2.12 run once on a second set and then refuse, except through one
    // function.
    for (int change = 0; change < 2; ++change) {
      ASSERT_TRUE(good(B::replaced(runner, linear_weights<TypeParam>())));
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(gives(runner, second));
    }
  }
}

TYPED_TEST_P(NetworksBattery, MayGetTheirWeightsLater) {
  using B = Weights<TypeParam>;
  using aoti::Errc;
  B::needs("linear_none");
  const auto recorded = B::recorded("linear_updated", {4, 16});
  const auto x = recorded.input();
  expect_error(B::Runner::open(model_path("linear_none")), Errc::unsupported, {"no weights"});
  auto runner = B::opened("linear_none", {.weights = aoti::PackagedWeights::ignored});
  expect_error(runner.template run<1>(x), Errc::bad_state, {"no weights yet"});
  const auto weights = linear_weights<TypeParam>();
  auto part = weights;
  part.erase("scale");
  expect_error(B::replaced(runner, part), Errc::missing_constants, {"scale"});
  expect_error(runner.template run<1>(x), Errc::bad_state, {"no weights yet"});
  ASSERT_TRUE(good(B::replaced(runner, weights)));
  EXPECT_TRUE(gives(runner, recorded));
}

TYPED_TEST_P(NetworksBattery, FoldTheirWeights) {
  using B = Weights<TypeParam>;
  const auto first = B::recorded("folding", {4, 16});
  const auto second = B::recorded("folding_updated", {4, 16});
  auto runner = B::opened("folding");
  EXPECT_EQ(runner.weights_state(), aoti::WeightsState::folded);
  EXPECT_TRUE(gives(runner, first));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(good(B::replaced(
        runner, other_weights<TypeParam>("folding", {{"w1", {16, 8}}, {"w2", {8, 12}}}))));
    EXPECT_TRUE(gives(runner, second));
  }
}

TYPED_TEST_P(NetworksBattery, TakeTheBlobOfAnotherPackage) {
  using B = Weights<TypeParam>;
  B::needs("mlp_beside");
  const auto package = value_of(aoti::Package::open(model_path("mlp_beside")));
  const auto model = value_of(package.model());
  auto runner = B::opened("mlp");
  ASSERT_TRUE(good(B::replaced(runner, B::random_for(B::named(runner), 1))));
  EXPECT_FALSE(B::works(runner, "mlp"));
  auto update = value_of(aoti::update_weights(runner));
  ASSERT_TRUE(good(update.set_blob(model.weights)));
  ASSERT_TRUE(good(update.commit()));
  EXPECT_TRUE(B::works(runner, "mlp"));
}

REGISTER_TYPED_TEST_SUITE_P(NetworksBattery, TakeEveryBatchSize, TakeImagesHoweverTheyLie,
                            TellOfThemselves, TellTheirConstants, WithoutASpecCountTheirInputsOnly,
                            PassOnWhyAnOperatorFailed, TakeTheWeightsOfTheModule,
                            MayGetTheirWeightsLater, FoldTheirWeights, TakeTheBlobOfAnotherPackage);

}  // namespace aoti_test
