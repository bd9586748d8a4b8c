#include <aoti/bound_run.hpp>
#include <aoti/device/cpu.hpp>
#include <aoti/weights.hpp>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/native_case.hpp"
#include "support/allocations.hpp"

namespace aoti_test {
namespace {

using aoti::Errc;
using aoti::Native;
using aoti::Tensor;
using NativeRunner = aoti::Runner<aoti::Cpu, Native>;
using Bound = aoti::BoundRun<NativeRunner>;
using Case = RuntimeCase<Native>;

NativeRunner open_native(const char* model) {
  auto runner =
      NativeRunner::open(std::string{AOTI_TEST_MODELS_DIR "/"}.append(model).append(".pt2"));
  EXPECT_TRUE(good(runner));
  return std::move(runner).value();
}
Tensor ones(std::vector<std::int64_t> sizes, float value = 1) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return Case::make<float>(sizes, std::vector<float>(static_cast<std::size_t>(count), value));
}
std::vector<float> floats(const Tensor& tensor) { return Case::elements<float>(tensor); }

TEST(BoundRun, WritesResultsIntoMemoryOfTheCallers) {
  const NativeRunner runner = open_native("add");
  float a[8] = {1, 2, 3, 4, 5, 6, 7, 8}, b[8] = {}, sum[8] = {};
  const std::vector<Tensor> in{Tensor::borrow(a, {8}).value(), Tensor::borrow(b, {8}).value()};
  const std::vector<Tensor> out{Tensor::borrow(sum, {8}).value()};
  auto bound = Bound::make(runner, in, out);
  ASSERT_TRUE(good(bound));
  for (int i = 0; i < 5; ++i) {
    b[0] = static_cast<float>(10 * i);
    ASSERT_TRUE(good(bound.value().run()));
    EXPECT_EQ(sum[0], 1 + 10 * i);
    EXPECT_EQ(sum[7], 8);
    EXPECT_EQ(a[0], 1);
  }
  // The runner is unchanged.
  EXPECT_EQ(floats(runner.run<1>(in[0], in[0]).value()[0])[7], 16);
}

// y = scale * x + shift, placed over the weight that the model reads.
TEST(BoundRun, WritesResultsOverWeightsOnlyOnceTheyAreThere) {
  NativeRunner runner = open_native("mutating");
  float x[12], counter[12] = {}, n[12] = {};
  for (float& element : x) element = 1;
  const std::vector<Tensor> in{Tensor::borrow(x, {12}).value()};
  const Tensor weight = ones({12}, 2), count = Tensor::borrow(counter, {12}).value();
  auto bound = Bound::make(runner, in, std::vector{weight, Tensor::borrow(n, {12}).value()});
  ASSERT_TRUE(good(bound));
  ASSERT_TRUE(good(bound.value().run()));  // the model's own weights
  const auto share = [&] {
    auto update = std::move(aoti::update_weights(runner)).value();
    ASSERT_TRUE(good(update.share("weight", weight)));
    ASSERT_TRUE(good(update.share("counter", count)));
    ASSERT_TRUE(good(update.commit()));
  };
  share();
  for (float& element : std::span{const_cast<float*>(static_cast<const float*>(weight.data())), 12})
    element = 2;
  for (int i = 1; i < 5; ++i) {
    const float before = floats(weight)[0];
    ASSERT_TRUE(good(bound.value().run()));
    EXPECT_EQ(n[11], static_cast<float>(i));
    EXPECT_EQ(floats(weight), std::vector<float>(12, before + static_cast<float>(i)));
  }
  auto onto = Bound::make(runner, std::vector{count}, std::vector{Tensor{}, Tensor{}});
  ASSERT_TRUE(good(onto));
  expect_error(onto.value().run(), Errc::input_layout, {"input 0 'x'", "weight 'counter'"});
}

TEST(BoundRun, RefusesInputsThatShareMemoryWithOneThatIsWritten) {
  const NativeRunner runner = open_native("writing");
  float w[16] = {}, y[8] = {};
  for (int i = 0; i < 16; ++i) w[i] = static_cast<float>(i);
  const auto bound = [&](float* x, float* out) {
    const std::vector<Tensor> in{Tensor::borrow(w, {8}).value(), Tensor::borrow(x, {8}).value()};
    return std::move(Bound::make(runner, in, std::vector{Tensor::borrow(out, {8}).value()}))
        .value();
  };
  for (int shift : {0, 7}) {
    Bound shared = bound(w + shift, y);
    for (int i = 0; i < 2; ++i) {
      expect_error(shared.run(), Errc::input_layout, {"input 0 'w'", "of input 1 'x'"});
    }
  }
  EXPECT_EQ(w[1], 1);
  // Results may replace what the model has read.
  Bound onto_x = bound(w + 8, w + 8), onto_w = bound(w + 8, w);
  for (int i = 1; i < 4; ++i) {
    ASSERT_TRUE(good(onto_x.run()));
    EXPECT_EQ(w[1], 1 << i);
    EXPECT_EQ(w[8], 8 + i);
  }
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(good(onto_w.run()));
    EXPECT_EQ(w[0], 12);
    EXPECT_EQ(w[8], 11);
  }
}

TEST(BoundRun, AllocatesNothingAfterItsFirstRun) {
  const NativeRunner runner = std::move(NativeRunner::open(fake("add"))).value();
  const std::vector<Tensor> two{ones({4}), ones({4})}, out{ones({4}, 0)};
  auto bound = Bound::make(runner, two, out);
  ASSERT_TRUE(good(bound));
  ASSERT_TRUE(good(bound.value().run()));
  const std::size_t reserved = aoti::detail::Pool::reserved();
  EXPECT_EQ(allocations_in([&] {
              for (int i = 0; i < 10; ++i) EXPECT_TRUE(bound.value().run());
            }),
            0u);
  EXPECT_EQ(aoti::detail::Pool::reserved(), reserved);
  EXPECT_EQ(floats(out[0]), std::vector<float>(4, 2));
}

// Counts tensors that are not made in the memory of an output.
int made_elsewhere = 0;
AOTITorchError counted_empty(std::int64_t rank, const std::int64_t* sizes,
                             const std::int64_t* strides, std::int32_t dtype, std::int32_t device,
                             std::int32_t index, AtenTensorHandle* out) {
  const AOTITorchError failed =
      aoti::NativeFunctions::empty_strided(rank, sizes, strides, dtype, device, index, out);
  const auto* body = aoti::detail::TensorBody::of(*out);
  made_elsewhere += body->home != nullptr ? 1 : 0;
  return failed;
}

TEST(BoundRun, MakesOutputsInPlaceWhereTheirLayoutIsTheModels) {
  using Counting =
      aoti::NativeWith<aoti::Provide<aoti::abi::imported::empty_strided, counted_empty>>;
  using CountingRunner = aoti::Runner<aoti::Cpu, Counting>;
  auto runner = CountingRunner::open(AOTI_TEST_MODELS_DIR "/nested.pt2");
  ASSERT_TRUE(good(runner));
  const std::vector<Tensor> in{ones({4, 3}, 2), ones({4, 3}, -3)};
  const std::vector<Tensor> out{ones({4, 3}), Case::make<float>({}, {0}),
                                Case::make<bool>({4, 3}, std::vector<bool>(12, true))};
  auto bound = aoti::BoundRun<CountingRunner>::make(runner.value(), in, out);
  ASSERT_TRUE(good(bound));
  ASSERT_TRUE(good(bound.value().run()));
  EXPECT_EQ(std::exchange(made_elsewhere, 0), 3);
  for (int i = 0; i < 3; ++i) {
    static_cast<float*>(in[0].data())[0] = static_cast<float>(i);
    ASSERT_TRUE(good(bound.value().run()));
    EXPECT_EQ(made_elsewhere, 0);
    EXPECT_EQ(floats(out[0])[0], -3 * i);
    EXPECT_EQ(floats(out[0])[1], -6);
    EXPECT_EQ(floats(out[1])[0], -66 - 3 * i);
    EXPECT_EQ(Case::elements<bool>(out[2]), std::vector<bool>(12, false));
  }
  // Another layout: results are copied.
  const std::vector<Tensor> transposed{Case::make<float>({4, 3}, std::vector<float>(12, 0), {1, 4}),
                                       out[1], out[2]};
  auto copying = aoti::BoundRun<CountingRunner>::make(runner.value(), in, transposed);
  ASSERT_TRUE(good(copying));
  for (int i = 0; i < 3; ++i) {
    made_elsewhere = 0;
    ASSERT_TRUE(good(copying.value().run()));
    EXPECT_EQ(made_elsewhere, i == 0 ? 3 : 1);
    EXPECT_EQ(floats(transposed[0])[1], -6);
  }
}

// A function that the model imports, and that runs another model before it does its work.
const NativeRunner* within = nullptr;
Tensor made_within;
AOTITorchError empty_with_a_run(std::int64_t rank, const std::int64_t* sizes,
                                const std::int64_t* strides, std::int32_t dtype,
                                std::int32_t device, std::int32_t index, AtenTensorHandle* out) {
  if (within != nullptr) {
    const Tensor x = ones({8}, 100);
    made_within = std::move(within->run<1>(x, x).value()[0]);
  }
  return aoti::NativeFunctions::empty_strided(rank, sizes, strides, dtype, device, index, out);
}

TEST(BoundRun, PlacesNoTensorsOfRunsWithinIt) {
  using Nesting =
      aoti::NativeWith<aoti::Provide<aoti::abi::imported::empty_strided, empty_with_a_run>>;
  using NestingRunner = aoti::Runner<aoti::Cpu, Nesting>;
  auto runner = NestingRunner::open(AOTI_TEST_MODELS_DIR "/add.pt2");
  ASSERT_TRUE(good(runner));
  const NativeRunner inner = open_native("add");
  const std::vector<Tensor> in{ones({8}, 1), ones({8}, 2)}, out{ones({8}, 0)};
  auto bound = aoti::BoundRun<NestingRunner>::make(runner.value(), in, out);
  ASSERT_TRUE(good(bound));
  for (const NativeRunner* each : {static_cast<const NativeRunner*>(nullptr), &inner, &inner}) {
    within = each;
    ASSERT_TRUE(good(bound.value().run()));
    EXPECT_EQ(floats(out[0]), std::vector<float>(8, 3));
    if (each == nullptr) continue;
    EXPECT_NE(made_within.data(), out[0].data());
    EXPECT_EQ(floats(made_within), std::vector<float>(8, 200));
  }
  within = nullptr;
  made_within = Tensor{};
}

TEST(BoundRun, CopiesWhereMemoryIsBoundTwice) {
  const NativeRunner runner = open_native("nested");
  const Tensor x = ones({4, 3}, 2), scale = ones({4, 3}, 3);
  const Tensor sum = Case::make<float>({}, {0});
  const Tensor flags = Case::make<bool>({4, 3}, std::vector<bool>(12, false));
  auto bound = Bound::make(runner, std::vector{x, scale}, std::vector{x, sum, flags});
  ASSERT_TRUE(good(bound));
  float expected = 2;
  for (int i = 0; i < 4; ++i) {  // x becomes x * scale
    expected *= 3;
    ASSERT_TRUE(good(bound.value().run()));
    EXPECT_EQ(floats(x), std::vector<float>(12, expected));
    EXPECT_EQ(floats(sum)[0], 12 * expected);
  }
}

TEST(BoundRun, GivesInputsThatComeBackAndOneTensorTwice) {
  const NativeRunner many = std::move(NativeRunner::open(fake("many"))).value();
  std::vector<Tensor> in, out;
  for (int i = 0; i < 40; ++i) in.push_back(ones({2}, static_cast<float>(i)));
  for (int i = 0; i < 40; ++i) out.push_back(ones({2}, 0));
  auto bound = Bound::make(many, in, out);
  ASSERT_TRUE(good(bound));
  for (int round = 0; round < 3; ++round) {
    static_cast<float*>(in[7].data())[0] = static_cast<float>(round);
    ASSERT_TRUE(good(bound.value().run()));
    EXPECT_EQ(floats(out[7])[0], round);
    EXPECT_EQ(floats(out[39])[1], 39);
  }

  // One tensor in two places, None, and a number that is not wanted.
  const auto file = aoti::Package::open(AOTI_TEST_MODELS_DIR "/repeated.pt2");
  ASSERT_TRUE(good(file));
  const NativeRunner plain =
      std::move(NativeRunner::open(file.value().model().value().image)).value();
  const NativeRunner repeated = open_native("repeated");
  const Tensor x = ones({4, 3}, 4);
  const std::vector<Tensor> both{ones({4, 3}), Tensor{}, ones({4, 3}), Tensor{}};
  for (const NativeRunner* runner : {&repeated, &plain}) {
    auto same = Bound::make(*runner, {&x, 1}, both);
    ASSERT_TRUE(good(same));
    for (int round = 0; round < 3; ++round) {
      static_cast<float*>(x.data())[0] = static_cast<float>(round);
      ASSERT_TRUE(good(same.value().run()));
      EXPECT_EQ(floats(both[0])[0], 2 * round);
      EXPECT_EQ(floats(both[0]), floats(both[2]));
    }
  }
}

// What one run learnt does not hold for the next.
TEST(BoundRun, FollowsAModelThatMakesItsTensorsInAnotherOrder) {
  const NativeRunner runner = std::move(NativeRunner::open(fake("branching"))).value();
  const Tensor a = ones({4}), b = ones({4}, 10);
  const std::vector<Tensor> out{ones({4}, 0), ones({4}, 0)};
  auto bound = Bound::make(runner, std::vector{a, b}, out);
  ASSERT_TRUE(good(bound));
  for (const float first : {-1.f, 1.f, -1.f, -1.f, 1.f, 1.f, -1.f, 1.f, -1.f, 1.f, -1.f, 1.f}) {
    static_cast<float*>(a.data())[0] = first;
    ASSERT_TRUE(good(bound.value().run()));
    EXPECT_EQ(floats(out[0]), (std::vector<float>{first + 10, 11, 11, 11}));
    EXPECT_EQ(floats(out[1]), (std::vector<float>{first - 10, -9, -9, -9}));
  }
}

// Results that are inputs, bound to the memory of other inputs.
TEST(BoundRun, SwapsWhatIsBoundCrosswise) {
  const NativeRunner many = std::move(NativeRunner::open(fake("many"))).value();
  std::vector<Tensor> in, out;
  for (int i = 0; i < 40; ++i) in.push_back(ones({2}, static_cast<float>(i)));
  out = in;
  std::swap(out[0], out[1]);
  auto bound = Bound::make(many, in, out);
  ASSERT_TRUE(good(bound));
  for (int round = 0; round < 4; ++round) {
    ASSERT_TRUE(good(bound.value().run()));
    EXPECT_EQ(floats(in[0])[0], round % 2 == 0 ? 1 : 0);
    EXPECT_EQ(floats(in[1])[0], round % 2 == 0 ? 0 : 1);
    EXPECT_EQ(floats(in[2])[0], 2);
  }
}

TEST(BoundRun, RefusesWhatDoesNotFit) {
  const NativeRunner runner = open_native("add");
  const Tensor good_one = ones({8});
  const std::vector<Tensor> two{good_one, good_one}, one{good_one};
  expect_error(Bound::make(runner, one, one), Errc::input_count, {"found 1 inputs, expected 2"});
  expect_error(Bound::make(runner, two, two), Errc::output_count, {"found 2 outputs, expected 1"});
  expect_error(Bound::make(runner, std::vector{good_one, Tensor{}}, one), Errc::undefined_tensor,
               {"input 1"});

  auto short_input = Bound::make(runner, std::vector{ones({7}), good_one}, one);
  ASSERT_TRUE(good(short_input));
  expect_error(short_input.value().run(), Errc::input_shape, {"input 0 'a'", "found 7"});

  const Tensor small = ones({4}, -1);
  auto small_output = Bound::make(runner, two, std::vector{small});
  ASSERT_TRUE(good(small_output));
  for (int i = 0; i < 2; ++i) {
    expect_error(small_output.value().run(), Errc::invalid_argument,
                 {"output 0", "float32 of sizes 4", "returned float32 of sizes 8"});
  }
  EXPECT_EQ(floats(small), std::vector<float>(4, -1));
  auto other_type = Bound::make(
      runner, two, std::vector{Case::make<std::int32_t>({8}, std::vector<std::int32_t>(8, 0))});
  ASSERT_TRUE(good(other_type));
  expect_error(other_type.value().run(), Errc::invalid_argument, {"int32"});
}

struct Last {
  int* runs;
  Errc* code;
  void begin(aoti::Event) const noexcept {}
  void end(aoti::Event event, const aoti::Completion& completion) const noexcept {
    *runs += event == aoti::Event::run;
    *code = completion.code();
  }
};

TEST(BoundRun, TellsItsObserverWhatTheCallerGets) {
  using Watched = aoti::Runner<aoti::Cpu, Native, aoti::Options{}, Last>;
  int runs = 0;
  Errc code = Errc::none;
  auto runner = Watched::open(AOTI_TEST_MODELS_DIR "/add.pt2", {}, Last{&runs, &code});
  ASSERT_TRUE(good(runner));
  const std::vector<Tensor> inputs{ones({8}), ones({8})};
  const auto expect_told = [&](const std::vector<Tensor>& in, const Tensor& out, Errc expected) {
    auto bound = aoti::BoundRun<Watched>::make(runner.value(), in, {&out, 1});
    ASSERT_TRUE(good(bound));
    for (int i = 1; i <= 3; ++i) {
      runs = 0;
      const auto done = bound.value().run();
      EXPECT_EQ(done ? Errc::none : done.error().code(), expected);
      EXPECT_EQ(code, expected);
      EXPECT_EQ(runs, 1);
    }
  };
  expect_told(inputs, ones({8}), Errc::none);
  expect_told(inputs, ones({4}), Errc::invalid_argument);
  expect_told({ones({7}), ones({8})}, ones({8}), Errc::input_shape);
}

TEST(BoundRun, LeavesNothingBehind) {
  aoti::detail::Pool::trim();
  const std::size_t before = aoti::detail::Pool::reserved();
  {
    const NativeRunner runner = open_native("nested");
    const std::vector<Tensor> in{ones({4, 3}, 2), ones({4, 3}, -3)};
    const std::vector<Tensor> out{ones({4, 3}), Case::make<float>({}, {0}),
                                  Case::make<bool>({4, 3}, std::vector<bool>(12, true))};
    auto bound = Bound::make(runner, in, out);
    auto moved = std::move(bound.value());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(good(moved.run()));
    EXPECT_EQ(moved.inputs()[0].data(), in[0].data());
  }
  aoti::detail::Pool::trim();
  EXPECT_EQ(aoti::detail::Pool::reserved(), before);
}

}  // namespace
}  // namespace aoti_test
