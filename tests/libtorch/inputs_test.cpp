// What a runner says to inputs that a model cannot take, and that it works afterwards.
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "libtorch/models.hpp"

namespace {

using aoti::Errc;
using aoti_test::close;
using aoti_test::expect_error;
using aoti_test::opened;
using aoti_test::recorded;
using aoti_test::recorded_mlp;
using aoti_test::Runner;
using aoti_test::same;
using aoti_test::Tensors;
using aoti_test::UncheckedRunner;
using aoti_test::value_of;

/// Inputs that fit, except for what a case changes; and that the runner still works.
class Inputs : public testing::Test {
 protected:
  /// Refused in every form, with nothing taken over and nothing written.
  void expect_refused(const at::Tensor& input, Errc code, const std::vector<std::string>& parts) {
    const auto owners = input.use_count();
    expect_error(runner.run<1>(input), code, parts);

    Tensors inputs{input}, outputs{marker};
    expect_error(runner.run(inputs), code, parts);
    expect_error(runner.run_into(inputs, outputs), code, parts);
    EXPECT_TRUE(outputs[0].is_same(marker));
    expect_error(runner.boxed_run(inputs), code, parts);
    EXPECT_TRUE(inputs[0].is_same(input));

    at::Tensor moved = input;
    expect_error(runner.run<1>(std::move(moved)), code, parts);
    EXPECT_TRUE(moved.is_same(input));  // NOLINT(bugprone-use-after-move): that is the point
    moved.reset();

    std::array<AtenTensorHandle, 1> in{aoti::Libtorch::share(input)};
    std::array<AtenTensorHandle, 1> out{};
    const AtenTensorHandle given = in[0];
    expect_error(runner.run_handles(in, out), code, parts);
    EXPECT_EQ(in[0], given);
    EXPECT_EQ(out[0], nullptr);
    aoti::Libtorch::destroy(in[0]);
    inputs.clear();
    EXPECT_EQ(input.use_count(), owners);
    expect_works();
  }

  void expect_works() { EXPECT_TRUE(close(value_of(runner.run<1>(good.input))[0], good.output)); }

  aoti_test::Recorded good = recorded_mlp();
  at::Tensor marker = at::full({1}, 7.0f);
  Runner runner = opened("mlp");
};

TEST_F(Inputs, MustBeAsManyAsTheModelTakes) {
  const at::Tensor x = good.input;
  for (const std::size_t count : {0, 2, 3, 2000}) {
    SCOPED_TRACE(count);
    const std::vector<std::string> parts{aoti_test::model_path("mlp") + " (model)",
                                         "found " + std::to_string(count) + " inputs",
                                         "expected 1"};
    Tensors inputs(count, x), outputs(1);
    expect_error(runner.run(inputs), Errc::input_count, parts);
    expect_error(runner.run_into(inputs, outputs), Errc::input_count, parts);
    expect_error(runner.boxed_run(inputs), Errc::input_count, parts);
    for (const at::Tensor& input : inputs) EXPECT_TRUE(input.is_same(x));

    std::vector<AtenTensorHandle> in;
    for (std::size_t i = 0; i < count; ++i) in.push_back(aoti::Libtorch::share(x));
    std::array<AtenTensorHandle, 1> out{};
    expect_error(runner.run_handles(in, out), Errc::input_count, parts);
    for (const AtenTensorHandle handle : in) aoti::Libtorch::destroy(handle);  // null where taken
    expect_works();
  }
  expect_error(runner.run<1>(), Errc::input_count, {"found 0", "expected 1"});
  expect_error(runner.run<1>(x, x), Errc::input_count, {"found 2", "expected 1"});
  EXPECT_EQ(x.use_count(), 2u);  // x and good.input
  expect_works();
}

TEST_F(Inputs, GoWithRoomForAllOutputs) {
  expect_error(runner.run<0>(good.input), Errc::output_count, {"found room for 0", "expected 1"});
  expect_error(runner.run<2>(good.input), Errc::output_count, {"found room for 2", "expected 1"});
  const Tensors inputs{good.input};
  for (const std::size_t count : {0, 2}) {
    Tensors outputs(count, marker);
    expect_error(runner.run_into(inputs, outputs), Errc::output_count, {"expected 1"});
    for (const at::Tensor& output : outputs) EXPECT_TRUE(output.is_same(marker));
  }
  expect_works();
}

TEST_F(Inputs, MustHaveTheDtype) {
  for (const auto& row : aoti::abi::dtype_rows) {
    if (row.dtype == aoti::DType::float32) continue;
    SCOPED_TRACE(row.name);
    const at::Tensor input = at::empty({4, 64}, static_cast<at::ScalarType>(row.dtype));
    expect_refused(input, Errc::input_dtype,
                   {"input 0 'input'", "found " + std::string{row.name}, "expected float32"});
  }
}

TEST_F(Inputs, MustHaveTheRankAndShape) {
  const struct {
    aoti_test::Sizes sizes;
    Errc code;
    std::vector<std::string> parts;
  } cases[] = {
      {{}, Errc::input_rank, {"found 0 dimensions", "expected 2"}},
      {{64}, Errc::input_rank, {"found 1 dimensions", "expected 2"}},
      {{1, 4, 64}, Errc::input_rank, {"found 3 dimensions", "expected 2"}},
      {{4, 64, 1, 1, 1, 1, 1}, Errc::input_rank, {"found 7 dimensions", "expected 2"}},
      {{4, 63}, Errc::input_shape, {"dimension 1", "found 63", "expected 64"}},
      {{4, 65}, Errc::input_shape, {"dimension 1", "found 65", "expected 64"}},
      {{4, 0}, Errc::input_shape, {"dimension 1", "found 0", "expected 64"}},
      {{64, 4}, Errc::input_shape, {"dimension 1", "found 4", "expected 64"}},
      {{0, 64}, Errc::input_shape, {"dimension 0 (batch)", "found 0", "expected 1 to 1024"}},
      {{1025, 64}, Errc::input_shape, {"dimension 0 (batch)", "found 1025", "expected 1 to 1024"}},
  };
  for (auto [sizes, code, parts] : cases) {
    SCOPED_TRACE(testing::PrintToString(sizes));
    parts.push_back("input 0 'input'");
    expect_refused(at::full(sizes, 1.0f), code, parts);
  }
  for (const std::int64_t batch : {1, 1024}) {
    EXPECT_TRUE(aoti_test::good(runner.run<1>(at::full({batch, 64}, 1.0f))));
  }
}

TEST_F(Inputs, MustBeThereStridedAndOnTheDevice) {
  const std::string where = "input 0 'input'";
  const at::Tensor x = good.input;
  expect_refused(at::Tensor{}, Errc::undefined_tensor, {where, "undefined"});
  expect_refused(x.to_sparse(), Errc::input_layout,
                 {where, "found a sparse", "expected a plain strided"});
  expect_refused(x.to_sparse_csr(), Errc::input_layout, {where, "sparse", "strided"});
  expect_refused(at::quantize_per_tensor(x, 0.1, 0, at::kQInt8), Errc::input_layout,
                 {where, "quantized", "strided"});
  expect_refused(x.to_mkldnn(), Errc::input_layout, {where, "strided"});
  expect_refused(at::_neg_view(x), Errc::input_layout, {where, "lazily", "negated"});
  EXPECT_TRUE(aoti_test::good(runner.run<1>(at::_neg_view(x).resolve_neg())));
  expect_refused(at::empty({4, 64}, at::device(at::kMeta)), Errc::input_device,
                 {where, "found a tensor on meta", "expected one on cpu"});
}

TEST_F(Inputs, AreNamedByTheirOwnIndex) {
  const auto add = opened("add");
  const at::Tensor a = at::randn({8}), b = at::randn({8});
  const at::Tensor wrong = at::full({8}, 1, at::kLong);
  expect_error(add.run<1>(wrong, b), Errc::input_dtype, {"input 0 'a'", "int64", "float32"});
  expect_error(add.run<1>(a, wrong), Errc::input_dtype, {"input 1 'b'", "int64", "float32"});
  expect_error(add.run<1>(at::Tensor{}, wrong), Errc::undefined_tensor, {"input 0 'a'"});
  expect_error(add.run<1>(a, at::randn({9})), Errc::input_shape,
               {"input 1 'b'", "dimension 0:", "found 9", "expected 8"});
  EXPECT_TRUE(same(value_of(add.run<1>(a, b))[0], a + b));
  // One tensor may be several inputs.
  EXPECT_TRUE(same(value_of(add.run<1>(a, a))[0], a + a));

  const auto nested = opened("nested");
  const at::Tensor x = at::randn({4, 3});
  expect_error(nested.run<3>(x, at::randn({5, 3})), Errc::input_shape,
               {"input 1 'scale'", "dimension 0 (batch)", "found 5", "expected 4",
                "dimension 0 of input 0 'x' is 4"});
  EXPECT_TRUE(same(value_of(nested.run<3>(x, x))[0], x * x));

  const auto types = opened("types");
  const at::Tensor ids = at::arange(5), mask = ids > 2;
  expect_error(types.run<2>(ids, ids), Errc::input_dtype, {"input 1 'mask'", "int64", "bool"});
  expect_error(types.run<2>(mask, mask), Errc::input_dtype, {"input 0 'ids'", "bool", "int64"});
  EXPECT_TRUE(aoti_test::good(types.run<2>(ids, mask)));
}

TEST_F(Inputs, MayLieInMemoryAsTheyLike) {
  const at::Tensor x = good.input;
  const at::Tensor wide = at::randn({4, 128}), tall = at::randn({8, 64}),
                   padded = at::randn({6, 70});
  wide.slice(1, 0, 128, 2).copy_(x);
  tall.slice(0, 0, 8, 2).copy_(x);
  padded.slice(0, 1, 5).slice(1, 3, 67).copy_(x);
  const struct {
    const char* name;
    at::Tensor input;
  } cases[] = {
      {"transposed", x.t().contiguous().t()},
      {"every second column", wide.slice(1, 0, 128, 2)},
      {"every second row", tall.slice(0, 0, 8, 2)},
      {"the middle", padded.slice(0, 1, 5).slice(1, 3, 67)},
  };
  for (const auto& [name, input] : cases) {
    SCOPED_TRACE(name);
    ASSERT_FALSE(input.is_contiguous());
    const auto owners = input.use_count();
    EXPECT_TRUE(close(value_of(runner.run<1>(input))[0], good.output));
    EXPECT_TRUE(same(input, x));
    EXPECT_EQ(input.use_count(), owners);
    Tensors inputs{input};
    EXPECT_TRUE(close(value_of(runner.run(inputs))[0], good.output));
    EXPECT_TRUE(close(value_of(runner.boxed_run(inputs))[0], good.output));
    std::array<AtenTensorHandle, 1> in{aoti::Libtorch::share(input)}, out{};
    ASSERT_TRUE(aoti_test::good(runner.run_handles(in, out)));
    EXPECT_EQ(in[0], nullptr);
    EXPECT_TRUE(close(aoti::Libtorch::take(out[0]), good.output));
    EXPECT_EQ(input.use_count(), owners);
  }

  const at::Tensor row = x.slice(0, 2, 3);
  const at::Tensor rows = row.expand({4, 64});
  ASSERT_EQ(rows.stride(0), 0);
  EXPECT_TRUE(close(value_of(runner.run<1>(rows))[0], good.output.slice(0, 2, 3).expand({4, 8})));
  const at::Tensor number = at::full({1, 1}, 0.5f).expand({3, 64});
  EXPECT_TRUE(
      same(value_of(runner.run<1>(number))[0], value_of(runner.run<1>(number.contiguous()))[0]));
}

TEST_F(Inputs, MayLieInMemoryAsTheyLikeForEveryModel) {
  const at::Tensor a = at::randn({16}).slice(0, 0, 16, 2), b = at::randn({1}).expand({8});
  EXPECT_TRUE(same(value_of(opened("add").run<1>(a, b))[0], a + b));
  const at::Tensor x = at::randn({3, 4}).t(), scale = at::randn({1, 3}).expand({4, 3});
  EXPECT_TRUE(same(value_of(opened("nested").run<3>(x, scale))[0], x * scale));
  const at::Tensor ids = at::arange(10).slice(0, 0, 10, 2), mask = at::full({1}, true).expand({5});
  EXPECT_TRUE(same(value_of(opened("types").run<2>(ids, mask))[1], ids * 2));
  const at::Tensor image = recorded("image", {2, 3, 8, 8}, {2, 4, 8, 8}).input;
  EXPECT_TRUE(same(value_of(opened("image").run<1>(
                       image.permute({3, 2, 1, 0}).contiguous().permute({3, 2, 1, 0})))[0],
                   value_of(opened("image").run<1>(image))[0]));
}

TEST_F(Inputs, MayRequireGradients) {
  const at::Tensor x = good.input.clone().requires_grad_();
  const auto outputs = value_of(runner.run<1>(x));
  EXPECT_TRUE(close(outputs[0], good.output));
  EXPECT_FALSE(outputs[0].requires_grad());
}

TEST_F(Inputs, WithoutASpecAreCountedOnly) {
  const auto plain = opened("mlp_plain");
  const at::Tensor x = good.input;
  expect_error(plain.run<1>(), Errc::input_count, {"found 0", "expected 1"});
  expect_error(plain.run<1>(x, x), Errc::input_count, {"found 2", "expected 1"});
  expect_error(plain.run<1>(at::Tensor{}), Errc::undefined_tensor, {"input 0", "undefined"});
  EXPECT_TRUE(close(value_of(plain.run<1>(x))[0], good.output));
  EXPECT_TRUE(aoti_test::good(plain.run<1>(at::full({1025, 64}, 1.0f))));
}

/// What an error says of a failure: the reason, where both the model and libtorch tell it.
template <class R> std::string told(const R& runner, const char* reason, bool by_libtorch) {
  if (runner.container().exports().get_last_error == nullptr) return "before torch 2.13";
  const bool tells =
      aoti::Libtorch::import("torch_exception_get_what_without_backtrace") != nullptr;
  return !by_libtorch || tells ? reason : "API call failed";
}

template <class R> void expect_reason(const R& runner, const aoti_test::Recorded& good) {
  at::Tensor wrong = at::full({4, 63}, 1.0f);
  const std::string reason =
      told(runner, "mat1 and mat2 shapes cannot be multiplied (4x63 and 64x32)", true);
  for (int i = 0; i < 3; ++i) {
    expect_error(runner.template run<1>(wrong), Errc::model_failed, {reason});
    const Tensors inputs{wrong};
    expect_error(runner.run(inputs), Errc::model_failed, {reason});
    EXPECT_EQ(wrong.use_count(), 2u);
  }
  EXPECT_EQ(wrong.use_count(), 1u);
  std::array<AtenTensorHandle, 1> in{aoti::Libtorch::share(wrong)}, out{};
  expect_error(runner.run_handles(in, out), Errc::model_failed, {reason});
  EXPECT_EQ(in[0], nullptr);
  EXPECT_EQ(out[0], nullptr);
  EXPECT_EQ(wrong.use_count(), 1u);

  // Once the model has been called, what was moved is gone.
  const at::Tensor memory = wrong;
  expect_error(runner.template run<1>(std::move(wrong)), Errc::model_failed, {reason});
  EXPECT_EQ(memory.use_count(), 1u);
  Tensors inputs{memory};
  expect_error(runner.boxed_run(inputs), Errc::model_failed, {reason});
  EXPECT_FALSE(inputs[0].defined());
  EXPECT_EQ(memory.use_count(), 1u);

  EXPECT_TRUE(close(value_of(runner.template run<1>(good.input))[0], good.output));
}

TEST_F(Inputs, ThatFailInsideTheModelGetItsReason) { expect_reason(opened("mlp_plain"), good); }

TEST_F(Inputs, ThatAreNotCheckedGetTheModelsReason) {
  expect_reason(opened<UncheckedRunner>("mlp"), good);
  expect_reason(value_of(UncheckedRunner::open(aoti_test::model_path("mlp_appended"))), good);
}

TEST_F(Inputs, ThatTheModelItselfRefuses) {
  const auto types = opened("types");
  const at::Tensor mask = at::full({2}, true);
  const std::string reason = told(types, "index out of bounds", false);
  expect_error(types.run<2>(aoti_test::longs({3, 10}), mask), Errc::model_failed, {reason});
  expect_error(types.run<2>(aoti_test::longs({-11, 3}), mask), Errc::model_failed, {reason});
  EXPECT_TRUE(
      same(value_of(types.run<2>(aoti_test::longs({3, 9}), mask))[1], aoti_test::longs({6, 18})));
}

}  // namespace
