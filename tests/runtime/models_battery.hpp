// What models compiled by torch compute and report: those that import no operator. A file for one
// runtime includes how it makes tensors, and has
//   INSTANTIATE_TYPED_TEST_SUITE_P(Name, ModelsBattery, Runtime);
#pragma once

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "runtime/models.hpp"

namespace aoti_test {

template <class Runtime> class ModelsBattery : public testing::Test {};
TYPED_TEST_SUITE_P(ModelsBattery);

using Names = std::vector<std::string>;

TYPED_TEST_P(ModelsBattery, RunWithoutTheLibraryThatTheyAskFor) {
  using B = OnRuntime<TypeParam>;
  const auto package = value_of(aoti::Package::open(model_path("add")));
  const auto packaged = value_of(package.model());
  const auto image = value_of(aoti::Image::parse(packaged.image, packaged.origin));
#if defined(__x86_64__)  // models compiled elsewhere cannot name a libtorch
  EXPECT_THAT(image.needed(), testing::Contains("libtorch.so"));
#endif

  EXPECT_TRUE(B::works(B::opened("add"), "add"));
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);) {
    EXPECT_EQ(line.find("/libtorch.so"), line.npos) << line;
  }
}

TYPED_TEST_P(ModelsBattery, TakeEveryLayout) {
  using B = OnRuntime<TypeParam>;
  using Numbers = typename B::Numbers;
  const auto runner = B::opened("transposed");  // x * 2 + y; x lies in memory as [4, 6]
  const auto numbers = B::count_from(0, 24);
  for (const Numbers& x : {Numbers{}, {1, 6}, {5, 1}, {2, 20}}) {
    for (const Numbers& y : {Numbers{}, {1, 6}, {9, 2}}) {
      SCOPED_TRACE(testing::PrintToString(x) + testing::PrintToString(y));
      const auto outputs = value_of(
          runner.template run<1>(B::floats({6, 4}, numbers, x), B::floats({6, 4}, numbers, y)));
      EXPECT_EQ(B::floats_in(outputs[0]), B::times(3, numbers));
    }
  }
}

TYPED_TEST_P(ModelsBattery, TakeShapesThatVary) {
  using B = OnRuntime<TypeParam>;
  using Floats = typename B::Floats;
  const auto nested = B::opened("nested");
  for (const std::int64_t batch : {1, 4, 64}) {
    SCOPED_TRACE(batch);
    const auto count = static_cast<std::size_t>(3 * batch);
    Floats scale(count, -3);
    scale[1] = 5;
    const auto outputs = value_of(nested.template run<3>(B::floats({batch, 3}, Floats(count, 2)),
                                                         B::floats({batch, 3}, scale)));
    EXPECT_EQ(B::floats_in(outputs[0]), B::times(2, scale));
    EXPECT_EQ(B::floats_in(outputs[1]), Floats{static_cast<float>(16 - 18 * batch)});
    std::vector<bool> positive(count, false);
    positive[1] = true;
    EXPECT_EQ(B::bools_in(outputs[2]), positive);
  }
}

TYPED_TEST_P(ModelsBattery, TakeDimensionsThatAreTied) {
  using B = OnRuntime<TypeParam>;
  const auto runner = B::opened("derived");
  for (const std::int64_t b : {1, 3, 64}) {
    SCOPED_TRACE(b);
    const auto count = static_cast<std::size_t>(4 * b);
    const auto x = B::count_from(1, count), y = B::count_from(1000, 2 * count);
    const auto outputs =
        value_of(runner.template run<2>(B::floats({b, 4}, x), B::floats({2 * b, 4}, y)));
    auto sum = x, both = x;
    for (std::size_t i = 0; i < count; ++i) sum[i] += y[i];
    both.insert(both.end(), y.begin(), y.end());
    EXPECT_EQ(B::floats_in(outputs[0]), sum);
    EXPECT_EQ(B::floats_in(outputs[1]), both);
    EXPECT_EQ(B::sizes_of(outputs[1]), (typename B::Numbers{3 * b, 4}));
  }
  for (const std::int64_t rows : {3, 5, 7, 8, 128}) {
    SCOPED_TRACE(rows);
    expect_error(runner.template run<2>(B::random({3, 4}, 1), B::random({rows, 4}, 2)),
                 aoti::Errc::input_shape,
                 {"input 1 'y'", "dimension 0", "found " + std::to_string(rows), "expected 6",
                  "input 0 'x' is 3"});
  }
}

TYPED_TEST_P(ModelsBattery, TakeIntegersAndBooleans) {
  using B = OnRuntime<TypeParam>;
  const auto runner = B::opened("types");
  for (const std::int64_t n : {0, 1, 7, 100}) {
    SCOPED_TRACE(n);
    typename B::Numbers ids, doubled;
    std::vector<bool> mask;
    typename B::Floats rows;
    for (std::int64_t i = 0; i < n; ++i) {
      ids.push_back(i % 10);
      mask.push_back(i % 3 != 0);
      doubled.push_back(mask.back() ? 2 * ids.back() : -1);
      for (std::int64_t j = 0; j < 4; ++j) {
        rows.push_back(mask.back() ? static_cast<float>(4 * ids.back() + j) : 0);
      }
    }
    const auto outputs = value_of(runner.template run<2>(B::longs(ids), B::bools(mask)));
    EXPECT_EQ(B::floats_in(outputs[0]), rows);
    EXPECT_EQ(B::sizes_of(outputs[0]), (typename B::Numbers{n, 4}));
    EXPECT_EQ(B::longs_in(outputs[1]), doubled);
  }
}

TYPED_TEST_P(ModelsBattery, ReturnOneTensorTwiceAndNone) {
  using B = OnRuntime<TypeParam>;
  using Numbers = typename B::Numbers;
  const auto runner = B::opened("repeated");
  const auto x = B::floats({4, 3}, B::count_from(1, 12));
  const auto twice = B::times(2, B::count_from(1, 12));
  for (int i = 0; i < 3; ++i) {
    auto outputs = value_of(runner.template run<4>(x));
    EXPECT_EQ(B::floats_in(outputs[0]), twice);
    EXPECT_FALSE(TypeParam::is_defined(outputs[1]));
    EXPECT_EQ(B::Case::data(outputs[0]), B::Case::data(outputs[2]));
    EXPECT_EQ(B::longs_in(outputs[3]), Numbers{4});
    EXPECT_EQ(B::sizes_of(outputs[3]), Numbers{});
    outputs[0] = typename B::Tensor{};  // the other output keeps the memory
    EXPECT_EQ(B::Case::owners(outputs[2]), 1u);
    EXPECT_EQ(B::floats_in(outputs[2]), twice);
  }

  // Without a spec, the call spec reveals None.
  const auto package = value_of(aoti::Package::open(model_path("repeated")));
  const auto plain = value_of(B::Runner::open(value_of(package.model()).image));
  ASSERT_EQ(plain.spec(), nullptr);
  EXPECT_FALSE(TypeParam::is_defined(value_of(plain.template run<4>(x))[1]));
  typename B::Tensors inputs(1, x), outputs(4, x);
  ASSERT_TRUE(good(plain.run_into(inputs, outputs)));
  EXPECT_FALSE(TypeParam::is_defined(outputs[1]));
  EXPECT_EQ(B::floats_in(outputs[2]), twice);
  EXPECT_FALSE(TypeParam::is_defined(value_of(plain.boxed_run(inputs))[1]));

  AtenTensorHandle in[] = {TypeParam::share(x)}, out[4] = {};
  ASSERT_TRUE(good(runner.run_handles(in, out)));
  EXPECT_NE(out[0], out[2]);
  EXPECT_EQ(out[1], nullptr);
  EXPECT_EQ(B::floats_in(TypeParam::take(out[0])), twice);
  EXPECT_EQ(B::floats_in(TypeParam::take(out[2])), twice);
  EXPECT_EQ(B::longs_in(TypeParam::take(out[3])), Numbers{4});
}

TYPED_TEST_P(ModelsBattery, AreFoundByExactName) {
  using B = OnRuntime<TypeParam>;
  using Runner = typename B::Runner;
  const std::string path = model_path("pair");
  const auto a = B::floats({8}, B::count_from(5, 8)), b = B::floats({8}, B::count_from(1, 8));
  const auto first = B::opened("pair", {.model = "model"}),
             second = B::opened("pair", {.model = "model2"});
  EXPECT_TRUE(B::works(first, "add"));
  EXPECT_EQ(B::floats_in(value_of(second.template run<1>(a, b))[0]), typename B::Floats(8, 4));
  EXPECT_EQ(second.origin(), path + " (model2)");

  expect_error(Runner::open(path), aoti::Errc::ambiguous_model, {path, "model, model2"});
  for (const char* name : {"mod", "model3", "Model", "model2/", "model/../model", " model"}) {
    SCOPED_TRACE(name);
    expect_error(Runner::open(path, {.model = name}), aoti::Errc::no_such_model,
                 {"'" + std::string{name} + "'", "model, model2"});
  }

  const auto package = value_of(aoti::Package::open(path));
  EXPECT_EQ(aoti::detail::as_text(value_of(package.file("extra/notes.txt"))), "hello");
  expect_error(package.file("extra/other.txt"), aoti::Errc::not_found, {"extra/other.txt"});
}

TYPED_TEST_P(ModelsBattery, ThatCannotRunHereSayWhy) {
  using B = OnRuntime<TypeParam>;
  using Runner = typename B::Runner;
  B::needs("custom");
  const auto refused = Runner::open(model_path("custom"));
  if (TypeParam::import("aoti_torch_proxy_executor_call_function") != nullptr) {
    expect_error(refused, aoti::Errc::unsupported,
                 {model_path("custom"), "aoti_tests::twice_plus"});
  } else {
    expect_error(refused, aoti::Errc::missing_import,
                 {model_path("custom"), "aoti_torch_proxy_executor_call_function"});
  }
  expect_error(Runner::open(model_path("exported")), aoti::Errc::no_such_model,
               {model_path("exported"), "torch.export.save"});
}

TYPED_TEST_P(ModelsBattery, TellNamesOfInputsAndOutputs) {
  using B = OnRuntime<TypeParam>;
  const struct {
    const char* model;
    Names inputs, outputs;
  } cases[] = {
      {"add", {"a", "b"}, {"add"}},
      {"nested", {"x", "scale"}, {"y", "z_0", "z_1_0"}},
      {"types", {"ids", "mask"}, {"where", "where_1"}},
      {"repeated", {"x"}, {"mul", "output_1", "output_2", "output_3"}},
  };
  for (const auto& [model, inputs, outputs] : cases) {
    SCOPED_TRACE(model);
    const auto runner = B::opened(model);
    ASSERT_EQ(runner.input_count(), inputs.size());
    ASSERT_EQ(runner.output_count(), outputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_EQ(value_of(runner.input_name(i)), inputs[i]);
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(value_of(runner.output_name(i)), outputs[i]);
    }
    expect_error(runner.input_name(inputs.size()), aoti::Errc::invalid_argument, {"input"});
    expect_error(runner.output_name(outputs.size()), aoti::Errc::invalid_argument, {"output"});
  }
}

TYPED_TEST_P(ModelsBattery, TellHowPythonCallsThem) {
  using B = OnRuntime<TypeParam>;
  for (const char* name : {"add", "types", "repeated"}) {
    SCOPED_TRACE(name);
    const auto runner = B::opened(name);
    const auto call = value_of(runner.call_spec());
    EXPECT_EQ(call.args.leaf_count(), runner.input_count());
    EXPECT_EQ(call.kwargs.children.size(), 0u);
    EXPECT_EQ(call.result.leaf_count(), runner.output_count());
  }
  const auto call = value_of(B::opened("nested").call_spec());
  EXPECT_EQ(call.args.type, "builtins.tuple");
  ASSERT_EQ(call.args.children.size(), 1u);
  EXPECT_TRUE(call.args.children[0].is_leaf());
  EXPECT_EQ(call.kwargs.type, "builtins.dict");
  EXPECT_EQ(call.kwargs.keys, Names{"scale"});
  EXPECT_EQ(call.kwargs.leaf_count(), 1u);
  EXPECT_EQ(call.result.type, "builtins.dict");
  EXPECT_EQ(call.result.keys, (Names{"y", "z"}));
  EXPECT_EQ(call.result.leaf_count(), 3u);
  ASSERT_EQ(call.result.children.size(), 2u);
  EXPECT_TRUE(call.result.children[0].is_leaf());
  const aoti::TreeSpec& z = call.result.children[1];
  EXPECT_EQ(z.type, "builtins.tuple");
  ASSERT_EQ(z.children.size(), 2u);
  EXPECT_TRUE(z.children[0].is_leaf());
  EXPECT_EQ(z.children[1].type, "builtins.list");
  EXPECT_EQ(z.children[1].leaf_count(), 1u);
}

TYPED_TEST_P(ModelsBattery, CarryTheirSpec) {
  using B = OnRuntime<TypeParam>;
  const auto runner = B::opened("derived");
  const aoti::ModelSpec* spec = runner.spec();
  ASSERT_NE(spec, nullptr);
  EXPECT_EQ(spec->symbols, Names{"b"});
  ASSERT_EQ(spec->inputs.size(), 2u);
  const aoti::TensorSpec& y = spec->inputs[1];
  EXPECT_EQ(y.name, "y");
  EXPECT_EQ(y.dtype, aoti::DType::float32);
  EXPECT_EQ(y.device, aoti::DeviceType::cpu);
  ASSERT_EQ(y.shape.size(), 2u);
  EXPECT_EQ(y.shape[0].min, 2);
  EXPECT_EQ(y.shape[0].max, 128);
  EXPECT_EQ(y.shape[0].symbol, 0);
  EXPECT_EQ(y.shape[0].scale, 2);
  EXPECT_EQ(y.shape[0].first_input, 0);
  EXPECT_EQ(y.shape[0].first_dimension, 0);
  EXPECT_EQ(y.shape[1].min, 4);
  EXPECT_EQ(y.shape[1].max, 4);
  EXPECT_EQ(y.shape[1].symbol, -1);

  EXPECT_EQ(B::opened("transposed").spec()->inputs[0].order, (std::vector<int>{1, 0}));
  EXPECT_EQ(B::opened("types").spec()->inputs[0].dtype, aoti::DType::int64);
  EXPECT_EQ(B::opened("types").spec()->inputs[1].dtype, aoti::DType::boolean);
  EXPECT_TRUE(B::opened("repeated").spec()->outputs[1].none);
}

TYPED_TEST_P(ModelsBattery, TellTheirConstants) {
  using B = OnRuntime<TypeParam>;
  EXPECT_TRUE(B::opened("add").constants().empty());
  const auto runner = B::opened("types");
  ASSERT_EQ(runner.constants().size(), 1u);
  const aoti::Constant& table = runner.constants()[0];
  EXPECT_EQ(table.fqn, "table");
  EXPECT_FALSE(table.name.empty());
  EXPECT_EQ(table.dtype, aoti::DType::float32);
  EXPECT_GE(table.bytes, 10u * 4 * 4);
  EXPECT_LT(table.bytes, 10u * 4 * 4 + 64);  // padded
  EXPECT_FALSE(table.folded);
}

REGISTER_TYPED_TEST_SUITE_P(ModelsBattery, RunWithoutTheLibraryThatTheyAskFor, TakeEveryLayout,
                            TakeShapesThatVary, TakeDimensionsThatAreTied, TakeIntegersAndBooleans,
                            ReturnOneTensorTwiceAndNone, AreFoundByExactName,
                            ThatCannotRunHereSayWhy, TellNamesOfInputsAndOutputs,
                            TellHowPythonCallsThem, CarryTheirSpec, TellTheirConstants);

}  // namespace aoti_test
