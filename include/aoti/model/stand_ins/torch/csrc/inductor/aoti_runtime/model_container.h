// SPDX-License-Identifier: BSD-3-Clause
// Stands in for torch's header of this name. The functions that call this container are part of
// what Inductor generates, and have to compile; programs use those that aoti/model/exported.hpp
// makes.
#pragma once

#include <torch/csrc/inductor/aoti_runtime/interface.h>
#include <torch/csrc/inductor/aoti_runtime/model.h>

#include <cstdlib>
#include <string>
#include <unordered_map>
#include <vector>

namespace torch::aot_inductor {

/// Is never made.
class AOTInductorModelContainer {
 public:
  template <class... Arguments> explicit AOTInductorModelContainer(Arguments&&...) { std::abort(); }

  template <class... A> void run(A&&...) {}
  template <class... A> void run_single_threaded(A&&...) {}
  template <class... A> void run_const_fold(A&&...) {}
  template <class... A> void update_constant_buffer(A&&...) {}
  template <class... A> void update_inactive_constant_buffer(A&&...) {}
  template <class... A> void update_constants_from_blob(A&&...) {}
  void swap_constant_buffer() {}
  void free_inactive_constant_buffer() {}
  void set_use_stream_affinity(bool) {}
  std::int64_t get_stream_affinity_model_index(void*) { return 0; }
  std::unordered_map<std::string, AtenTensorHandle> extract_constants_map(bool) { return {}; }
  const std::vector<AOTInductorConstantMapEntry>& extract_constants_map_entries(bool) {
    return none_;
  }
  std::size_t num_inputs() { return 0; }
  std::size_t num_outputs() { return 0; }
  std::size_t num_constants() { return 0; }
  std::uint64_t constant_blob_size() { return 0; }
  bool did_call_load_constants() { return false; }
  const char* input_name(std::size_t) { return nullptr; }
  const char* output_name(std::size_t) { return nullptr; }
  const char* constant_name(std::size_t) { return nullptr; }
  const char* constant_original_fqn(std::size_t) { return nullptr; }
  bool constant_from_folded(std::size_t) { return false; }
  std::int32_t constant_type(std::size_t) { return 0; }
  std::int32_t constant_dtype(std::size_t) { return 0; }
  std::size_t constant_data_size(std::size_t) { return 0; }
  const char* get_in_spec() { return nullptr; }
  const char* get_out_spec() { return nullptr; }

 private:
  std::vector<AOTInductorConstantMapEntry> none_;
};

}  // namespace torch::aot_inductor
