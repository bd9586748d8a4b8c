// SPDX-License-Identifier: BSD-3-Clause
// What models of different torch releases can do, and what they get wrong.
#pragma once

#include "aoti/abi/exports.hpp"

namespace aoti::inline AOTI_ABI::abi {

/// A model does not say which torch compiled it, but the functions that it exports do. Every
/// difference between releases that this library handles is listed here.
struct ModelTraits {
  /// One thread can run it without a lock. From torch 2.7 on.
  bool runs_single_threaded = false;
  /// It keeps the message of its last failure, rather than only printing it. From torch 2.13 on.
  bool tells_errors = false;
  /// In the first run on a set of weights, it releases its lock to take it again exclusively, and
  /// keeps an instance meanwhile: beside another run, this can deadlock. Up to torch 2.12.
  bool first_run_is_alone = false;
  /// …RunSingleThreaded runs on the first set of weights, even after a swap. Up to torch 2.12.
  bool single_threaded_run_ignores_swaps = false;
  /// It can keep given tensors, rather than copy them. From torch 2.8 on.
  bool keeps_tensors = false;
  /// It makes handles to tensors that it keeps, and never destroys them. Torch 2.8 to 2.14.
  bool forgets_tensors = false;
  /// It can be given tensors in a form that needs no C++ types. From torch 2.11 on.
  bool takes_entries = false;
  /// It reports the size of each constant. From torch 2.8 on.
  bool tells_sizes = false;
  /// It lists its constants' tensors in such a form. From torch 2.13 on.
  bool lists_entries = false;
  /// It can free the inactive set of weights. From torch 2.8 on.
  bool frees_inactive = false;
  /// It can run on plain descriptions of memory, if it was compiled for that. From torch 2.13 on.
  bool takes_array_refs = false;

  static constexpr ModelTraits of(const ModelExports& exports) noexcept {
    ModelTraits traits;
    traits.runs_single_threaded = exports.run_single_threaded != nullptr;
    traits.tells_errors = exports.get_last_error != nullptr;
    traits.first_run_is_alone = !traits.tells_errors;
    traits.single_threaded_run_ignores_swaps = !traits.tells_errors;
    traits.takes_entries = exports.update_user_managed_constant_buffer_pairs != nullptr;
    traits.keeps_tensors =
        traits.takes_entries || exports.update_user_managed_constant_buffer != nullptr;
    traits.forgets_tensors = traits.keeps_tensors && exports.set_use_stream_affinity == nullptr;
    traits.tells_sizes = exports.get_constant_data_size != nullptr;
    traits.lists_entries = exports.extract_constants_map_entries != nullptr;
    traits.frees_inactive = exports.free_inactive_constant_buffer != nullptr;
    traits.takes_array_refs = exports.model_run_minimal_arrayref_interface_v2 != nullptr &&
                              exports.model_create_v2 != nullptr &&
                              exports.model_update_constants_map_v2 != nullptr;
    return traits;
  }
};

}  // namespace aoti::inline AOTI_ABI::abi
