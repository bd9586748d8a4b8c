#include <aoti/abi/imports.hpp>

#include <gtest/gtest.h>

#include <string_view>

namespace {

using aoti::abi::find_import;
using aoti::abi::is_runtime_symbol;

TEST(FindImport, FindsEachRowByItsExactName) {
  for (const auto& row : aoti::abi::import_rows) EXPECT_EQ(find_import(row.symbol), &row);
  EXPECT_EQ(find_import("aoti_torch_no_such_function"), nullptr);
  EXPECT_EQ(find_import("aoti_torch_empty_stride"), nullptr);
  EXPECT_EQ(find_import(""), nullptr);
}

TEST(IsRuntimeSymbol, TellsTheRuntimeFromTheCLibrary) {
  const struct {
    std::string_view symbol;
    bool expected;
  } cases[] = {
      {"aoti_torch_get_dim", true},
      {"torch_call_dispatcher", true},
      {"malloc", false},
      {"_ZSt4cout", false},
      {"", false},
  };
  for (const auto& [symbol, expected] : cases)
    EXPECT_EQ(is_runtime_symbol(symbol), expected) << symbol;
  for (const auto& row : aoti::abi::import_rows)
    EXPECT_TRUE(is_runtime_symbol(row.symbol)) << row.symbol;
}

}  // namespace
