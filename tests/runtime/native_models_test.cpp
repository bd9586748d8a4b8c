// Models compiled by torch on the runtime without libtorch, in a program without libtorch.
#include "runtime/inputs_battery.hpp"
#include "runtime/models_battery.hpp"
#include "runtime/native_case.hpp"
#include "runtime/opening_battery.hpp"
#include "runtime/runs_battery.hpp"
#include "runtime/weights_battery.hpp"

namespace aoti_test {

INSTANTIATE_TYPED_TEST_SUITE_P(Native, ModelsBattery, aoti::Native);
INSTANTIATE_TYPED_TEST_SUITE_P(Native, OpeningBattery, aoti::Native);
INSTANTIATE_TYPED_TEST_SUITE_P(Native, RunsBattery, aoti::Native);
INSTANTIATE_TYPED_TEST_SUITE_P(Native, InputsBattery, aoti::Native);
INSTANTIATE_TYPED_TEST_SUITE_P(Native, WeightsBattery, aoti::Native);

// After the first run, memory for everything, including kernels' scratch memory, is kept.
TEST(NativeModels, TakeNoMemoryOnceTheyAreWarm) {
  using Case = RuntimeCase<aoti::Native>;
  const struct {
    const char* model;
    std::vector<aoti::Tensor> inputs;
  } cases[] = {
      {"add", {Case::empty({8}, aoti::DType::float32), Case::empty({8}, aoti::DType::float32)}},
      {"mlp_tuned", {Case::empty({1, 16}, aoti::DType::float32)}}};
  for (const auto& [model, inputs] : cases) {
    const auto runner = aoti::Runner<aoti::Cpu, aoti::Native>::open(model_path(model));
    ASSERT_TRUE(good(runner)) << model;
    aoti::Tensor output;
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(good(runner.value().run_into(inputs, {&output, 1})));
    const std::size_t reserved = aoti::detail::Pool::reserved();
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(good(runner.value().run_into(inputs, {&output, 1})));
    EXPECT_EQ(aoti::detail::Pool::reserved(), reserved) << model;
  }
}

TEST(NativeModels, MayTreatDenormalNumbersAsZero) {
  std::array<float, 8> numbers{0, 0, 0, 1e-40f}, zeros{};
  const aoti::Tensor a = value_of(aoti::Tensor::borrow(numbers.data(), {8}));
  const aoti::Tensor b = value_of(aoti::Tensor::borrow(zeros.data(), {8}));
  const auto sum = [&](auto runner) {
    return value_of(value_of(value_of(std::move(runner)).template run<1>(a, b))[0]
                        .template elements<float>())[3];
  };
  constexpr aoti::Options flushing{.flush_denormals = true};
  const std::string path = model_path("add");
  EXPECT_EQ(sum(aoti::Runner<aoti::Cpu, aoti::Native>::open(path)), 1e-40f);
  EXPECT_EQ(sum(aoti::Runner<aoti::Cpu, aoti::Native, flushing>::open(path)), 0);
  EXPECT_EQ(sum(aoti::Runner<aoti::Cpu, aoti::Native>::open(path)), 1e-40f);
}

}  // namespace aoti_test
