// Each allocation of the library on the native runtime, and of the models, fails in turn.
#include <aoti/aoti.hpp>
#include <aoti/array_ref.hpp>
#include <aoti/bound_run.hpp>
#include <aoti/runtime/dlpack.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "runtime/native_case.hpp"
#include "support/sanitizers.hpp"

namespace {

int until_failure = -1;  // how many allocations succeed before one fails; -1: all
int still_fail = 0;

/// @param times how often the library tries
bool fails(int times) {
  if (still_fail > 0) return still_fail-- > 0;
  if (until_failure < 0 || until_failure-- > 0) return false;
  still_fail = times - 1;
  return true;
}

}  // namespace

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  void* memory = nullptr;
  return fails(2) || ::posix_memalign(&memory, alignment, size) != 0 ? nullptr : memory;
}
// Not inlined: gcc would warn about free() not matching new.
[[gnu::noinline]] void* operator new(std::size_t size) {
#if defined(__cpp_exceptions)
  if (fails(1)) throw std::bad_alloc{};
#endif
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return fails(1) ? nullptr : std::malloc(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

extern "C" {
[[gnu::weak]] void __lsan_disable();
[[gnu::weak]] void __lsan_enable();
}

namespace aoti_test {
namespace {

using aoti::Errc;
using aoti::Native;
using aoti::Result;
using aoti::Tensor;
using aoti::TensorView;
using aoti::detail::Pool;
using Runner = aoti::Runner<aoti::Cpu, Native>;
using Bound = aoti::BoundRun<Runner>;

std::string path(const char* model) {
  return std::string{AOTI_TEST_MODELS_DIR "/"}.append(model).append(".pt2");
}

// Opening is slow in the emulator of ./dev aarch64 and under this sanitizer: a seventh is enough.
constexpr int step = tsan || emulated ? 7 : 1;

/// Calls the body, which returns a Result<void>, until no allocation in it fails.
/// @param given whether handles are given to models created in it
template <class Body> void fail_each(const Body& body, bool given = false) {
  ASSERT_TRUE(good(body()));
  bool failed = true;
  int failures = 0;
  for (int n = 0; failed && n < 5000; n += step) {
    SCOPED_TRACE(n);
    Pool::trim();
    const std::size_t before = Pool::reserved();
    until_failure = n;
    const Result<void> done = body();
    failed = until_failure < 0;
    until_failure = -1;
    // A model that failed while it was created may or may not have taken over what it was given.
    const bool in_model = !done && done.error().native_code() != 0;
    if (!done) {
      ++failures;
      EXPECT_TRUE(failed);
      EXPECT_EQ(done.error().code(), Errc::out_of_memory) << done.error().message();
    }
    EXPECT_TRUE(good(body()));
    Pool::trim();
    EXPECT_TRUE(Pool::reserved() == before || (given && in_model))
        << Pool::reserved() << " and " << before;
  }
  EXPECT_FALSE(failed);
  EXPECT_GT(failures, 0);
}

/// Inputs of the model "nested".
Result<std::array<Tensor, 2>> inputs() {
  std::array<Tensor, 2> made;
  for (Tensor& input : made) {
    auto tensor = Tensor::empty(aoti::DType::float32, {4, 3});
    if (!tensor) return std::move(tensor).error();
    std::memset(tensor.value().data(), 0, 48);
    input = std::move(tensor).value();
  }
  return made;
}

/// A model keeps the text of a thread's last error in a thread-local string, which remains when the
/// model is unloaded: LeakSanitizer, if present, must ignore it.
struct OutOfMemory : testing::Test {
  OutOfMemory() {
    if (__lsan_disable != nullptr) __lsan_disable();
  }
  ~OutOfMemory() override {
    if (__lsan_enable != nullptr) __lsan_enable();
  }
};

TEST(Memory, OfTensors) {
  float data[6] = {};
  fail_each([&]() -> Result<void> {
    auto tensor = Tensor::empty(aoti::DType::float64, {30, 30});
    if (!tensor) return std::move(tensor).error();
    auto copy = tensor.value().clone();
    if (!copy) return std::move(copy).error();
    auto borrowed = Tensor::borrow(data, {2, 3});
    if (!borrowed) return std::move(borrowed).error();
    return aoti::success();
  });
}

template <class Managed> Result<void> there_and_back() {
  auto tensor = Tensor::empty(aoti::DType::float32, {2, 3});
  if (!tensor) return std::move(tensor).error();
  auto managed = aoti::to_dlpack<Managed>(tensor.value());
  if (!managed) return std::move(managed).error();
  auto back = aoti::from_dlpack(managed.value());
  if (back) return aoti::success();
  managed.value()->deleter(managed.value());
  return std::move(back).error();
}
TEST(Memory, OfDlpack) {
  fail_each(there_and_back<aoti::dlpack::ManagedTensor>);
  fail_each(there_and_back<aoti::dlpack::ManagedTensorVersioned>);
}

TEST_F(OutOfMemory, WhileAModelIsOpened) {
  for (const char* model : {"add", "derived"}) {
    SCOPED_TRACE(model);
    const std::string from = path(model);
    fail_each([&]() -> Result<void> {
      auto runner = Runner::open(from);
      if (!runner) return std::move(runner).error();
      std::move(runner.value()).unload();
      // Whether a model can be opened does not always depend on the runtime's memory.
      auto tensor = Tensor::empty(aoti::DType::float32, {1});
      if (!tensor) return std::move(tensor).error();
      return aoti::success();
    });
  }
}

TEST_F(OutOfMemory, WhileAModelRuns) {
  const auto opened = Runner::open(path("nested"));
  ASSERT_TRUE(good(opened));
  const Runner& runner = opened.value();
  fail_each([&]() -> Result<void> {
    auto in = inputs();
    if (!in) return std::move(in).error();
    auto outputs = runner.run<3>(in.value()[0], in.value()[1]);
    if (!outputs) return std::move(outputs).error();
    return aoti::success();
  });
  fail_each([&]() -> Result<void> {
    auto in = inputs();
    if (!in) return std::move(in).error();
    std::array<Tensor, 3> out;
    return runner.run_into(in.value(), out);
  });
  fail_each([&]() -> Result<void> {
    auto in = inputs();
    if (!in) return std::move(in).error();
    auto outputs = runner.boxed_run(in.value());
    if (!outputs) return std::move(outputs).error();
    return aoti::success();
  });
  // A model with scratch memory, and one that returns its inputs.
  const auto scratch = Runner::open(fake("scratch")), many = Runner::open(fake("many"));
  ASSERT_TRUE(good(scratch));
  ASSERT_TRUE(good(many));
  fail_each([&]() -> Result<void> {
    auto in = inputs();
    if (!in) return std::move(in).error();
    auto outputs = scratch.value().run<1>(in.value()[0]);
    if (!outputs) {  // has its own error text
      EXPECT_TRUE(outputs.error().code() == Errc::out_of_memory ||
                  outputs.error().code() == Errc::model_failed)
          << outputs.error().message();
      return aoti::Error{Errc::out_of_memory};
    }
    std::array<Tensor, 40> all, back;
    all.fill(in.value()[0]);
    return many.value().run_into(all, back);
  });
}

TEST_F(OutOfMemory, WhileABoundRunLearnsAndRuns) {
  const auto opened = Runner::open(path("nested"));
  ASSERT_TRUE(good(opened));
  float product[12], sum[1];
  bool flags[12];
  fail_each([&]() -> Result<void> {
    auto in = inputs();
    if (!in) return std::move(in).error();
    std::array<Tensor, 3> out;
    const std::int64_t sizes[] = {4, 3};
    for (std::size_t i = 0; i < 3; ++i) {
      auto made = i == 1 ? Tensor::borrow(sum, {})
                         : Tensor::borrow(i == 0 ? aoti::DType::float32 : aoti::DType::boolean,
                                          i == 0 ? static_cast<void*>(product) : flags, sizes);
      if (!made) return std::move(made).error();
      out[i] = std::move(made).value();
    }
    auto bound = Bound::make(opened.value(), in.value(), out);
    if (!bound) return std::move(bound).error();
    for (int i = 0; i < 3; ++i) {
      if (auto done = bound.value().run(); !done) return done;
    }
    return aoti::success();
  });
}

TEST_F(OutOfMemory, WhileAnArrayRefModelIsOpenedAndRuns) {
  const std::string from = path("mlp_arrayref");
  fail_each(
      [&]() -> Result<void> {
        auto model = aoti::ArrayRefModel<>::open(from);
        if (!model) return std::move(model).error();
        std::move(model.value()).unload();
        return aoti::success();
      },
      true);
  auto opened = aoti::ArrayRefModel<>::open(from);
  ASSERT_TRUE(good(opened));
  float x[16] = {};
  fail_each([&]() -> Result<void> {
    auto tensor = Tensor::borrow(x, {1, 16});
    if (!tensor) return std::move(tensor).error();
    const TensorView in = TensorView::of(tensor.value());
    TensorView out;
    return opened.value().run({&in, 1}, {&out, 1});
  });
}

}  // namespace
}  // namespace aoti_test
