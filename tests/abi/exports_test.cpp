#include <aoti/abi/exports.hpp>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <set>
#include <string>
#include <type_traits>

#include "support/support.hpp"

namespace {

using aoti::Errc;
using aoti::abi::ModelExports;
using aoti::abi::Need;
using aoti::abi::Row;

static_assert(std::is_trivially_copyable_v<ModelExports>);
static_assert(sizeof(ModelExports) == std::size(aoti::abi::export_rows) * sizeof(void*));

// A different address for each symbol.
char addresses[std::size(aoti::abi::export_rows)];

void* address_of(const std::string& symbol) {
  for (std::size_t i = 0; i < std::size(addresses); ++i) {
    if (symbol == aoti::abi::export_rows[i].symbol) return &addresses[i];
  }
  return nullptr;
}

/// Resolves everything except these.
auto all_but(std::set<std::string> missing) {
  return [missing](const char* symbol) {
    return missing.count(symbol) != 0 ? nullptr : address_of(symbol);
  };
}

TEST(ResolveExports, FillsEveryMemberWithItsOwnSymbol) {
  const auto result = aoti::abi::resolve_exports(all_but({}));
  ASSERT_TRUE(aoti_test::good(result));
  const ModelExports& table = result.value();
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) \
  EXPECT_EQ(reinterpret_cast<void*>(table.member), address_of(#symbol)) << #symbol;
#include <aoti/abi/exports.inc>
}

TEST(ResolveExports, NamesEachRequiredFunctionThatIsMissing) {
  for (const Row& row : aoti::abi::export_rows) {
    const auto result = aoti::abi::resolve_exports(all_but({row.symbol}));
    if (row.need == Need::required) {
      aoti_test::expect_error(result, Errc::missing_export, {row.symbol});
    } else {
      EXPECT_TRUE(aoti_test::good(result)) << row.symbol;
    }
  }
}

TEST(ResolveExports, NamesAllThatAreMissingAtOnce) {
  const auto none = aoti::abi::resolve_exports([](const char*) -> void* { return nullptr; });
  ASSERT_FALSE(none);
  std::string expected;
  for (const Row& row : aoti::abi::export_rows) {
    if (row.need == Need::required)
      expected.append(expected.empty() ? "" : ", ").append(row.symbol);
  }
  EXPECT_THAT(std::string{none.error().text()}, testing::EndsWith(expected));
}

TEST(ExportRow, BelongsToItsMember) {
  EXPECT_STREQ(aoti::abi::export_row<&ModelExports::run>.symbol, "AOTInductorModelContainerRun");
  EXPECT_EQ(aoti::abi::export_row<&ModelExports::run>.need, Need::required);
  EXPECT_STREQ(aoti::abi::export_row<&ModelExports::get_last_error>.symbol,
               "AOTInductorGetLastError");
  EXPECT_EQ(aoti::abi::export_row<&ModelExports::get_last_error>.need, Need::optional);
}

// A model that has only the function for its last error.
const char* last_error = nullptr;
AOTIRuntimeError swap_result = 0;
AOTIRuntimeError swap_buffers(AOTInductorModelContainerHandle) { return swap_result; }
AOTIRuntimeError get_last_error(const char** out) {
  *out = last_error;
  return 0;
}

TEST(Call, TellsWhyAFunctionFailed) {
  const struct {
    AOTIRuntimeError result;
    const char* text;
    bool can_tell;
    Errc code;
    const char* part;
  } cases[] = {
      {0, "old words", true, Errc::none, ""},
      {3, "the reason", true, Errc::model_failed, "the reason"},
      {3, "", true, Errc::model_failed, "gave no reason"},
      {3, nullptr, true, Errc::model_failed, "gave no reason"},
      {3, "the reason", false, Errc::model_failed,
       "before torch 2.13 models only print the reason"},
      {1, "HIP out of memory. Tried", true, Errc::out_of_memory, "out of memory"},
      {1, "std::bad_alloc", true, Errc::out_of_memory, "bad_alloc"},
      {1, "DefaultCPUAllocator: not enough memory: you tried", true, Errc::out_of_memory,
       "you tried"},
      {1, "DefaultCPUAllocator: can't allocate memory: you", true, Errc::out_of_memory, "can't"},
  };
  for (const auto& [native, text, can_tell, code, part] : cases) {
    ModelExports table;
    table.swap_constant_buffer = swap_buffers;
    if (can_tell) table.get_last_error = get_last_error;
    swap_result = native;
    last_error = text;
    const auto result = aoti::abi::call<&ModelExports::swap_constant_buffer>(table, nullptr);
    if (code == Errc::none) {
      EXPECT_TRUE(aoti_test::good(result));
      continue;
    }
    aoti_test::expect_error(result, code, {"AOTInductorModelContainerSwapConstantBuffer", part});
    EXPECT_EQ(result.error().native_code(), native);
  }
}

TEST(Call, OfAFunctionThatTheModelLacksNamesItAndItsFirstRelease) {
  const ModelExports table;
  const auto result = aoti::abi::call<&ModelExports::free_inactive_constant_buffer>(table, nullptr);
  aoti_test::expect_error(result, Errc::unsupported,
                          {"AOTInductorModelContainerFreeInactiveConstantBuffer", "torch 2.8"});
}

}  // namespace
