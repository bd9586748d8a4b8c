// SPDX-License-Identifier: BSD-3-Clause
// A model's container behind the C boundary: the functions of exports.inc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "aoti/abi/array_ref.hpp"
#include "aoti/abi/exports.hpp"
#include "aoti/model/exported_alone.hpp"

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

/// The functions of exports.inc for one kind of model, under the names of their rows.
template <class Instance> class Exported : public ExportedAlone<Instance> {
  using Base = Boundary<Instance>;
  using typename Base::C;
  using typename Base::Code;
  using typename Base::E;
  using typename Base::Entries;
  using typename Base::Entry;
  using typename Base::Here;
  using typename Base::M;
  using typename Base::Map;
  using typename Base::Tensors;

 public:
  // Creating and deleting.
  static Code create(C* out, std::size_t instances, bool cpu, const char* kernels) noexcept {
    return create_with_device(out, instances, cpu ? "cpu" : "cuda", kernels);
  }
  static Code create_with_device(C* out, std::size_t instances, const char* device,
                                 const char* kernels) noexcept {
    return Base::template answer<&E::create_with_device>([&]() -> Result<void> {
      AOTI_TRYV(Base::not_null(out));
      AOTI_TRY(auto made, Here::create(instances, device, kernels));
      *out = reinterpret_cast<C>(made.release());
      return success();
    });
  }
  static Code create_with_external_constants(C* out, std::size_t instances, const char* device,
                                             const char* kernels, Entries given,
                                             std::size_t count) noexcept {
    return Base::template answer<&E::create_with_external_constants>([&]() -> Result<void> {
      AOTI_TRYV(Base::not_null(out));
      const detail::NoGradients guard;
      AOTI_TRY(auto made, Here::create(instances, device, kernels, false));
      AOTI_TRYV(made->update(Base::span(given, count), false, false, true, false));
      AOTI_TRYV(made->fold(false, nullptr, nullptr));
      *out = reinterpret_cast<C>(made.release());
      return success();
    });
  }
  static Code delete_container(C handle) noexcept {
    delete reinterpret_cast<Here*>(handle);
    return 0;
  }

  // Running.
  static Code run(C handle, Tensors in, std::size_t in_count, Tensors out, std::size_t out_count,
                  AOTInductorStreamHandle stream, AOTIProxyExecutorHandle proxy) noexcept {
    return Base::template on<&E::run>(handle, [&](Here& here) {
      const detail::NoGradients guard;
      return here.run(in, in_count, out, out_count, stream, proxy);
    });
  }
  static Code run_single_threaded(C handle, Tensors in, std::size_t in_count, Tensors out,
                                  std::size_t out_count, AOTInductorStreamHandle stream,
                                  AOTIProxyExecutorHandle proxy) noexcept {
    return Base::template on<&E::run_single_threaded>(handle, [&](Here& here) {
      const detail::NoGradients guard;
      return here.run_single_threaded(in, in_count, out, out_count, stream, proxy);
    });
  }

  // Inputs and outputs.
  static Code get_num_inputs(C handle, std::size_t* out) noexcept {
    return Base::template tell<&E::get_num_inputs>(
        handle, out, [](Here& here) { return here.description().inputs.size(); });
  }
  static Code get_num_outputs(C handle, std::size_t* out) noexcept {
    return Base::template tell<&E::get_num_outputs>(
        handle, out, [](Here& here) { return here.description().outputs.size(); });
  }
  static Code get_input_name(C handle, std::size_t i, const char** out) noexcept {
    return Base::template tell_of<&E::get_input_name>(handle, &Description::inputs, i, out,
                                                      [](const char* name) { return name; });
  }
  static Code get_output_name(C handle, std::size_t i, const char** out) noexcept {
    return Base::template tell_of<&E::get_output_name>(handle, &Description::outputs, i, out,
                                                       [](const char* name) { return name; });
  }
  static Code get_call_spec(C handle, const char** in, const char** out) noexcept {
    return Base::template on<&E::get_call_spec>(handle, [&](Here& here) -> Result<void> {
      AOTI_TRYV(Base::not_null(in, out));
      *in = here.description().inputs_spec.c_str();
      *out = here.description().outputs_spec.c_str();
      return success();
    });
  }

  // What the constants are.
  static Code get_num_constants(C handle, std::size_t* out) noexcept {
    return Base::template tell<&E::get_num_constants>(
        handle, out, [](Here& here) { return here.description().constants.size(); });
  }
  static Code get_constant_name(C handle, std::size_t i, const char** out) noexcept {
    return Base::template tell_of<&E::get_constant_name>(
        handle, &Description::constants, i, out,
        [](const Constant& one) { return one.name.c_str(); });
  }
  static Code get_constant_original_fqn(C handle, std::size_t i, const char** out) noexcept {
    return Base::template tell_of<&E::get_constant_original_fqn>(
        handle, &Description::constants, i, out,
        [](const Constant& one) { return one.fqn.c_str(); });
  }
  static Code get_constant_from_folded(C handle, std::size_t i, bool* out) noexcept {
    return Base::template tell_of<&E::get_constant_from_folded>(
        handle, &Description::constants, i, out, [](const Constant& one) { return one.folded; });
  }
  static Code get_constant_dtype(C handle, std::size_t i, std::int32_t* out) noexcept {
    return Base::template tell_of<&E::get_constant_dtype>(
        handle, &Description::constants, i, out,
        [](const Constant& one) { return static_cast<std::int32_t>(one.dtype); });
  }
  static Code get_constant_type(C handle, std::size_t i, std::int32_t* out) noexcept {
    return Base::template tell_of<&E::get_constant_type>(
        handle, &Description::constants, i, out,
        [](const Constant& one) { return static_cast<std::int32_t>(one.kind); });
  }
  static Code get_constant_data_size(C handle, std::size_t i, std::size_t* out) noexcept {
    return Base::template tell_of<&E::get_constant_data_size>(
        handle, &Description::constants, i, out, [](const Constant& one) { return one.bytes; });
  }
  static Code get_constants_blob_size(C handle, std::uint64_t* out) noexcept {
    return Base::template tell<&E::get_constants_blob_size>(
        handle, out, [](Here& here) { return std::uint64_t{here.description().blob_size()}; });
  }
  static Code did_call_load_constants(C handle, bool* out) noexcept {
    return Base::template tell<&E::did_call_load_constants>(
        handle, out, [](Here& here) { return here.has_loaded(); });
  }

  // Constants through a map, which is torch's: host and model share one C++ standard library.
  static Code update_constant_buffer(C handle, AOTInductorConstantMapHandle map, bool inactive,
                                     bool full) noexcept {
    return update<&E::update_constant_buffer>(handle, map, inactive, full);
  }
  static Code update_inactive_constant_buffer(C handle, AOTInductorConstantMapHandle map) noexcept {
    return update<&E::update_inactive_constant_buffer>(handle, map, true, true);
  }
  static Code update_user_managed_constant_buffer(C handle, AOTInductorConstantMapHandle map,
                                                  bool inactive, bool full) noexcept {
    return update<&E::update_user_managed_constant_buffer>(handle, map, inactive, full, true);
  }
  static Code update_constant_buffer_from_cpu(C handle, AOTInductorConstantMapHandle map,
                                              bool inactive, bool full) noexcept {
    return update<&E::update_constant_buffer_from_cpu>(handle, map, inactive, full, false, true);
  }
  static Code extract_constants_map(C handle, AOTInductorConstantMapHandle map,
                                    bool inactive) noexcept {
    return Base::template on<&E::extract_constants_map>(handle, [&](Here& here) -> Result<void> {
      AOTI_TRYV(Base::not_null(map));
      here.extract(inactive, [&](const Entry& entry) {
        reinterpret_cast<Map*>(map)->emplace(entry.name, entry.tensor);
      });
      return success();
    });
  }

  // Constants through an array of plain C entries.
  static Code update_constant_buffer_pairs(C handle, Entries given, std::size_t count,
                                           bool inactive, bool full) noexcept {
    return update<&E::update_constant_buffer_pairs>(handle, Base::span(given, count), inactive,
                                                    full);
  }
  static Code update_inactive_constant_buffer_pairs(C handle, Entries given,
                                                    std::size_t count) noexcept {
    return update<&E::update_inactive_constant_buffer_pairs>(handle, Base::span(given, count), true,
                                                             true);
  }
  static Code update_user_managed_constant_buffer_pairs(C handle, Entries given, std::size_t count,
                                                        bool inactive, bool full) noexcept {
    return update<&E::update_user_managed_constant_buffer_pairs>(handle, Base::span(given, count),
                                                                 inactive, full, true);
  }
  static Code update_constant_buffer_from_cpu_pairs(C handle, Entries given, std::size_t count,
                                                    bool inactive, bool full) noexcept {
    return update<&E::update_constant_buffer_from_cpu_pairs>(handle, Base::span(given, count),
                                                             inactive, full, false, true);
  }
  static Code extract_constants_map_entries(C handle, Entries* out, std::size_t* count,
                                            bool inactive) noexcept {
    return Base::template on<&E::extract_constants_map_entries>(
        handle, [&](Here& here) -> Result<void> {
          AOTI_TRYV(Base::not_null(out, count));
          const std::span<const Entry> all = here.entries(inactive);
          *out = all.empty() ? nullptr : reinterpret_cast<Entries>(all.data());
          *count = all.size();
          return success();
        });
  }

  // Folding, swapping and freeing the constants.
  static Code run_constant_folding(C handle, bool inactive, AOTInductorStreamHandle stream,
                                   AOTIProxyExecutorHandle proxy) noexcept {
    return Base::template on<&E::run_constant_folding>(handle, [&](Here& here) {
      const detail::NoGradients guard;
      return here.fold(inactive, stream, proxy);
    });
  }
  static Code swap_constant_buffer(C handle) noexcept {
    return Base::template on<&E::swap_constant_buffer>(
        handle, [](Here& here) -> Result<void> { return here.swap(), success(); });
  }
  static Code free_inactive_constant_buffer(C handle) noexcept {
    return Base::template on<&E::free_inactive_constant_buffer>(
        handle, [](Here& here) -> Result<void> { return here.free_inactive(), success(); });
  }

  // Stream affinity.
  static Code set_use_stream_affinity(C handle, bool use) noexcept {
    return Base::template on<&E::set_use_stream_affinity>(handle,
                                                          [&](Here&) -> Result<void> {
                                                            if (!use) return success();
                                                            return Error{Errc::unsupported, abi::export_row<&E::set_use_stream_affinity>.symbol,
                   "this model has no instances for streams; open it without stream affinity"};
                                                          });
  }
  static Code get_stream_affinity_model_index_for_testing(C handle, AOTInductorStreamHandle,
                                                          std::int64_t* out) noexcept {
    constexpr std::int64_t disabled = -2;  // torch's AOTI_STREAM_AFFINITY_DISABLED
    return Base::template tell<&E::get_stream_affinity_model_index_for_testing>(
        handle, out, [=](Here&) { return disabled; });
  }

  // Weights in a blob.
  static Code model_update_constants_from_blob(C handle, const std::uint8_t* blob) noexcept {
    return Base::template on<&E::model_update_constants_from_blob>(handle, [&](Here& here) {
      const detail::NoGradients guard;
      return here.use_blob(blob);
    });
  }

  static Code get_last_error(const char** out) noexcept {
    if (out == nullptr) return 1;
    *out = detail::last_error().c_str();
    return 0;
  }

  // How constants are copied to a device: this model makes no such copies itself.
  static Code set_use_pinned_async_constants_copy(bool) noexcept { return 0; }
  static Code set_pinned_async_constants_copy_stage_buffer_bytes(std::size_t) noexcept { return 0; }
  static Code set_pinned_async_constants_copy_cpu_threads(std::size_t) noexcept { return 0; }

  /// All of them; a row without a function does not compile.
  static constexpr abi::ModelExports table() noexcept {
    abi::ModelExports table;
#define AOTI_ROW(member, symbol, need, major, minor, result, parameters) \
  table.member = &Exported::member;
#include "aoti/abi/exports.inc"
    if constexpr (requires { Instance::takes_views; }) {
      if (!Instance::takes_views) table.model_run_minimal_arrayref_interface_v2 = nullptr;
    }
    return table;
  }

 private:
  template <auto member>
  static Code update(C handle, AOTInductorConstantMapHandle map, bool inactive, bool full,
                     bool share = false, bool from_cpu = false) noexcept {
    return Base::template on<member>(handle, [&](Here& here) -> Result<void> {
      AOTI_TRYV(Base::not_null(map));
      const detail::NoGradients guard;
      return here.update(Base::entries(map), inactive, full, share, from_cpu);
    });
  }
  template <auto member>
  static Code update(C handle, std::span<const Entry> given, bool inactive, bool full,
                     bool share = false, bool from_cpu = false) noexcept {
    return Base::template on<member>(handle, [&](Here& here) {
      const detail::NoGradients guard;
      return here.update(given, inactive, full, share, from_cpu);
    });
  }
};

}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
