#include <aoti/array_ref.hpp>
#include <aoti/run/overlap.hpp>

#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/support.hpp"

namespace {

using aoti::ModelSpec;
using aoti::TensorView;
using aoti::detail::ByteBlocks;
using aoti::detail::ByteRange;
using aoti::detail::Views;
using aoti_test::good;

std::byte memory[4096];

struct Layout {
  std::size_t at;
  std::vector<std::int64_t> sizes, strides;
  bool wide = false;  // elements of 8 bytes
};

TensorView view(const Layout& layout) {
  TensorView view;
  view.data = memory + layout.at;
  view.dtype = layout.wide ? aoti::DType::float64 : aoti::DType::int16;
  view.rank = static_cast<std::int32_t>(layout.sizes.size());
  view.size = 1;
  for (std::size_t d = 0; d < layout.sizes.size(); ++d) {
    view.extents[d] = layout.sizes[d];
    view.steps[d] = layout.strides[d];
    view.size *= layout.sizes[d];
  }
  return view;
}

std::set<std::size_t> bytes_of(const Layout& layout) {
  const std::size_t element = layout.wide ? 8 : 2;
  std::set<std::size_t> firsts{layout.at}, all;
  for (std::size_t d = 0; d < layout.sizes.size(); ++d) {
    std::set<std::size_t> next;
    for (const std::size_t first : firsts) {
      for (std::int64_t i = 0; i < layout.sizes[d]; ++i) {
        next.insert(first + static_cast<std::size_t>(i * layout.strides[d]) * element);
      }
    }
    firsts = std::move(next);
  }
  for (const std::size_t first : firsts) {
    for (std::size_t i = 0; i < element; ++i) all.insert(first + i);
  }
  return all;
}

bool overlap(const Layout& a, const Layout& b) {
  const TensorView first = view(a), second = view(b);
  const auto mine = ByteRange::of<Views>(first), theirs = ByteRange::of<Views>(second);
  if (!mine.meets(theirs)) return false;
  const auto distance = static_cast<std::int64_t>(mine.begin - theirs.begin);
  return ByteBlocks::of<Views>(first).meet(ByteBlocks::of<Views>(second), distance);
}

TEST(Overlap, IsExact) {
  std::mt19937 random{1};
  const auto up_to = [&random](std::size_t most) {
    return std::uniform_int_distribution<std::size_t>{0, most}(random);
  };
  int found = 0, apart = 0;
  for (int round = 0; round < 4000; ++round) {
    Layout layouts[2];
    for (Layout& layout : layouts) {
      layout.wide = up_to(3) == 0;
      layout.at = 2 * up_to(40);
      for (std::size_t rank = up_to(3); rank > 0; --rank) {
        layout.sizes.push_back(static_cast<std::int64_t>(up_to(4)));
        layout.strides.push_back(static_cast<std::int64_t>(up_to(up_to(1) == 0 ? 4 : 12)));
      }
    }
    bool expected = false;
    const auto bytes = bytes_of(layouts[1]);
    for (const std::size_t byte : bytes_of(layouts[0])) expected |= bytes.contains(byte);
    (expected ? found : apart) += 1;
    ASSERT_EQ(overlap(layouts[0], layouts[1]), expected) << round;
    ASSERT_EQ(overlap(layouts[1], layouts[0]), expected) << round;
  }
  EXPECT_GT(found, 400);
  EXPECT_GT(apart, 400);
}

TEST(Overlap, OfSlicesIsToldFromTheirFirstBlocks) {
  // The left and the right half of a matrix of 2^40 rows.
  constexpr std::int64_t rows = std::int64_t{1} << 40;
  const Layout left{0, {rows, 4}, {8, 1}}, right{8, {rows, 4}, {8, 1}}, both{0, {rows, 5}, {8, 1}};
  EXPECT_FALSE(overlap(left, right));
  EXPECT_TRUE(overlap(both, right));
}

TEST(Overlap, CountsWhereTheModelWrites) {
  const auto spec_of = [](int written) {
    std::string inputs;
    for (int i = 0; i < 70; ++i) {
      inputs += aoti::detail::concat(
          {i == 0 ? "" : ",", R"({"name":"x)", i,
           R"(","dtype":"int16","device":"cpu","shape":[{"min":0}],"mutated":)",
           i == written ? "true}" : "false}"});
    }
    return std::move(ModelSpec::parse(aoti::detail::concat({R"({"version":1,"inputs":[)", inputs,
                                                            R"(],"outputs":[]})"}),
                                      "spec"))
        .value();
  };
  std::vector<TensorView> views;
  for (std::size_t i = 0; i < 70; ++i) views.push_back(view({32 * i, {16}, {1}}));
  aoti::detail::Overlap found;
  const auto finds = [&](int written) {
    return aoti::detail::find_overlap<Views, aoti::Native>(spec_of(written), {}, std::span{views},
                                                           found);
  };
  EXPECT_FALSE(finds(66));
  views[69] = views[3];
  EXPECT_FALSE(finds(66));
  for (const int written : {3, 69}) {
    ASSERT_TRUE(finds(written));
    EXPECT_EQ(found.input, static_cast<std::size_t>(written));
    EXPECT_EQ(found.input + found.other, 72u);
    EXPECT_FALSE(found.weight);
  }
  views[69] = view({96, {0}, {1}});
  EXPECT_FALSE(finds(3));
}

}  // namespace
