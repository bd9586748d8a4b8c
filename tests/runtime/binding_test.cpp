// Models bound to the functions of one runtime, even if the process has others with these names;
// and what happens when one of these functions fails.
#include <aoti/aoti.hpp>
#include <aoti/bound_run.hpp>

#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/native_case.hpp"
#include "support/allocations.hpp"

// Simulates another runtime in the process.
extern "C" __attribute__((used, visibility("default"))) AOTITorchError
aoti_torch_no_such_function() {
  return 0;
}

extern "C" {
[[gnu::weak]] void __lsan_disable();
[[gnu::weak]] void __lsan_enable();
}

namespace aoti_test {
namespace {

using aoti::DType;
using aoti::Errc;
using aoti::Native;
using aoti::NativeFunctions;
using aoti::Provide;
using aoti::Tensor;
using aoti::detail::Pool;
namespace imported = aoti::abi::imported;
using Case = RuntimeCase<Native>;

std::string model_path(const char* model) {
  return std::string{AOTI_TEST_MODELS_DIR "/"}.append(model).append(".pt2");
}

int calls = 0;
AOTITorchError counted_empty(std::int64_t rank, const std::int64_t* sizes,
                             const std::int64_t* strides, std::int32_t dtype, std::int32_t device,
                             std::int32_t index, AtenTensorHandle* out) {
  ++calls;
  return NativeFunctions::empty_strided(rank, sizes, strides, dtype, device, index, out);
}

TEST(Binding, IsEachModelsOwn) {
  using Counting = aoti::NativeWith<Provide<imported::empty_strided, counted_empty>>;
  const auto plain = aoti::Runner<aoti::Cpu, Native>::open(model_path("add"));
  const auto counting = aoti::Runner<aoti::Cpu, Counting>::open(model_path("add"));
  const auto fake_one = aoti::Runner<aoti::Cpu, FakeRuntime>::open(fake("add"));
  ASSERT_TRUE(good(plain));
  ASSERT_TRUE(good(counting));
  ASSERT_TRUE(good(fake_one));
  const Tensor x = Case::make<float>({8}, {1, 2, 3, 4, 5, 6, 7, 8});
  const FakeTensor y = tensor<float>({2}, {1, 2});
  const std::vector<float> twice{2, 4, 6, 8, 10, 12, 14, 16};
  for (int round = 1; round <= 3; ++round) {
    EXPECT_EQ(Case::elements<float>(plain.value().run<1>(x, x).value()[0]), twice);
    EXPECT_EQ(calls, round - 1);
    EXPECT_EQ(Case::elements<float>(counting.value().run<1>(x, x).value()[0]), twice);
    EXPECT_EQ(calls, round);
    EXPECT_EQ(elements<float>(fake_one.value().run<1>(y, y).value()[0]),
              (std::vector<float>{2, 4}));
  }
}

TEST(Binding, LeavesWeakImportsNull) {
  const Tensor x = Case::make<float>({1}, {3});
  const auto bound = aoti::Runner<aoti::Cpu, Native>::open(fake("weak_import"));
  ASSERT_TRUE(good(bound));
  const auto sum = bound.value().run<1>(x, x);
  ASSERT_TRUE(good(sum));
  EXPECT_EQ(Case::elements<float>(sum.value()[0]), std::vector<float>{6});

  const auto open = aoti::Runner<aoti::Cpu, FakeRuntime>::open(fake("weak_import"));
  ASSERT_TRUE(good(open));
  const FakeTensor y = tensor<float>({1}, {3});
  expect_error(open.value().run<1>(y, y), Errc::model_failed);
}

AOTITorchError no_addmm(AtenTensorHandle, AtenTensorHandle, AtenTensorHandle, AtenTensorHandle,
                        double, double) {
  return 1;
}

TEST(Binding, NamesAllThatIsMissing) {
  expect_error(aoti::Runner<aoti::Cpu, Native>::open(fake("lacks_import")), Errc::missing_import,
               {"aoti_torch_cpu_addmm_out (torch 2.3)"});
  // Here it is given, not asked for by name.
  using All = aoti::NativeWith<Provide<imported::cpu_addmm_out, no_addmm>>;
  expect_error(aoti::Runner<aoti::Cpu, All>::open(fake("lacks_import")), Errc::missing_import,
               {"does not provide aoti_torch_no_such_function"});
}

// This program does not link Sleef: its library is loaded when a model needs it.
TEST(Binding, TakesVectorFunctionsFromSleef) {
  const auto open = aoti::Runner<aoti::Cpu, Native>::open(fake("sleef"));
  if (!aoti::is_loaded("libsleef.so.3")) {
    expect_error(open, Errc::missing_import, {"Sleef_expf_u10", "libsleef.so.3", "libsleef3"});
    GTEST_SKIP() << "this machine has no Sleef";
  }
  ASSERT_TRUE(good(open));
  const Tensor x = Case::make<float>({1}, {3});
  const auto result = open.value().run<1>(x, x);
  ASSERT_TRUE(good(result));
  EXPECT_EQ(Case::elements<float>(result.value()[0]), std::vector<float>{1});
  expect_error(aoti::Runner<aoti::Cpu, Native>::open(fake("lacks_sleef")), Errc::missing_import,
               {"Sleef_nothing", "libsleef.so.3", "libsleef3"});
}

TEST(Binding, KnowsTorchsFunctionsInCpp) {
  using aoti::abi::is_runtime_symbol;
  EXPECT_TRUE(is_runtime_symbol("_ZN3c106detail14torchCheckFailEPKcS2_jS2_"));
  EXPECT_TRUE(is_runtime_symbol("_ZNK2at10TensorBase7is_cudaEv"));
  EXPECT_TRUE(is_runtime_symbol("_ZN5torch12aot_inductor4nameEv"));
  EXPECT_FALSE(is_runtime_symbol("_ZNSt6vectorIN3c106DeviceEE9push_backEv"));
  EXPECT_FALSE(is_runtime_symbol("_ZN4user2atEv"));
  EXPECT_FALSE(is_runtime_symbol("_Znwm"));
  EXPECT_FALSE(is_runtime_symbol("_Z"));
  EXPECT_FALSE(is_runtime_symbol("malloc"));
}

// Inputs come back as outputs: tensors that were lent for the call remain valid.
TEST(Binding, GivesInputsBackThatWereLent) {
  const auto runner = aoti::Runner<aoti::Cpu, Native>::open(fake("many"));
  ASSERT_TRUE(good(runner));
  std::vector<Tensor> in, out(40);
  for (int i = 0; i < 40; ++i) in.push_back(Case::make<float>({1}, {static_cast<float>(i)}));
  ASSERT_TRUE(good(runner.value().run_into(in, out)));
  in.clear();
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(Case::elements<float>(out[static_cast<std::size_t>(i)]),
              std::vector<float>{static_cast<float>(i)});
  }
}

// The slots of the outputs may hold the inputs.
TEST(Binding, PutsOutputsWhereInputsWere) {
  const auto runner = aoti::Runner<aoti::Cpu, Native>::open(fake("many"));
  ASSERT_TRUE(good(runner));
  std::vector<Tensor> all;
  for (int i = 0; i < 41; ++i) {
    const std::vector<std::int64_t> sizes(static_cast<std::size_t>(i % 10), 1);
    all.push_back(Case::make<float>(sizes, {static_cast<float>(i)}));
  }
  ASSERT_TRUE(good(runner.value().run_into({all.data(), 40}, {all.data() + 1, 40})));
  for (int i = 0; i < 41; ++i) {
    const float expected = static_cast<float>(i == 0 ? 0 : i - 1);
    EXPECT_EQ(Case::elements<float>(all[static_cast<std::size_t>(i)]),
              std::vector<float>{expected});
  }
}

TEST(Binding, MakesTensorsWithoutAskingTheSystemForMemory) {
  const auto runner = aoti::Runner<aoti::Cpu, Native>::open(fake("add"));
  ASSERT_TRUE(good(runner));
  const Tensor x = Case::make<float>({100, 100}, std::vector<float>(10000, 1));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(good(runner.value().run<1>(x, x)));
  const std::size_t reserved = Pool::reserved();
  EXPECT_EQ(allocations_in([&] {
              for (int i = 0; i < 10; ++i) EXPECT_TRUE(runner.value().run<1>(x, x));
            }),
            0u);
  EXPECT_EQ(Pool::reserved(), reserved);
}

// Neither for tensors nor for objects of the model's own code, after the first run.
TEST(Binding, RunsWithoutAskingTheSystemForMemory) {
  if (!Pool::keeps_objects) GTEST_SKIP() << "the sanitizer looks after each object";
  const auto runner = aoti::Runner<aoti::Cpu, Native>::open(model_path("add"));
  ASSERT_TRUE(good(runner));
  const Tensor x = Case::make<float>({8}, std::vector<float>(8, 1));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(good(runner.value().run<1>(x, x)));
  const std::size_t reserved = Pool::reserved();
  EXPECT_EQ(allocations_in([&] {
              for (int i = 0; i < 10; ++i) EXPECT_TRUE(runner.value().run<1>(x, x));
            }),
            0u);
  EXPECT_EQ(Pool::reserved(), reserved);

  // Nor does a run whose results are bound, on a thread that has made no tensor.
  const std::vector<Tensor> two{x, x}, sum{Case::make<float>({8}, std::vector<float>(8, 0))};
  auto bound = aoti::BoundRun<aoti::Runner<aoti::Cpu, Native>>::make(runner.value(), two, sum);
  ASSERT_TRUE(good(bound));
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(good(bound.value().run()));
  std::thread{[&] {
    EXPECT_TRUE(good(bound.value().run()));
    EXPECT_EQ(allocations_in([&] { EXPECT_TRUE(bound.value().run()); }), 0u);
  }}.join();
}

TEST(Binding, MakesAndDeletesObjectsOfModels) {
  for (const std::size_t size : {1, 8, 12, 24, 512, 520, 100000}) {
    SCOPED_TRACE(size);
    Pool::trim();
    // The C++ library may delete objects that a model made, and the other way round.
    ::operator delete(NativeFunctions::new_object(size));
    void* first = ::operator new(size);
    void* second = ::operator new(size);
    NativeFunctions::delete_sized_object(first, size);
    NativeFunctions::delete_sized_object(second, size);
    void* again = NativeFunctions::new_object(size);
    EXPECT_TRUE(again == first || !Pool::keeps_objects || size % 8 != 0 || size > 512);
    NativeFunctions::delete_sized_object(again, size);
    std::thread{[&] {  // ends while one is kept
      void* other = NativeFunctions::new_object(size);
      NativeFunctions::delete_sized_object(other, size);
    }}
        .join();
  }
  NativeFunctions::delete_sized_object(nullptr, 24);
  Pool::trim();
}

// A function may keep a copy of an input that it is called with; the handle dies with the run.
Tensor kept;
AOTITorchError keeping_data_ptr(AtenTensorHandle handle, void** data) {
  const bool input = aoti::detail::TensorBody::of(handle)->hold != aoti::detail::Hold::counted;
  if (input) kept = Native::peek(handle);
  return NativeFunctions::get_data_ptr(handle, data);
}

TEST(Binding, LetsFunctionsKeepTensors) {
  using Keeping = aoti::NativeWith<Provide<imported::get_data_ptr, keeping_data_ptr>>;
  using Runner = aoti::Runner<aoti::Cpu, Keeping>;
  const std::vector<float> ones(8, 1);
  {
    const auto runner = Runner::open(model_path("add"));
    ASSERT_TRUE(good(runner));
    const Tensor x = Case::make<float>({8}, ones);
    ASSERT_TRUE(good(runner.value().run<1>(x, x)));
  }
  EXPECT_EQ(Case::elements<float>(kept), ones);
  kept = Tensor{};
  {
    const auto runner = Runner::open(model_path("add"));
    ASSERT_TRUE(good(runner));
    const std::vector<Tensor> x(2, Case::make<float>({8}, ones)), sum{Case::make<float>({8}, ones)};
    auto bound = aoti::BoundRun<Runner>::make(runner.value(), x, sum);
    ASSERT_TRUE(good(bound));
    ASSERT_TRUE(good(bound.value().run()));
  }
  EXPECT_EQ(Case::elements<float>(kept), ones);
  kept = Tensor{};
}

// Memory that a model allocates by `new T[n]` comes from the pool, too.
TEST(Binding, TakesScratchMemoryFromThePool) {
  const auto runner = aoti::Runner<aoti::Cpu, Native>::open(fake("scratch"));
  ASSERT_TRUE(good(runner));
  const Tensor x = Case::make<float>({1000}, std::vector<float>(1000, 2));
  const auto doubled = runner.value().run<1>(x);
  ASSERT_TRUE(good(doubled));
  EXPECT_EQ(Case::elements<float>(doubled.value()[0]), std::vector<float>(1000, 4));
  const std::size_t reserved = Pool::reserved();
  EXPECT_EQ(allocations_in([&] {
              for (int i = 0; i < 10; ++i) EXPECT_TRUE(runner.value().run<1>(x));
            }),
            0u);
  EXPECT_EQ(Pool::reserved(), reserved);
  EXPECT_EQ(NativeFunctions::new_array_nothrow(static_cast<std::size_t>(-1), std::nothrow),
            nullptr);
  NativeFunctions::delete_array(nullptr);
}

bool fails_silently = false;
AOTITorchError silent_empty(std::int64_t rank, const std::int64_t* sizes,
                            const std::int64_t* strides, std::int32_t dtype, std::int32_t device,
                            std::int32_t index, AtenTensorHandle* out) {
  if (fails_silently) return 1;
  NativeFunctions::fail("an earlier function", "this did no harm");
  return NativeFunctions::empty_strided(rank, sizes, strides, dtype, device, index, out);
}

// A failure that a model survived does not explain the failure of a later run.
TEST(Binding, ExplainsAFailureByItsOwnRun) {
  using Silent = aoti::NativeWith<Provide<imported::empty_strided, silent_empty>>;
  const auto runner = aoti::Runner<aoti::Cpu, Silent>::open(model_path("add"));
  ASSERT_TRUE(good(runner));
  const Tensor x = Case::make<float>({8}, std::vector<float>(8, 1));
  fails_silently = false;
  ASSERT_TRUE(good(runner.value().run<1>(x, x)));
  fails_silently = true;
  const auto failed = runner.value().run<1>(x, x);
  expect_error(failed, Errc::model_failed);
  EXPECT_THAT(failed.error().message(), testing::Not(testing::HasSubstr("an earlier function")));
}

/// Fails in the n-th call of a function that makes something; -1 for never.
int until_failure = -1;

template <auto function, class Type> struct Fails;
template <auto function, class... Arguments> struct Fails<function, AOTITorchError(Arguments...)> {
  static AOTITorchError call(Arguments... arguments) {
    if (until_failure == 0) return NativeFunctions::fail("a test's function", "out of memory");
    if (until_failure > 0) --until_failure;
    return function(arguments...);
  }
};

template <class Import, auto function>
using Failing = Provide<Import, Fails<function, typename Import::type>::call>;
using F = NativeFunctions;
using FailingNative = aoti::NativeWith<
    Failing<imported::empty_strided, &F::empty_strided>,
    Failing<imported::create_tensor_from_blob, &F::create_tensor_from_blob>,
    Failing<imported::create_tensor_from_blob_v2, &F::create_tensor_from_blob_v2>,
    Failing<imported::new_tensor_handle, &F::new_tensor_handle>,
    Failing<imported::_reinterpret_tensor, &F::_reinterpret_tensor>,
    Failing<imported::clone, &F::clone>,
    Failing<imported::scalar_to_tensor_int64,
            &F::scalar<imported::scalar_to_tensor_int64, DType::int64, std::int64_t>>>;

/// The inputs that a model is run on.
std::vector<Tensor> inputs_of(const std::string& model) {
  const auto ones = [](std::vector<std::int64_t> sizes) {
    std::int64_t count = 1;
    for (const std::int64_t size : sizes) count *= size;
    return Case::make<float>(sizes, std::vector<float>(static_cast<std::size_t>(count), 1));
  };
  if (model == "add") return {ones({8}), ones({8})};
  if (model == "nested") return {ones({4, 3}), ones({4, 3})};
  if (model == "derived") return {ones({2, 4}), ones({4, 4})};
  if (model == "transposed") return {ones({6, 4}), ones({6, 4})};
  if (model == "repeated") return {ones({4, 3})};
  if (model == "mutating") return {ones({12})};
  return {Case::make<std::int64_t>({2}, {1, 2}), Case::make<bool>({2}, {true, false})};
}

/// A model keeps the text of a thread's last error in a thread-local string, which remains when the
/// model is unloaded: LeakSanitizer, if present, must ignore it.
struct Unwatched {
  Unwatched() {
    if (__lsan_disable != nullptr) __lsan_disable();
  }
  Unwatched(const Unwatched&) = delete;
  Unwatched& operator=(const Unwatched&) = delete;
  ~Unwatched() {
    if (__lsan_enable != nullptr) __lsan_enable();
  }
};

TEST(Binding, LeaksNothingWhicheverAllocationFails) {
  const Unwatched scope;
  using Runner = aoti::Runner<aoti::Cpu, FailingNative>;
  for (const char* model :
       {"add", "nested", "types", "derived", "transposed", "repeated", "mutating"}) {
    SCOPED_TRACE(model);
    const std::string path = model_path(model);
    Pool::trim();
    const std::size_t before = Pool::reserved();
    bool all_done = false;
    int failures = 0;
    for (int n = 0; !all_done && n < 200; ++n) {
      const std::vector<Tensor> inputs = inputs_of(model);
      until_failure = n;
      auto runner = Runner::open(path);
      if (!runner) {
        EXPECT_EQ(runner.error().code(), Errc::out_of_memory) << runner.error().message();
        ++failures;
        continue;
      }
      auto outputs = runner.value().run(inputs);
      all_done = until_failure > 0;
      until_failure = -1;
      if (!outputs) {
        EXPECT_EQ(outputs.error().code(), Errc::out_of_memory) << outputs.error().message();
        ++failures;
      }
      EXPECT_TRUE(good(runner.value().run(inputs)));
      std::move(runner.value()).unload();
    }
    until_failure = -1;
    EXPECT_TRUE(all_done);
    EXPECT_GT(failures, 0);
    Pool::trim();
    EXPECT_EQ(Pool::reserved(), before);
  }
}

}  // namespace
}  // namespace aoti_test
