// Models with the minimal array-ref interface, compiled by torch.
#include <aoti/aoti.hpp>
#include <aoti/array_ref.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/support.hpp"

namespace {

using aoti::ArrayRefModel;
using aoti::Errc;
using aoti::TensorView;
using aoti_test::expect_error;
using aoti_test::good;

std::string path(const char* model) {
  return std::string{AOTI_TEST_MODELS_DIR "/"}.append(model).append(".pt2");
}

TEST(ArrayRef, AddsWithoutAnyTensor) {
  auto model = ArrayRefModel<>::open(path("add_arrayref"));
  ASSERT_TRUE(good(model));
  std::array<float, 8> a{1, 2, 3, 4, 5, 6, 7, 8}, b{};
  const std::array<TensorView, 2> in{TensorView::of(a.data(), {8}), TensorView::of(b.data(), {8})};
  std::array<TensorView, 1> out;
  ASSERT_TRUE(good(model.value().run(in, out)));  // the model allocates its outputs
  const std::size_t reserved = aoti::detail::Pool::reserved();
  for (int i = 0; i < 3; ++i) {
    b[0] = static_cast<float>(i);
    ASSERT_TRUE(good(model.value().run(in, out)));
    EXPECT_EQ(out[0].rank, 1);
    EXPECT_EQ(out[0].sizes()[0], 8);
    EXPECT_EQ(out[0].strides()[0], 1);
    EXPECT_EQ(out[0].dtype, aoti::DType::float32);
    EXPECT_EQ(static_cast<float*>(out[0].data)[0], 1 + i);
    EXPECT_EQ(static_cast<float*>(out[0].data)[7], 8);
  }
  EXPECT_EQ(aoti::detail::Pool::reserved(), reserved);
}

TEST(ArrayRef, RefusesInputsThatShareMemoryWithOneThatIsWritten) {
  auto model = ArrayRefModel<>::open(path("writing"));
  ASSERT_TRUE(good(model));
  std::array<float, 16> w{1, 2};
  std::array<TensorView, 1> out;
  std::array<TensorView, 2> in{TensorView::of(w.data(), {8}), TensorView::of(w.data() + 7, {8})};
  expect_error(model.value().run(in, out), Errc::input_layout, {"input 0 'w'", "of input 1 'x'"});
  EXPECT_EQ(w[1], 2);
  in[1] = TensorView::of(w.data() + 8, {8});
  ASSERT_TRUE(good(model.value().run(in, out)));
  EXPECT_EQ(w[1], 4);
  EXPECT_EQ(static_cast<float*>(out[0].data)[7], 1);
}

TEST(ArrayRef, HasTheWeightsOfItsRunner) {
  const auto recorded = aoti_test::read_file(AOTI_TEST_MODELS_DIR "/mlp_small.bin");
  std::array<float, 16> x;
  std::array<float, 8> expected;
  ASSERT_EQ(recorded.size(), sizeof x + sizeof expected);
  std::memcpy(x.data(), recorded.data(), sizeof x);
  std::memcpy(expected.data(), recorded.data() + sizeof x, sizeof expected);
  auto opened = ArrayRefModel<>::open(path("mlp_arrayref"));
  ASSERT_TRUE(good(opened));
  const auto model = std::move(opened).value();
  const TensorView in = TensorView::of(x.data(), {1, 16});
  TensorView out;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(good(model.run({&in, 1}, {&out, 1})));
    ASSERT_EQ(out.size, 8);
    for (std::size_t k = 0; k < 8; ++k) {
      EXPECT_NEAR(static_cast<float*>(out.data)[k], expected[k], 1e-5);
    }
  }
  // The runner, which has the same weights, also runs.
  const auto input = aoti::Tensor::borrow(x.data(), {1, 16}).value();
  const auto outputs = model.runner().run<1>(input);
  ASSERT_TRUE(good(outputs));
  EXPECT_NEAR(outputs.value()[0].elements<float>().value()[3], expected[3], 1e-5);
}

TEST(ArrayRef, RefusesWhatDoesNotFit) {
  auto opened = ArrayRefModel<>::open(path("add_arrayref"));
  ASSERT_TRUE(good(opened));
  auto& model = opened.value();
  std::array<float, 16> x{};
  std::array<double, 8> wide{};
  std::array<TensorView, 1> out;
  const TensorView fits = TensorView::of(x.data(), {8});
  const auto refuse = [&](TensorView other, Errc code, std::vector<std::string> parts) {
    const std::array<TensorView, 2> in{fits, other};
    expect_error(model.run(in, out), code, parts);
  };
  refuse(TensorView::of(x.data(), {7}), Errc::input_shape, {"input 1 'b'", "found 7"});
  refuse(TensorView::of(wide.data(), {8}), Errc::input_dtype, {"float64"});
  refuse(TensorView::of(x.data(), {2, 4}), Errc::input_rank, {"found 2 dimensions"});
  refuse(TensorView::of(x.data(), {1, 1, 1, 1, 1, 1, 1, 1, 8}), Errc::input_rank,
         {"found 9 dimensions, expected at most 8"});
  refuse(TensorView::of(static_cast<float*>(nullptr), {8}), Errc::undefined_tensor, {"input 1"});
  TensorView strided = fits;
  strided.steps[0] = 2;
  refuse(strided, Errc::input_layout, {"found strides 2"});
  TensorView elsewhere = fits;
  elsewhere.device = aoti::DeviceType::cuda;
  refuse(elsewhere, Errc::input_device, {"cuda"});
  const std::array<TensorView, 2> in{fits, fits};
  expect_error(model.run({in.data(), 1}, out), Errc::input_count, {"found 1 inputs, expected 2"});
  expect_error(model.run(in, {}), Errc::output_count, {"found room for 0 outputs, expected 1"});
  EXPECT_TRUE(good(model.run(in, out)));

  const auto moved = std::move(model);
  expect_error(model.run(in, out), Errc::bad_state);  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(good(moved.run(in, out)));
}

TEST(ArrayRef, RefusesViewsOfWhatCannotBe) {
  auto opened = ArrayRefModel<>::open(path("add_arrayref"));
  ASSERT_TRUE(good(opened));
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  std::array<float, 8> x{};
  const std::span<float> all{x};
  std::array<TensorView, 1> out;
  for (const TensorView& view :
       {TensorView::of(x.data(), {most, 2}), TensorView::of(x.data(), {-2, -4}),
        TensorView::of(all, {7}), TensorView::of(x.data(), {8}, {-1}),
        TensorView::of(x.data(), {8}, {1, 1})}) {
    EXPECT_TRUE(view.sizes().empty());
    const std::array<TensorView, 2> in{TensorView::of(all, {8}), view};
    expect_error(opened.value().run(in, out), Errc::input_shape, {"input 1", "no tensor has"});
  }
  EXPECT_TRUE(TensorView::of(x.data(), {1, 1, 1, 1, 1, 1, 1, 1, 8}).strides().empty());
  EXPECT_EQ(TensorView::of(x.data(), {most, 2, 0}).size, 0);
  const std::array<TensorView, 2> in{TensorView::of(all, {8}), TensorView::of(aoti::Tensor{})};
  expect_error(opened.value().run(in, out), Errc::undefined_tensor, {"input 1"});
}

// From a tensor to a view, through the model, and back, on the same memory.
TEST(ArrayRef, TakesAndGivesTensors) {
  auto opened = ArrayRefModel<>::open(path("add_arrayref"));
  ASSERT_TRUE(good(opened));
  std::array<float, 8> x{1, 2, 3, 4, 5, 6, 7, 8};
  const aoti::Tensor tensor = aoti::Tensor::borrow(x.data(), {8}).value();
  const TensorView view = TensorView::of(tensor);
  EXPECT_EQ(view.data, x.data());
  EXPECT_EQ(view.dtype, aoti::DType::float32);
  const std::array<TensorView, 2> in{view, TensorView::of(x.data(), {8}, {1})};
  std::array<TensorView, 1> out;
  ASSERT_TRUE(good(opened.value().run(in, out)));
  const auto sum =
      aoti::Tensor::borrow(out[0].dtype, out[0].data, out[0].sizes(), out[0].strides());
  ASSERT_TRUE(good(sum));
  EXPECT_EQ(sum.value().data(), out[0].data);
  EXPECT_EQ(sum.value().elements<float>().value()[7], 16);

  const std::array<std::int64_t, 2> sizes{2, 4}, strides{1, 2};
  const TensorView transposed =
      TensorView::of(aoti::Tensor::borrow(aoti::DType::float32, x.data(), sizes, strides).value());
  EXPECT_THAT(transposed.sizes(), testing::ElementsAre(2, 4));
  EXPECT_THAT(transposed.strides(), testing::ElementsAre(1, 2));
}

TEST(ArrayRef, IsForModelsCompiledWithIt) {
  expect_error(ArrayRefModel<>::open(path("add")), Errc::unsupported,
               {"use_minimal_arrayref_interface"});
  expect_error(ArrayRefModel<>::open(path("none")), Errc::not_found);
}

TEST(ArrayRef, NeedsTheWeightsOfItsPackage) {
  expect_error(
      ArrayRefModel<>::open(path("mlp_arrayref"), {.weights = aoti::PackagedWeights::ignored}),
      Errc::bad_state, {"no weights", "PackagedWeights::required"});
}

}  // namespace
