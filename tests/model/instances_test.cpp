// Instances shared by threads: each is used by one at a time, nobody waits for ever.
#include <aoti/model/instances.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace aoti_test {
namespace {

using aoti::model::Instances;

TEST(Instances, AreHandedOutToOneAtATime) {
  for (const std::size_t count : {1, 2, 3, 5}) {
    Instances instances{count};
    const auto users = std::make_unique<std::atomic<int>[]>(count);
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 2000; ++i) {
          const Instances::One one{instances};
          wrong += users[*one]++ != 0;
          users[*one]--;
        }
      });
    }
    // Meanwhile, others want all of them.
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) {
          const Instances::All all{instances};
          for (std::size_t k = 0; k < count; ++k) wrong += users[k]++ != 0;
          for (std::size_t k = 0; k < count; ++k) users[k]--;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0) << count;
  }
}

TEST(Instances, AreAllInUseAtOnce) {
  Instances instances{3};
  std::vector<bool> seen(3);
  for (int i = 0; i < 3; ++i) {
    const std::size_t at = instances.take();
    ASSERT_LT(at, 3u);
    EXPECT_FALSE(seen[at]);
    seen[at] = true;
  }
  std::atomic<bool> got = false;
  std::thread waiting{[&] {
    const Instances::One one{instances};
    got = *one == 1;
  }};
  instances.give_back(1);
  waiting.join();
  EXPECT_TRUE(got);
}

}  // namespace
}  // namespace aoti_test
