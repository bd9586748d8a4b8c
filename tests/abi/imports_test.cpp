#include <aoti/abi/imports.hpp>

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>
#include <type_traits>

#include "support/support.hpp"

namespace {

using aoti::abi::find_import;
using aoti::abi::ImportTable;
using aoti::abi::is_runtime_symbol;

TEST(FindImport, FindsEachRowByItsExactName) {
  for (const auto& row : aoti::abi::import_rows) EXPECT_EQ(find_import(row.symbol), &row);
  EXPECT_EQ(find_import("aoti_torch_no_such_function"), nullptr);
  EXPECT_EQ(find_import("aoti_torch_empty_stride"), nullptr);
  EXPECT_EQ(find_import(""), nullptr);
}

AOTITorchError copies(AtenTensorHandle, AtenTensorHandle, std::int32_t non_blocking) {
  return non_blocking;
}
AOTITorchError fails(AtenTensorHandle, void**) { return 1; }

/// Has two functions, and counts how often each was looked up.
struct TwoFunctions {
  inline static std::multiset<std::string> asked;

  static void* import(const char* symbol) {
    asked.insert(symbol);
    const std::string_view name = symbol;
    if (name == "aoti_torch_copy_") return reinterpret_cast<void*>(&copies);
    return name == "aoti_torch_get_data_ptr" ? reinterpret_cast<void*>(&fails) : nullptr;
  }
};

TEST(ImportTable, HasTheFunctionsOfItsRuntime) {
  const auto& imports = ImportTable<TwoFunctions>::get();
  EXPECT_EQ(imports.copy_, &copies);
  EXPECT_EQ(imports.copy_(nullptr, nullptr, 7), 7);
  EXPECT_EQ(imports.get_data_ptr(nullptr, nullptr), 1);
  EXPECT_EQ(imports.empty_strided, nullptr);
}

// A library that is loaded later may have what was missing.
TEST(ImportTable, LooksAFunctionUpUntilItIsThere) {
  const auto& imports = ImportTable<TwoFunctions>::get();
  EXPECT_EQ(&ImportTable<TwoFunctions>::get(), &imports);
  TwoFunctions::asked.clear();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(imports.copy_, &copies);
    EXPECT_EQ(imports.empty_strided, nullptr);
  }
  EXPECT_LE(TwoFunctions::asked.count("aoti_torch_copy_"), 1);
  EXPECT_EQ(TwoFunctions::asked.count("aoti_torch_empty_strided"), 2);
  for (const std::string& symbol : TwoFunctions::asked) EXPECT_NE(find_import(symbol), nullptr);
}

TEST(ImportTable, NamesAllThatAreMissing) {
  const auto& imports = ImportTable<TwoFunctions>::get();
  EXPECT_TRUE(aoti_test::good(aoti::abi::expect("copying", imports.copy_, imports.get_data_ptr)));
  aoti_test::expect_error(aoti::abi::expect("copying", imports.empty_strided, imports.copy_,
                                            imports.get_storage_offset),
                          aoti::Errc::unsupported,
                          {"copying", "aoti_torch_empty_strided, aoti_torch_get_storage_offset"});
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
