// Compares the rows of exports.inc and imports.inc with the headers and libraries of the installed
// torch.
#include <aoti/abi/handles.hpp>

// Declares the functions for CUDA and XPU too, which need no CUDA or XPU header.
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

// Each row declares its function again. C functions cannot be overloaded, so a row whose types
// differ from those of torch's header does not compile. A function that the installed torch does
// not have yet, or that its build leaves out, is merely declared; decltype(&function) would fail
// for it.
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

// The functions that a torch header declares: names with a prefix before an opening bracket.
std::set<std::string> functions_of_header(const std::string& path, std::string_view prefix) {
  std::ifstream file{AOTI_TORCH_INDUCTOR_DIR "/" + path};
  EXPECT_TRUE(file) << "cannot read " << path;
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
    if (word.starts_with(prefix) && next != text.end() && *next == '(') {
      names.insert(std::move(word));
    }
    at = name_end;
  }
  EXPECT_FALSE(names.empty()) << path;
  return names;
}

/// Functions that torch 2.15 declares and imports.inc lacks.
const std::set<std::string> without_row{
    // For extensions that define operators themselves, not for models.
    "aoti_torch_abi_version",
    "aoti_torch_delete_library_object",
    "aoti_torch_library_def",
    "aoti_torch_library_impl",
    "aoti_torch_library_init_def",
    "aoti_torch_library_init_fragment",
    "aoti_torch_library_init_impl",
    // For accelerators, through torch's common interface to them.
    "aoti_torch_create_device_guard",
    "aoti_torch_delete_device_guard",
    "aoti_torch_delete_stream",
    "aoti_torch_device_guard_set_index",
    "aoti_torch_get_current_stream",
    "aoti_torch_stream_id",
    // Operators on quantised or packed weights, which need torch's or FBGEMM's layouts.
    "aoti_torch_cpu__qconv2d_pointwise_binary_tensor",
    "aoti_torch_cpu__qconv_pointwise_tensor",
    "aoti_torch_cpu__qlinear_pointwise_binary_tensor",
    "aoti_torch_cpu__qlinear_pointwise_tensor",
    "aoti_torch_cpu__weight_int4pack_mm_cpu_tensor",
    "aoti_torch_cpu__wrapped_linear_prepack",
    "aoti_torch_cpu__wrapped_quantized_linear_prepacked",
    "aoti_torch_cpu_wrapped_fbgemm_linear_fp16_weight",
    "aoti_torch_cpu_wrapped_fbgemm_pack_gemm_matrix_fp16",
    // Communication between processes, through torch's process groups.
    "aoti_torch_cpu__c10d_functional_all_reduce",
    "aoti_torch_cpu__c10d_functional_all_reduce_",
    "aoti_torch_cpu__c10d_functional_wait_tensor",
    // Missing operators: random numbers, which come from torch's generator.
    "aoti_torch_cpu_bernoulli__Tensor",
    "aoti_torch_cpu_bernoulli__float",
    "aoti_torch_cpu_exponential",
    "aoti_torch_cpu_native_dropout",
    "aoti_torch_cpu_normal_functional",
    "aoti_torch_cpu_rand",
    "aoti_torch_cpu_rand_generator",
    "aoti_torch_cpu_rand_like",
    "aoti_torch_cpu_rand_like_generator",
    "aoti_torch_cpu_randint",
    "aoti_torch_cpu_randint_generator",
    "aoti_torch_cpu_randint_like",
    "aoti_torch_cpu_randint_like_low_dtype",
    "aoti_torch_cpu_randint_low",
    "aoti_torch_cpu_randn",
    "aoti_torch_cpu_randn_generator",
    "aoti_torch_cpu_randn_like",
    "aoti_torch_cpu_randn_like_generator",
    "aoti_torch_cpu_randperm",
    "aoti_torch_cpu_uniform",
    // Missing operators: gradients, which are only used in training.
    "aoti_torch_cpu__adaptive_avg_pool2d_backward",
    "aoti_torch_cpu__adaptive_avg_pool3d_backward",
    "aoti_torch_cpu__cdist_backward",
    "aoti_torch_cpu__embedding_bag_dense_backward",
    "aoti_torch_cpu__embedding_bag_per_sample_weights_backward",
    "aoti_torch_cpu__pdist_backward",
    "aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu_backward",
    "aoti_torch_cpu__scaled_dot_product_fused_attention_overrideable_backward",
    "aoti_torch_cpu__segment_reduce_backward",
    "aoti_torch_cpu_adaptive_max_pool2d_backward",
    "aoti_torch_cpu_adaptive_max_pool3d_backward",
    "aoti_torch_cpu_avg_pool2d_backward",
    "aoti_torch_cpu_avg_pool3d_backward",
    "aoti_torch_cpu_convolution_backward",
    "aoti_torch_cpu_fractional_max_pool2d_backward",
    "aoti_torch_cpu_fractional_max_pool3d_backward",
    "aoti_torch_cpu_grid_sampler_2d_backward",
    "aoti_torch_cpu_grid_sampler_3d_backward",
    "aoti_torch_cpu_masked_scatter_backward",
    "aoti_torch_cpu_max_pool2d_with_indices_backward",
    "aoti_torch_cpu_max_pool3d_with_indices_backward",
    "aoti_torch_cpu_replication_pad1d_backward",
    "aoti_torch_cpu_replication_pad2d_backward",
    "aoti_torch_cpu_soft_margin_loss_backward",
    "aoti_torch_cpu_upsample_bicubic2d_backward",
    "aoti_torch_cpu_upsample_linear1d_backward",
    "aoti_torch_cpu_upsample_trilinear3d_backward",
    // Missing operators: those that Inductor compiles to its own kernels, at least in most cases. A
    // model that imports one is refused by name, unless a provider has it.
    "aoti_torch_cpu__addmm_activation",
    "aoti_torch_cpu__dyn_quant_matmul_4bit",
    "aoti_torch_cpu__dyn_quant_pack_4bit_weight",
    "aoti_torch_cpu__efficientzerotensor",
    "aoti_torch_cpu__fused_moving_avg_obs_fq_helper",
    "aoti_torch_cpu__fused_moving_avg_obs_fq_helper_functional",
    "aoti_torch_cpu__fused_rms_norm",
    "aoti_torch_cpu__grouped_mm",
    "aoti_torch_cpu__histogramdd_from_bin_cts",
    "aoti_torch_cpu__mkl_linear",
    "aoti_torch_cpu__scaled_dot_product_fused_attention_overrideable",
    "aoti_torch_cpu__scaled_mm",
    "aoti_torch_cpu__scaled_mm_out",
    "aoti_torch_cpu__to_sparse",
    "aoti_torch_cpu__weight_int8pack_mm",
    "aoti_torch_cpu_addmv",
    "aoti_torch_cpu_fractional_max_pool2d",
    "aoti_torch_cpu_fractional_max_pool3d",
    "aoti_torch_cpu_hann_window",
    "aoti_torch_cpu_histogram_bin_ct",
    "aoti_torch_cpu_max_unpool2d",
    "aoti_torch_cpu_max_unpool3d",
    "aoti_torch_cpu_mkldnn__convolution_transpose_pointwise",
    "aoti_torch_cpu_pad",
    "aoti_torch_cpu_reshape",
    "aoti_torch_cpu_resize_",
    "aoti_torch_cpu_resize_as_",
    "aoti_torch_cpu_set__source_Tensor",
    "aoti_torch_cpu_to_sparse",
};

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
  EXPECT_EQ(count_required(export_rows), 15);
  expect_distinct(export_rows);
}

TEST(ExportRows, AreTheFunctionsOfTheInstalledHeader) {
  const std::set<std::string> declared =
      functions_of_header("aoti_runtime/interface.h", "AOTInductor");
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
  EXPECT_EQ(std::size(import_rows), 222u);
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

TEST(ImportRows, AreTheFunctionsOfTheInstalledHeadersOrTheseAreListed) {
  constexpr std::pair listed{2, 15};
  if (installed < listed) GTEST_SKIP() << "the list is of torch 2.15";
  std::set<std::string> declared;
  for (const char* header : {"c/shim.h", "c/shim_cpu.h", "generated/c_shim_cpu.h"}) {
    declared.merge(functions_of_header(std::string{"aoti_torch/"} + header, "aoti_"));
  }
  declared.erase("aoti_torch_dtype");  // a template defined in the header
  for (const std::string& name : declared) {
    const bool has_row = std::any_of(std::begin(import_rows), std::end(import_rows),
                                     [&](const Row& row) { return row.symbol == name; });
    EXPECT_NE(has_row, without_row.count(name) == 1) << name;
  }
  if (installed != listed) return;
  for (const std::string& name : without_row) EXPECT_EQ(declared.count(name), 1u) << name;
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
