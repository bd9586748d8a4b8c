#include <aoti/runtime/native/pool.hpp>

#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "support/support.hpp"

namespace {

using aoti::detail::Block;
using aoti::detail::Pool;

std::byte* memory_of(Block* block) { return reinterpret_cast<std::byte*>(block + 1); }

static_assert(Pool::size_class(0) == 0 && Pool::size_class(64) == 0 && Pool::size_class(65) == 1);
static_assert(Pool::class_size(15) == 1024 && Pool::class_size(16) == 1280);

TEST(Pool, ClassesHoldWhatIsAskedForAndWasteAFifthAtMost) {
  for (std::size_t bytes = 1; bytes <= Pool::largest; bytes += 1 + bytes / 7) {
    const std::uint32_t index = Pool::size_class(bytes);
    const std::size_t size = Pool::class_size(index);
    EXPECT_GE(size, bytes);
    EXPECT_EQ(size % Pool::alignment, 0u);
    EXPECT_TRUE(size <= bytes + 64 || size - bytes <= size / 5 + 1) << bytes << ": " << size;
    EXPECT_TRUE(index == 0 || Pool::class_size(index - 1) < bytes);
    EXPECT_EQ(Pool::size_class(size), index);
  }
}

TEST(Pool, GivesAlignedMemoryAndTheSameAgain) {
  Block* first = Pool::allocate(100);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % Pool::alignment, 0u);
  std::memset(memory_of(first), 1, 100 - sizeof(Block));
  EXPECT_EQ(first->references.load(), 1u);
  const std::size_t reserved = Pool::reserved();
  Pool::free(first);
  Block* second = Pool::allocate(128);
  EXPECT_EQ(second, first);
  EXPECT_EQ(Pool::reserved(), reserved);
  Block* third = Pool::allocate(128);
  EXPECT_NE(third, second);
  EXPECT_EQ(Pool::reserved(), reserved + 128);
  Pool::free(third);
  Pool::free(second);
}

TEST(Pool, RefusesWhatCannotBe) {
  EXPECT_EQ(Pool::allocate(Pool::largest + 1), nullptr);
  EXPECT_EQ(Pool::allocate(static_cast<std::size_t>(-1)), nullptr);
  EXPECT_EQ(Pool::allocate(Pool::largest), nullptr);  // 64 TiB
}

TEST(Pool, TakesBackWhatAnotherThreadFrees) {
  Pool::trim();
  const std::size_t before = Pool::reserved();
  std::vector<Block*> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(Pool::allocate(3000));
  const std::size_t full = Pool::reserved();
  for (int round = 0; round < 10; ++round) {
    std::thread{[&] {
      for (Block* block : blocks) Pool::free(block);
    }}.join();
    for (Block*& block : blocks) block = Pool::allocate(3000);
    EXPECT_EQ(std::set<Block*>(blocks.begin(), blocks.end()).size(), blocks.size());
    EXPECT_EQ(Pool::reserved(), full);
  }
  for (Block* block : blocks) Pool::free(block);
  Pool::trim();
  EXPECT_EQ(Pool::reserved(), before);
}

TEST(Pool, OutlivesItsThreadAndServesTheNext) {
  Pool::trim();
  Block* kept = nullptr;
  std::thread{[&] {
    kept = Pool::allocate(5000);
    Pool::free(Pool::allocate(6000));
  }}.join();
  const std::size_t reserved = Pool::reserved();
  Pool::free(kept);  // its thread has ended
  for (int i = 0; i < 20; ++i) {
    std::thread{[&] {
      Block* one = Pool::allocate(5000);
      Block* other = Pool::allocate(6000);
      Pool::free(one);
      Pool::free(other);
    }}.join();
  }
  EXPECT_EQ(Pool::reserved(), reserved);
  Pool::trim();
  EXPECT_LT(Pool::reserved(), reserved);
}

// A thread's destructors may still make and destroy tensors while its pool is released.
TEST(Pool, ServesAThreadThatIsEnding) {
  struct Late {
    Block* block = nullptr;
    ~Late() {
      if (block == nullptr) return;
      Pool::free(block);
      Block* other = Pool::allocate(700);
      EXPECT_NE(other, nullptr);
      Pool::free(other);
    }
  };
  std::thread{[] {
    static thread_local Late late;
    late.block = nullptr;  // made before the pool is, so destroyed after it
    late.block = Pool::allocate(700);
  }}.join();
  const std::size_t reserved = Pool::reserved();
  std::thread{[] { Pool::free(Pool::allocate(700)); }}.join();
  EXPECT_EQ(Pool::reserved(), reserved);
}

TEST(Pool, IsSafeWhereThreadsPassBlocksOn) {
  constexpr int threads = 4, rounds = 2000;
  std::vector<aoti::detail::Atomic<Block*>*> slots;
  for (int i = 0; i < 64; ++i) slots.push_back(new aoti::detail::Atomic<Block*>{nullptr});
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        const std::size_t size = 64u + static_cast<std::size_t>(i * 37 + t) % 900;
        Block* block = Pool::allocate(size + sizeof(Block));
        std::memset(memory_of(block), t, size);
        if (Block* old = slots[static_cast<std::size_t>(i * 7 + t) % 64]->exchange(block)) {
          Pool::free(old);
        }
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  for (auto* slot : slots) {
    if (Block* block = slot->exchange(nullptr)) Pool::free(block);
    delete slot;
  }
}

}  // namespace
