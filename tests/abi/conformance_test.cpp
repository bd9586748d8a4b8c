// Compares the rows of exports.inc and imports.inc with the headers and libraries of the installed
// torch.
#include <aoti/abi/handles.hpp>

// Declares the functions for CUDA and XPU as well, which need no header of theirs.
#ifndef USE_CUDA
#define USE_CUDA
#endif
#ifndef USE_XPU
#define USE_XPU
#endif
#include <torch/csrc/inductor/aoti_runtime/interface.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#if __has_include(<torch/csrc/inductor/aoti_torch/c/shim_cpu.h>)
#include <torch/csrc/inductor/aoti_torch/c/shim_cpu.h>
#endif
#if __has_include(<torch/csrc/inductor/aoti_torch/c/shim_mps.h>)
#include <torch/csrc/inductor/aoti_torch/c/shim_mps.h>
#endif
#if __has_include(<torch/csrc/inductor/aoti_torch/c/shim_xpu.h>)
#include <torch/csrc/inductor/aoti_torch/c/shim_xpu.h>
#endif
#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>
#include <torch/version.h>

#include <ATen/Config.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <utility>

// Each row declares its function once more. C functions cannot be overloaded, so a row whose types
// are not those of torch's header does not compile; and a function that the installed torch does
// not have yet, or that its build leaves out, is merely declared, where decltype(&function) would
// fail.
extern "C" {
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) result symbol parameters;
#include <aoti/abi/exports.inc>
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) result symbol parameters;
#include <aoti/abi/imports.inc>
}

namespace {

struct Row {
  std::string_view member;
  std::string_view symbol;
  bool required;
  std::pair<int, int> since;
};

constexpr bool required = true;
constexpr bool optional = false;

constexpr Row export_rows[] = {
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) \
  {#member, #symbol, need, {major, minor}},
#include <aoti/abi/exports.inc>
};

constexpr Row import_rows[] = {
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) \
  {#member, #symbol, need, {major, minor}},
#include <aoti/abi/imports.inc>
};

#ifdef AOTI_ROW
#error "The row files leave AOTI_ROW defined."
#endif

constexpr std::pair installed{TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR};

template <std::size_t N> std::ptrdiff_t count_required(const Row (&rows)[N]) {
  return std::count_if(std::begin(rows), std::end(rows),
                       [](const Row& row) { return row.required; });
}

template <std::size_t N> void expect_distinct(const Row (&rows)[N]) {
  std::set<std::string_view> members;
  std::set<std::string_view> symbols;
  for (const Row& row : rows) {
    EXPECT_TRUE(members.insert(row.member).second) << "two rows for the member " << row.member;
    EXPECT_TRUE(symbols.insert(row.symbol).second) << "two rows for " << row.symbol;
  }
}

// The functions that torch's interface.h declares: its names AOTInductor… before an opening
// bracket.
std::set<std::string> functions_of_interface_header() {
  std::ifstream file{AOTI_TORCH_INTERFACE_H};
  EXPECT_TRUE(file) << "cannot read " << AOTI_TORCH_INTERFACE_H;
  std::string text;
  for (std::string line; std::getline(file, line);) {
    text.append(line, 0, line.find("//")).push_back('\n');
  }
  const auto in_name = [](unsigned char c) { return std::isalnum(c) || c == '_'; };
  const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
  std::set<std::string> names;
  for (auto at = text.begin(); at != text.end();) {
    const auto name = std::find_if(at, text.end(), in_name);
    const auto name_end = std::find_if_not(name, text.end(), in_name);
    const auto next = std::find_if_not(name_end, text.end(), is_space);
    std::string word{name, name_end};
    if (word.starts_with("AOTInductor") && next != text.end() && *next == '(') {
      names.insert(std::move(word));
    }
    at = name_end;
  }
  return names;
}

// Whether a row's function can be in this process: builds of torch differ in what they contain.
bool is_built(std::string_view symbol) {
  static const bool cuda = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD) != nullptr;
  static const bool xpu = dlopen("libtorch_xpu.so", RTLD_LAZY | RTLD_NOLOAD) != nullptr;
  if (symbol.find("cuda_") != symbol.npos) return cuda;
  if (symbol.find("xpu_") != symbol.npos) return xpu;
  if (symbol.find("mps_") != symbol.npos) return false;
  if (symbol == "aoti_torch_cpu_mkldnn_rnn_layer" || symbol == "aoti_torch_cpu__linear_pointwise") {
    return AT_MKLDNN_ENABLED();
  }
  return true;
}

TEST(ExportRows, HaveTheExpectedNumber) {
  EXPECT_EQ(std::size(export_rows), 48u);
  EXPECT_EQ(count_required(export_rows), 17);
  expect_distinct(export_rows);
}

TEST(ExportRows, AreTheFunctionsOfTheInstalledHeader) {
  const std::set<std::string> declared = functions_of_interface_header();
  EXPECT_FALSE(declared.empty());
  for (const std::string& name : declared) {
    const bool has_row = std::any_of(std::begin(export_rows), std::end(export_rows),
                                     [&](const Row& row) { return row.symbol == name; });
    EXPECT_TRUE(has_row) << name << " has no row in exports.inc";
  }
  for (const Row& row : export_rows) {
    EXPECT_EQ(declared.count(std::string{row.symbol}) == 1, row.since <= installed)
        << row.symbol << ", by its row since torch " << row.since.first << "." << row.since.second;
  }
}

TEST(ImportRows, HaveTheExpectedNumber) {
  EXPECT_EQ(std::size(import_rows), 143u);
  EXPECT_EQ(count_required(import_rows), 20);
  expect_distinct(import_rows);
}

TEST(ImportRows, NameTheirMembersAfterTheirFunctions) {
  for (const Row& row : import_rows) {
    const std::string member{row.member};
    EXPECT_TRUE(row.symbol == "aoti_torch_" + member || row.symbol == "aoti_" + member)
        << row.symbol;
  }
}

TEST(ImportRows, AreInTheInstalledTorch) {
  // Calls one function, so that the linker keeps the library.
  ASSERT_EQ(aoti_torch_device_type_cpu(), 0);
  for (const Row& row : import_rows) {
    if (row.since > installed || !is_built(row.symbol)) continue;
    EXPECT_NE(dlsym(RTLD_DEFAULT, std::string{row.symbol}.c_str()), nullptr) << row.symbol;
  }
}

}  // namespace
