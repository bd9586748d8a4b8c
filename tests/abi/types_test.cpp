#include <aoti/abi/types.hpp>

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace {

using aoti::DeviceType;
using aoti::DType;

static_assert(to_string(DType::float32) == "float32");
static_assert(to_string(DType::boolean) == "bool");
static_assert(element_size(DType::complex128) == 16);
static_assert(to_string(DeviceType::privateuse1) == "privateuseone");

TEST(DType, EachHasAnOwnNameAndASize) {
  std::set<std::string_view> names;
  for (const auto& row : aoti::abi::dtype_rows) {
    EXPECT_TRUE(names.insert(to_string(row.dtype)).second) << row.name;
    EXPECT_GT(element_size(row.dtype), 0u) << row.name;
  }
  EXPECT_EQ(to_string(DType{99}), "unknown dtype");
  EXPECT_EQ(element_size(DType{99}), 0u);
}

TEST(DeviceType, EachHasAnOwnName) {
  std::set<std::string_view> names;
  for (const auto& row : aoti::abi::device_type_rows) {
    EXPECT_TRUE(names.insert(to_string(row.type)).second) << row.name;
  }
  EXPECT_EQ(to_string(DeviceType{99}), "unknown device");
}

}  // namespace
