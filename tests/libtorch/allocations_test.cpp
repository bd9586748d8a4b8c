// What a run on libtorch allocates and leaves, compared with the call that it wraps.
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "libtorch/models.hpp"

namespace {
thread_local bool counts = false;
thread_local std::int64_t allocations = 0;
thread_local std::int64_t releases = 0;
}  // namespace

// operator new and libtorch end up here, too.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* memory);

void* malloc(std::size_t size) noexcept {
  allocations += counts;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  allocations += counts;
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) noexcept {
  allocations += counts;
  releases += counts && old != nullptr;
  return __libc_realloc(old, size);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  allocations += counts;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return memalign(alignment, size);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t size) noexcept {
  *out = memalign(alignment, size);
  return *out != nullptr ? 0 : ENOMEM;
}
void free(void* memory) noexcept {
  releases += counts && memory != nullptr;
  __libc_free(memory);
}
}

namespace {

using aoti_test::opened;
using aoti_test::Runner;
using aoti_test::SharedRunner;
using aoti_test::Tensors;
using aoti_test::UncheckedRunner;
using aoti_test::value_of;

template <class R> class Run : public testing::Test {};
using Runners = testing::Types<Runner, SharedRunner, UncheckedRunner>;
TYPED_TEST_SUITE(Run, Runners);

// The library allocates nothing itself: exactly as much is allocated as by the call that it wraps.
TYPED_TEST(Run, AllocatesWhatTheModelAndTheHandlesNeed) {
  const auto counted = [](auto&& body) {
    for (int i = 0; i < 3; ++i) body();  // whatever happens only once
    allocations = 0;
    counts = true;
    body();
    counts = false;
    return allocations;
  };
  const at::Tensor x = at::randn({4, 3}), scale = at::randn({4, 3});
  const auto runner = opened<TypeParam>("nested");
  const aoti::abi::ModelExports& exports = runner.container().exports();
  const bool shared = std::is_same_v<TypeParam, SharedRunner>;
  const auto call = shared ? exports.run : exports.run_single_threaded;
  const std::int64_t raw = counted([&] {
    std::array<AtenTensorHandle, 2> in{reinterpret_cast<AtenTensorHandle>(new at::Tensor{x}),
                                       reinterpret_cast<AtenTensorHandle>(new at::Tensor{scale})};
    std::array<AtenTensorHandle, 3> out{};
    const int error =
        call(runner.container().handle(), in.data(), 2, out.data(), 3, nullptr, nullptr);
    if (error != 0) throw std::runtime_error{"the raw call failed"};
    for (const AtenTensorHandle handle : out) delete reinterpret_cast<at::Tensor*>(handle);
  });
  EXPECT_GE(raw, 5);  // a handle for each tensor

  EXPECT_EQ(counted([&] { value_of(runner.template run<3>(x, scale)); }), raw);

  Tensors inputs{x, scale}, outputs(3);
  EXPECT_EQ(counted([&] { value_of(runner.run_into(inputs, outputs)); }), raw);

  std::array<AtenTensorHandle, 2> in{};
  std::array<AtenTensorHandle, 3> out{};
  EXPECT_EQ(counted([&] {
              in = {aoti::Libtorch::share(x), aoti::Libtorch::share(scale)};
              value_of(runner.run_handles(in, out));
              for (const AtenTensorHandle handle : out) aoti::Libtorch::destroy(handle);
            }),
            raw);

  // These return a vector.
  EXPECT_EQ(counted([&] { value_of(runner.run(inputs)); }), raw + 1);
  EXPECT_EQ(counted([&] {
              inputs = {x, scale};
              value_of(runner.boxed_run(inputs));
            }),
            counted([&] {
              inputs = {x, scale};
            }) + raw +
                1);
}

TYPED_TEST(Run, KeepsNothingOfARunWhetherGoodOrNot) {
  const at::Tensor x = at::full({4, 64}, 1.0f), wrong = at::full({4, 63}, 1.0f);
  const auto mlp = opened<TypeParam>("mlp"), plain = opened<TypeParam>("mlp_plain");
  const auto kept = [&](auto&& body) {
    for (int i = 0; i < 5; ++i) body();
    allocations = releases = 0;
    counts = true;
    for (int i = 0; i < 50; ++i) body();
    counts = false;
    EXPECT_GE(releases, 50);
    return allocations - releases;
  };
  std::vector<at::Tensor> hoard;
  hoard.reserve(100);
  EXPECT_GE(kept([&] { hoard.push_back(value_of(mlp.template run<1>(x))[0]); }), 50);
  testing::internal::CaptureStderr();  // the model prints each failure there
  const std::int64_t good_ones = kept([&] { value_of(mlp.template run<1>(x)); });
  const std::int64_t refused = kept([&] { EXPECT_FALSE((mlp.template run<1>(x, wrong))); });
  const std::int64_t failed = kept([&] { EXPECT_FALSE(plain.template run<1>(wrong)); });
  const std::int64_t given = kept([&] {
    Tensors inputs{wrong};
    EXPECT_FALSE(plain.boxed_run(inputs));
  });
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("API call failed"));
  EXPECT_LT(good_ones, 50);
  EXPECT_LT(refused, 50);
  EXPECT_LT(failed, 50);
  EXPECT_LT(given, 50);
  EXPECT_EQ(x.use_count(), 1u);
  EXPECT_EQ(wrong.use_count(), 1u);
}

}  // namespace
