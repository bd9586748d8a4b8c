// Denormal numbers count as zero while a model runs, if that is wanted.
#include <aoti/run/denormals.hpp>

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <thread>
#include <vector>

#include "support/sanitizers.hpp"

namespace aoti_test {
namespace {

using AreZero = aoti::detail::Denormals<true>;

[[gnu::noinline]] bool are_zero() {
  volatile float least = 1e-40f, two = 2;
  return least * two == 0;
}

TEST(Denormals, AreZeroMeanwhile) {
  EXPECT_FALSE(are_zero());
  for (int i = 0; i < 2; ++i) {
    {
      const AreZero denormals;
      EXPECT_TRUE(are_zero());
    }
    EXPECT_FALSE(are_zero());
  }
}

TEST(Denormals, AreZeroOnOpenMpsThreads) {
  using Run = void (*)(void (*)(void*), void*, unsigned, unsigned);
  void* const openmp = ::dlopen("libgomp.so.1", RTLD_NOW | RTLD_GLOBAL);
  if (openmp == nullptr) GTEST_SKIP() << "there is no OpenMP here";
  if (tsan) GTEST_SKIP() << "ThreadSanitizer does not see how OpenMP's threads wait";
  const auto in_parallel = reinterpret_cast<Run>(::dlsym(openmp, "GOMP_parallel"));
  const auto number = reinterpret_cast<int (*)()>(::dlsym(openmp, "omp_get_thread_num"));
  const auto use = reinterpret_cast<void (*)(int)>(::dlsym(openmp, "omp_set_num_threads"));
  ASSERT_TRUE(in_parallel != nullptr && number != nullptr && use != nullptr);
  const auto found = [&] {
    struct Found {
      int (*number)();
      std::vector<char> zero;
    } result{number, std::vector<char>(2, 2)};
    in_parallel(
        [](void* data) {
          auto& mine = *static_cast<Found*>(data);
          mine.zero[static_cast<std::size_t>(mine.number())] = are_zero();
        },
        &result, 2, 0);
    return result.zero;
  };
  std::thread{[&] {
    use(2);
    AreZero::prepare();
    EXPECT_EQ(found(), (std::vector<char>{0, 0}));  // starts them
    { const AreZero denormals; }
    EXPECT_EQ(found(), (std::vector<char>{0, 1}));
  }}.join();
}

}  // namespace
}  // namespace aoti_test
