// Compiled models that are part of this program, beside the same models loaded from their packages.
#include <algorithm>
#include <aoti/aoti.hpp>
#include <aoti/array_ref.hpp>
#include <aoti/runtime/onednn.hpp>
#include <aoti/weights.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "add_arrayref.hpp"
#include "digits.hpp"
#include "mlp.hpp"
#include "mlp_beside.hpp"
#include "state.hpp"
#include "support/support.hpp"

namespace aoti_test {
namespace {

using Runner = aoti::Runner<aoti::Cpu, aoti::NativeOnednn>;

std::string model(std::string_view name) {
  return std::string{AOTI_TEST_MODELS_DIR "/"}.append(name).append(".pt2");
}

/// An input with numbers that are the same each time.
aoti::Tensor input(std::initializer_list<std::int64_t> sizes) {
  auto tensor = aoti::Tensor::empty(aoti::DType::float32, sizes);
  EXPECT_TRUE(good(tensor));
  auto all = tensor.value().elements<float>();
  unsigned seed = 1;
  for (float& x : all.value()) {
    seed = seed * 1664525 + 1013904223;
    x = static_cast<float>(seed >> 8) / (1 << 24) - 0.5f;
  }
  return std::move(tensor).value();
}

template <class M> Runner linked() {
  auto runner = Runner::open(aoti::linked<M>());
  EXPECT_TRUE(good(runner));
  return std::move(runner).value();
}
Runner loaded(const std::string& path) {
  auto runner = Runner::open(path);
  EXPECT_TRUE(good(runner));
  return std::move(runner).value();
}

/// Compares the elements of the first outputs in memory order, which is without gaps.
template <class... Inputs>
void expect_equal(const Runner& a, const Runner& b, const Inputs&... inputs) {
  const std::vector<aoti::Tensor> given{inputs...};
  auto x = a.run(given), y = b.run(given);
  ASSERT_TRUE(good(x));
  ASSERT_TRUE(good(y));
  std::size_t count = 1;
  for (const std::int64_t size : x.value()[0].sizes()) count *= static_cast<std::size_t>(size);
  EXPECT_TRUE(std::ranges::equal(x.value()[0].sizes(), y.value()[0].sizes()));
  EXPECT_EQ(std::memcmp(x.value()[0].data(), y.value()[0].data(), count * sizeof(float)), 0);
}

TEST(Linked, GivesTheSameBitsAsTheSharedObject) {
  expect_equal(linked<mlp>(), loaded(model("mlp")), input({4, 64}));
  expect_equal(linked<mlp_beside>(), loaded(model("mlp_beside")), input({4, 64}));
  expect_equal(linked<digits>(), loaded(AOTI_TEST_DEMO_DIR "/digits.pt2"), input({1, 1, 8, 8}));
  expect_equal(linked<add_arrayref>(), loaded(model("add_arrayref")), input({8}), input({8}));
}

TEST(Linked, SeveralModelsAreIndependent) {
  const Runner a = linked<mlp>(), b = linked<mlp_beside>(), again = linked<mlp>();
  EXPECT_NE(a.constants()[0].name, "");
  expect_equal(a, again, input({3, 64}));
  expect_equal(b, loaded(model("mlp_beside")), input({3, 64}));
}

TEST(Linked, ChecksInputsAndTellsWhatItIs) {
  const Runner runner = linked<digits>();
  EXPECT_NE(runner.spec(), nullptr);
  EXPECT_EQ(runner.metadata().device_key(), "cpu");
  expect_error(runner.run<1>(input({1, 1, 8, 9})), aoti::Errc::input_shape, {"dimension 3"});
}

TEST(Linked, ChangesItsWeights) {
  for (const bool beside : {false, true}) {
    Runner one = beside ? linked<mlp_beside>() : linked<mlp>();
    Runner other = loaded(model(beside ? "mlp_beside" : "mlp"));
    for (Runner* runner : {&one, &other}) {
      auto update = aoti::update_weights(*runner);
      ASSERT_TRUE(good(update));
      ASSERT_TRUE(good(update.value().set("2.weight", input({8, 32}))));
      ASSERT_TRUE(good(update.value().commit()));
    }
    expect_equal(one, other, input({4, 64}));
    // Another runner on the same model has the weights of the program.
    expect_equal(beside ? linked<mlp_beside>() : linked<mlp>(),
                 loaded(model(beside ? "mlp_beside" : "mlp")), input({4, 64}));
  }
}

TEST(Linked, EachRunnerHasItsOwnState) {
  const Runner a = linked<state>(), fresh = linked<state>();
  const Runner other = loaded(model("state"));
  const aoti::Tensor x = input({6});
  for (int i = 0; i < 3; ++i) expect_equal(a, other, x);
  expect_equal(fresh, loaded(model("state")), x);
}

TEST(Linked, IsCalledOnViews) {
  using Model = aoti::ArrayRefModel<aoti::NativeOnednn>;
  auto opened = Model::open(aoti::linked<add_arrayref>());
  ASSERT_TRUE(good(opened));
  const aoti::Tensor a = input({8}), b = input({8});
  const std::array in{aoti::TensorView::of(a), aoti::TensorView::of(b)};
  std::array<aoti::TensorView, 1> out;
  ASSERT_TRUE(good(opened.value().run(in, out)));
  EXPECT_EQ(static_cast<float*>(out[0].data)[3], 2 * a.elements<float>().value()[3]);
}

}  // namespace
}  // namespace aoti_test
