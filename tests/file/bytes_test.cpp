#include <aoti/file/bytes.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "support/support.hpp"

namespace {

using aoti::detail::within;

constexpr std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();

static_assert(within(0, 0, 0));
static_assert(within(0, 4, 4));
static_assert(within(4, 0, 4));
static_assert(!within(1, 4, 4));
static_assert(!within(5, 0, 4));
static_assert(!within(huge, 2, 4));
static_assert(!within(2, huge, 4));

TEST(Read, TakesNumbersFromAnywhereInsideAndNowhereElse) {
  const aoti::Bytes bytes = aoti_test::as_bytes("\1\2\3\4\5");
  std::uint32_t number = 77;
  ASSERT_TRUE(aoti::detail::read(bytes, 1, number));
  EXPECT_EQ(number, 0x05040302u);
  for (const std::uint64_t offset : {std::uint64_t{2}, std::uint64_t{5}, huge - 1, huge}) {
    EXPECT_FALSE(aoti::detail::read(bytes, offset, number)) << offset;
  }
  EXPECT_EQ(number, 0x05040302u);
}

}  // namespace
