// Every model that torch compiled for the tests: what it computes, and what it says of itself.
#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libtorch/models.hpp"

namespace {

using aoti::Errc;
using aoti::OpenOptions;
using aoti_test::available;
using aoti_test::close;
using aoti_test::expect_error;
using aoti_test::model_path;
using aoti_test::needs;
using aoti_test::opened;
using aoti_test::recorded;
using aoti_test::recorded_mlp;
using aoti_test::Runner;
using aoti_test::same;
using aoti_test::Tensors;
using aoti_test::unavailable;
using aoti_test::value_of;

using Names = std::vector<std::string>;

bool maps(std::string_view part) {
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);) {
    if (line.find(part) != line.npos) return true;
  }
  return false;
}

TEST(Models, AddAddsWithoutTheLibraryThatItAsksFor) {
  const auto package = value_of(aoti::Package::open(model_path("add")));
  const auto packaged = value_of(package.model());
  const auto image = value_of(aoti::Image::parse(packaged.image, packaged.origin));
  EXPECT_THAT(image.needed(), testing::Contains("libtorch.so"));

  const auto runner = opened("add");
  const at::Tensor a = at::randn({8}), b = at::randn({8});
  const auto outputs = value_of(runner.run<1>(a, b));
  EXPECT_TRUE(same(outputs[0], a + b));
  EXPECT_TRUE(maps("/libtorch_cpu.so"));
  EXPECT_FALSE(maps("/libtorch.so"));
}

TEST(Models, MlpComputesWhatPyTorchDoes) {
  const auto [input, output] = recorded_mlp();
  for (const char* name : available({"mlp", "mlp_plain", "mlp_appended", "mlp_beside"})) {
    SCOPED_TRACE(name);
    const auto runner = opened(name);
    const auto outputs = value_of(runner.run<1>(input));
    EXPECT_TRUE(close(outputs[0], output));
    EXPECT_FALSE(close(outputs[0], output + 1e-2));
  }
}

TEST(Models, MlpTakesEveryBatchSize) {
  const auto [input, output] = recorded_mlp();
  const auto reference = opened("mlp");
  for (const std::int64_t batch : {1, 2, 3, 4, 5, 64, 1023, 1024}) {
    SCOPED_TRACE(batch);
    const at::Tensor rows = at::arange(batch, at::kLong).remainder(4);
    const at::Tensor x = input.index_select(0, rows), y = output.index_select(0, rows);
    const at::Tensor expected = value_of(reference.run<1>(x))[0];
    EXPECT_TRUE(close(expected, y));
    for (const char* name : available({"mlp_plain", "mlp_appended", "mlp_beside"})) {
      SCOPED_TRACE(name);
      EXPECT_TRUE(same(value_of(opened(name).run<1>(x))[0], expected));
    }
  }
}

TEST(Models, NestedTakesKeywordsAndReturnsATree) {
  const auto runner = opened("nested");
  for (const std::int64_t batch : {1, 4, 64}) {
    SCOPED_TRACE(batch);
    const at::Tensor x = at::randn({batch, 3}), scale = at::randn({batch, 3}), y = x * scale;
    const auto outputs = value_of(runner.run<3>(x, scale));
    EXPECT_TRUE(same(outputs[0], y));
    EXPECT_TRUE(close(outputs[1], y.sum()));
    EXPECT_TRUE(same(outputs[2], y > 0));
  }

  const auto call = value_of(runner.call_spec());
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

TEST(Models, TypesTakesIntegersAndBooleansAndNone) {
  const auto runner = opened("types");
  for (const std::int64_t n : {0, 1, 7, 100}) {
    SCOPED_TRACE(n);
    const at::Tensor ids = at::arange(n, at::kLong).remainder(10);
    const at::Tensor mask = at::arange(n, at::kLong).remainder(3) != 0;
    const at::Tensor rows = (ids.unsqueeze(1) * 4 + at::arange(4, at::kLong)).to(at::kFloat);
    const auto outputs = value_of(runner.run<2>(ids, mask));
    EXPECT_TRUE(same(outputs[0], rows * mask.unsqueeze(1)));
    EXPECT_TRUE(same(outputs[1], at::where(mask, ids * 2, -1)));
  }
}

TEST(Models, DerivedTakesDimensionsThatAreTied) {
  const auto runner = opened("derived");
  for (const std::int64_t b : {1, 3, 64}) {
    SCOPED_TRACE(b);
    const at::Tensor x = at::randn({b, 4}), y = at::randn({2 * b, 4});
    const auto outputs = value_of(runner.run<2>(x, y));
    EXPECT_TRUE(same(outputs[0], x + y.slice(0, 0, b)));
    EXPECT_TRUE(same(outputs[1], at::cat({x, y})));
  }
  for (const std::int64_t rows : {3, 5, 7, 8, 128}) {
    SCOPED_TRACE(rows);
    expect_error(runner.run<2>(at::randn({3, 4}), at::randn({rows, 4})), Errc::input_shape,
                 {"input 1 'y'", "dimension 0", "found " + std::to_string(rows), "expected 6",
                  "input 0 'x' is 3"});
  }
}

TEST(Models, ImageTakesChannelsLastAndWhatIsNot) {
  const auto [rows, output] = recorded("image", {2, 3, 8, 8}, {2, 4, 8, 8});
  const at::Tensor channels_last = rows.contiguous(at::MemoryFormat::ChannelsLast);
  ASSERT_FALSE(rows.is_contiguous(at::MemoryFormat::ChannelsLast));
  ASSERT_FALSE(channels_last.is_contiguous());
  const auto runner = opened("image");
  for (const at::Tensor& input : {channels_last, rows}) {
    const at::Tensor before = input.clone();
    const auto owners = input.use_count();
    const auto outputs = value_of(runner.run<1>(input));
    EXPECT_TRUE(close(outputs[0], output));
    EXPECT_TRUE(outputs[0].is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(same(input, before));
    EXPECT_EQ(input.use_count(), owners);
  }
  for (const std::int64_t batch : {1, 64}) {
    const at::Tensor one = rows.slice(0, 1, 2).expand({batch, 3, 8, 8});
    EXPECT_TRUE(
        close(value_of(runner.run<1>(one))[0], output.slice(0, 1, 2).expand({batch, 4, 8, 8})));
  }
}

TEST(Models, TransposedTakesEitherLayout) {
  const auto runner = opened("transposed");
  const at::Tensor as_exported = at::randn({4, 6}).t(), y = at::randn({6, 4});
  const at::Tensor row_major = as_exported.contiguous();
  ASSERT_NE(as_exported.strides(), row_major.strides());
  for (const at::Tensor& x : {as_exported, row_major}) {
    for (const at::Tensor& other : {y, y.t().contiguous().t()}) {
      EXPECT_TRUE(same(value_of(runner.run<1>(x, other))[0], x * 2 + other));
    }
  }
}

TEST(Models, PairHoldsTwoByExactName) {
  const at::Tensor a = at::randn({8}), b = at::randn({8});
  const auto first = opened("pair", {.model = "model"}),
             second = opened("pair", {.model = "model2"});
  EXPECT_TRUE(same(value_of(first.run<1>(a, b))[0], a + b));
  EXPECT_TRUE(same(value_of(second.run<1>(a, b))[0], a - b));
  EXPECT_EQ(second.origin(), model_path("pair") + " (model2)");

  expect_error(Runner::open(model_path("pair")), Errc::ambiguous_model,
               {model_path("pair"), "model, model2"});
  for (const char* name : {"mod", "model3", "Model", "model2/", "model/../model", " model"}) {
    SCOPED_TRACE(name);
    expect_error(Runner::open(model_path("pair"), {.model = name}), Errc::no_such_model,
                 {"'" + std::string{name} + "'", "model, model2"});
  }

  const auto package = value_of(aoti::Package::open(model_path("pair")));
  EXPECT_EQ(aoti::detail::as_text(value_of(package.file("extra/notes.txt"))), "hello");
  expect_error(package.file("extra/other.txt"), Errc::not_found, {"extra/other.txt"});
}

TEST(Models, RepeatedReturnsOneTensorTwiceAndNone) {
  const auto runner = opened("repeated");
  const at::Tensor x = at::randn({4, 3});
  std::vector<at::Tensor> first;
  for (int i = 0; i < 3; ++i) {
    auto outputs = value_of(runner.run<4>(x));
    EXPECT_TRUE(same(outputs[0], x * 2));
    EXPECT_FALSE(outputs[1].defined());
    EXPECT_TRUE(same(outputs[2], x * 2));
    EXPECT_EQ(outputs[0].data_ptr(), outputs[2].data_ptr());
    EXPECT_TRUE(same(outputs[3], at::full({}, 4, at::kLong)));
    outputs[0].reset();  // the other one keeps the memory
    EXPECT_EQ(outputs[2].use_count(), 1u);
    EXPECT_TRUE(same(outputs[2], x * 2));
  }

  std::array<AtenTensorHandle, 1> in{aoti::Libtorch::share(x)};
  std::array<AtenTensorHandle, 4> out{};
  ASSERT_TRUE(aoti_test::good(runner.run_handles(in, out)));
  EXPECT_NE(out[0], out[2]);
  EXPECT_EQ(out[1], nullptr);
  EXPECT_TRUE(same(aoti::Libtorch::take(out[0]), x * 2));
  EXPECT_TRUE(same(aoti::Libtorch::take(out[2]), x * 2));
  EXPECT_TRUE(same(aoti::Libtorch::take(out[3]), at::full({}, 4, at::kLong)));
}

TEST(Models, CustomIsRefusedByTheNameOfItsOperator) {
  needs("custom");
  expect_error(Runner::open(model_path("custom")), Errc::unsupported,
               {model_path("custom"), "aoti_tests::twice_plus"});
}

TEST(Models, ExportedIsNotCompiled) {
  expect_error(Runner::open(model_path("exported")), Errc::no_such_model,
               {model_path("exported"), "torch.export.save"});
}

TEST(Models, TellNamesOfInputsAndOutputs) {
  const struct {
    const char* model;
    Names inputs, outputs;
  } cases[] = {
      {"add", {"a", "b"}, {"add"}},
      {"mlp", {"input"}, {"linear_1"}},
      {"nested", {"x", "scale"}, {"y", "z_0", "z_1_0"}},
      {"types", {"ids", "mask"}, {"where", "where_1"}},
      {"repeated", {"x"}, {"mul", "output_1", "output_2", "output_3"}},
  };
  for (const auto& [model, inputs, outputs] : cases) {
    SCOPED_TRACE(model);
    const auto runner = opened(model);
    EXPECT_EQ(runner.input_count(), inputs.size());
    EXPECT_EQ(runner.output_count(), outputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_EQ(value_of(runner.input_name(i)), inputs[i]);
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(value_of(runner.output_name(i)), outputs[i]);
    }
    expect_error(runner.input_name(inputs.size()), Errc::invalid_argument, {"input"});
    expect_error(runner.output_name(outputs.size()), Errc::invalid_argument, {"output"});
  }
  // Without a spec they are those of the compiled code.
  const auto plain = opened("mlp_plain");
  EXPECT_EQ(value_of(plain.input_name(0)), value_of(plain.container().input_name(0)));
  EXPECT_EQ(value_of(plain.output_name(0)), "output0");
  expect_error(plain.input_name(1), Errc::invalid_argument, {"no input 1", "has 1"});
}

TEST(Models, CarryTheirSpec) {
  EXPECT_EQ(opened("mlp_plain").spec(), nullptr);
  const auto runner = opened("derived");
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

  EXPECT_EQ(opened("image").spec()->inputs[0].order, (std::vector<int>{0, 2, 3, 1}));
  EXPECT_EQ(opened("transposed").spec()->inputs[0].order, (std::vector<int>{1, 0}));
  EXPECT_EQ(opened("types").spec()->inputs[0].dtype, aoti::DType::int64);
  EXPECT_EQ(opened("types").spec()->inputs[1].dtype, aoti::DType::boolean);
  EXPECT_TRUE(opened("repeated").spec()->outputs[1].none);
}

TEST(Models, CarryMetadata) {
  for (const char* name : {"mlp", "mlp_plain"}) {
    const auto runner = opened(name);
    EXPECT_EQ(runner.metadata()["AOTI_DEVICE_KEY"], "cpu");
    const bool old = aoti_test::compiled_before(2, 9);  // which do not tell the system
    EXPECT_EQ(runner.metadata()["AOTI_PLATFORM"], old ? "" : "linux");
    EXPECT_EQ(runner.metadata()["AOTI_MACHINE"],
              old ? "" : aoti::machine_name(aoti::detail::host_machine));
    EXPECT_EQ(runner.metadata()["no such key"], "");
    EXPECT_EQ(runner.metadata()["aoti.spec"].empty(), runner.spec() == nullptr);
  }
}

TEST(Models, TellTheirConstants) {
  const struct {
    const char* model;
    std::vector<std::pair<std::string, std::size_t>> expected;  // by name in the module, with bytes
  } cases[] = {
      {"mlp", {{"0.weight", 32 * 64 * 4}, {"0.bias", 32 * 4}, {"2.weight", 8 * 32 * 4}}},
      {"mlp_beside", {{"0.weight", 32 * 64 * 4}, {"0.bias", 32 * 4}, {"2.weight", 8 * 32 * 4}}},
      {"image", {{"0.weight", 4 * 3 * 3 * 3 * 4}}},
      {"types", {{"table", 10 * 4 * 4}}},
      {"add", {}},
  };
  for (const auto& [model, expected] : cases) {
    if (!unavailable(model).empty()) continue;
    SCOPED_TRACE(model);
    const std::vector<aoti::Constant> constants = opened(model).constants();
    // The compiler may write small ones into the code: then they are not listed.
    for (const auto& [fqn, bytes] : expected) {
      SCOPED_TRACE(fqn);
      const auto found = std::find_if(constants.begin(), constants.end(),
                                      [&](const aoti::Constant& c) { return c.fqn == fqn; });
      ASSERT_NE(found, constants.end());
      EXPECT_FALSE(found->name.empty());
      EXPECT_EQ(found->dtype, aoti::DType::float32);
      EXPECT_GE(found->bytes, bytes);
      EXPECT_LT(found->bytes, bytes + 64);  // padded
      EXPECT_FALSE(found->folded);
    }
    EXPECT_EQ(constants.empty(), expected.empty());
  }
}

TEST(Models, TellHowPythonCallsThem) {
  for (const char* name : available({"add", "mlp", "mlp_plain", "types", "image", "repeated"})) {
    SCOPED_TRACE(name);
    const auto runner = opened(name);
    const auto call = value_of(runner.call_spec());
    EXPECT_EQ(call.args.leaf_count(), runner.input_count());
    EXPECT_EQ(call.kwargs.children.size(), 0u);
    EXPECT_EQ(call.result.leaf_count(), runner.output_count());
  }
}

}  // namespace
