#include <aoti/load/weight_sets.hpp>

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace {

using aoti::WeightSet;
using aoti::WeightsState;
using aoti::detail::WeightSets;

std::vector<AtenTensorHandle> destroyed;
void destroy(AtenTensorHandle handle) { destroyed.push_back(handle); }
AtenTensorHandle handle(int i) {
  static char places[8];
  return reinterpret_cast<AtenTensorHandle>(&places[i]);
}

WeightSets loaded(bool own) {
  WeightSets sets;
  sets.create(2, own);
  sets.load();
  sets.fold();
  return sets;
}

TEST(WeightSets, AreStagedSwappedAndReleased) {
  WeightSets sets = loaded(true);
  EXPECT_EQ(sets.state(), WeightsState::folded);
  EXPECT_FALSE(sets.has_second());
  EXPECT_FALSE(sets.has_remains());

  sets.begin({0, 1});
  EXPECT_FALSE(sets.has_second());
  EXPECT_TRUE(sets.has_remains());
  EXPECT_TRUE(sets.is_in_block(WeightSet::active, 0));
  EXPECT_FALSE(sets.is_in_block(WeightSet::inactive, 0));
  EXPECT_TRUE(sets.is_in_block(WeightSet::inactive, 1));
  sets.stage();
  EXPECT_TRUE(sets.is_staged());

  EXPECT_FALSE(sets.swap());
  EXPECT_TRUE(sets.has_second());
  EXPECT_FALSE(sets.is_staged());  // a set that was swapped out is not a staged update
  EXPECT_FALSE(sets.is_in_block(WeightSet::active, 0));
  EXPECT_TRUE(sets.is_in_block(WeightSet::inactive, 0));

  EXPECT_FALSE(sets.release());  // the active set's second constant lies in the block
  EXPECT_FALSE(sets.has_second());
  EXPECT_TRUE(sets.has_block());
  sets.begin({0, 0});
  sets.stage();
  sets.swap();
  EXPECT_TRUE(sets.release());  // the block is active
  sets.freed();
  EXPECT_TRUE(sets.has_block());
  EXPECT_TRUE(sets.lacks_folded());
  sets.refold();
  EXPECT_FALSE(sets.lacks_folded());
}

TEST(WeightSets, FreeTheBlockOnceNothingUsesIt) {
  WeightSets sets = loaded(true);
  sets.begin({0, 0});
  sets.stage();
  sets.swap();
  sets.lend(true);
  EXPECT_FALSE(sets.release());
  EXPECT_TRUE(sets.has_remains());  // to be released again
  EXPECT_FALSE(sets.has_second());
  sets.lend(false);
  EXPECT_TRUE(sets.release());
  sets.freed();
  EXPECT_FALSE(sets.has_block());
  EXPECT_FALSE(sets.has_remains());
}

TEST(WeightSets, WithoutWeightsTakeTheFirstOnes) {
  WeightSets sets;
  sets.create(2, false);
  EXPECT_EQ(sets.state(), WeightsState::none);
  sets.begin({0, 0});
  sets.stage();
  EXPECT_TRUE(sets.swap());
  EXPECT_EQ(sets.state(), WeightsState::folded);
  EXPECT_FALSE(sets.has_second());  // there was nothing before
}

TEST(WeightSets, ThatWereAbandonedCannotBeSwappedIn) {
  WeightSets sets = loaded(false);
  sets.abandon();
  EXPECT_FALSE(sets.has_remains());
  sets.begin({0, 0});
  sets.stage();
  sets.abandon();
  EXPECT_FALSE(sets.has_second());
  EXPECT_TRUE(sets.has_remains());
  EXPECT_TRUE(sets.release());
  EXPECT_FALSE(sets.has_remains());
}

TEST(WeightSets, DestroyWhatModelsForget) {
  WeightSets sets = loaded(false);
  destroyed.clear();
  sets.keep(WeightSet::active, {handle(0), nullptr}, destroy);
  sets.begin({0, 0});
  sets.keep(WeightSet::inactive, {handle(1), handle(2)}, destroy);
  EXPECT_TRUE(destroyed.empty());
  sets.stage();
  sets.swap();
  sets.keep(WeightSet::inactive, {handle(3)}, destroy);
  EXPECT_EQ(destroyed, std::vector{handle(0)});
  WeightSets moved = std::move(sets);
  sets.clear();
  EXPECT_EQ(destroyed.size(), 1u);
  moved.clear();
  EXPECT_EQ(destroyed.size(), 4u);
  moved.clear();
  EXPECT_EQ(destroyed.size(), 4u);
}

}  // namespace
