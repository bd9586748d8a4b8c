// What the tests of the runner share: runners on the fake runtime, and inputs for the fakes.
#pragma once

#include <aoti/device/cpu.hpp>
#include <aoti/runner.hpp>

#include <string>
#include <vector>

#include "support/fake_runtime.hpp"
#include "support/support.hpp"

namespace aoti_test {

using Runner = aoti::Runner<aoti::Cpu, FakeRuntime>;
using SharedRunner =
    aoti::Runner<aoti::Cpu, FakeRuntime, aoti::Options{.access = aoti::Access::shared}>;
using UncheckedRunner =
    aoti::Runner<aoti::Cpu, FakeRuntime,
                 aoti::Options{.check_inputs = false, .detect_concurrent_use = false}>;

/// Expects that a test leaves no tensors and no handles behind.
class Tidy : public testing::Test {
 protected:
  ~Tidy() override {
    allocations_left = -1;
    runtime_error.clear();
    EXPECT_EQ(live_handles, 0) << "handles leaked";
    EXPECT_EQ(live_storages, 0) << "tensors leaked";
  }
};

template <class R = Runner>
R opened(const std::string& path, const aoti::OpenOptions& options = {}) {
  auto runner = R::open(path, options);
  if (!runner) ADD_FAILURE() << runner.error().message();
  return std::move(runner).value();
}

inline FakeTensor a23() { return tensor<float>({2, 3}, {1, 2, 3, 4, 5, 6}); }
inline FakeTensor b23() { return tensor<float>({2, 3}, {10, 20, 30, 40, 50, 60}); }
inline const std::vector<float> sum23{11, 22, 33, 44, 55, 66};

}  // namespace aoti_test
