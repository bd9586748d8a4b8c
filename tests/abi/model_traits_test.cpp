#include <aoti/abi/model_traits.hpp>

#include <string_view>

#include "support/support.hpp"

namespace {

using aoti::abi::ModelTraits;
using aoti::abi::Row;

/// The functions that a model of a release exports; earlier releases lack some.
aoti::abi::ModelExports exports_of(int minor) {
  static char function;
  return aoti::abi::resolve_exports([&](std::string_view symbol) -> void* {
           for (const Row& row : aoti::abi::export_rows) {
             if (row.symbol == symbol) return row.since.minor <= minor ? &function : nullptr;
           }
           return nullptr;
         })
      .value();
}

TEST(ModelTraits, AreThoseOfEachRelease) {
  const struct {
    bool ModelTraits::*trait;
    int first, last;  // of the releases 2.x that have it
    const char* name;
  } rows[] = {
      {&ModelTraits::runs_single_threaded, 7, 99, "runs_single_threaded"},
      {&ModelTraits::tells_errors, 13, 99, "tells_errors"},
      {&ModelTraits::first_run_is_alone, 4, 12, "first_run_is_alone"},
      {&ModelTraits::single_threaded_run_ignores_swaps, 4, 12, "single_threaded_run_ignores_swaps"},
      {&ModelTraits::keeps_tensors, 8, 99, "keeps_tensors"},
      {&ModelTraits::forgets_tensors, 8, 14, "forgets_tensors"},
      {&ModelTraits::takes_entries, 11, 99, "takes_entries"},
      {&ModelTraits::tells_sizes, 8, 99, "tells_sizes"},
      {&ModelTraits::lists_entries, 13, 99, "lists_entries"},
      {&ModelTraits::frees_inactive, 8, 99, "frees_inactive"},
      {&ModelTraits::takes_array_refs, 13, 99, "takes_array_refs"},
  };
  for (int minor = 4; minor <= 16; ++minor) {
    const ModelTraits traits = ModelTraits::of(exports_of(minor));
    for (const auto& row : rows) {
      EXPECT_EQ(traits.*row.trait, row.first <= minor && minor <= row.last)
          << row.name << " of torch 2." << minor;
    }
  }
}

}  // namespace
