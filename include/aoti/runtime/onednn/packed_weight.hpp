// SPDX-License-Identifier: BSD-3-Clause
// A weight in the layout that a oneDNN primitive wants, kept with the weight.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <cstddef>
#include <cstdint>

#include "aoti/atomic.hpp"
#include "aoti/runtime/native/forms.hpp"
#include "aoti/runtime/native/pool.hpp"
#include "aoti/runtime/onednn/primitives.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

/// A weight in the layout that a primitive wants.
struct PackedWeight : Form {
  dnnl_memory_t from, to;  ///< The weight, and this form of it.

  /// How many have been made in this process.
  inline static Atomic<std::uint64_t> made{0};
  /// How much memory those take that are kept.
  inline static Atomic<std::uint64_t> bytes{0};

  /// Null if there is none.
  static PackedWeight* find(const Forms& forms, const void* data, Description weight,
                            Description wanted) noexcept {
    for (Form* form = forms.first(); form != nullptr; form = form->following) {
      if (form->kind != &kind) continue;
      auto& packed = static_cast<PackedWeight&>(*form);
      if (data_of(packed.from) == data && same(description_of(packed.from), weight) &&
          same(description_of(packed.to), wanted)) {
        return &packed;
      }
    }
    return nullptr;
  }

  /// Packs a weight; null if that fails.
  static PackedWeight* pack(const void* data, Description weight, Description wanted) noexcept {
    PackedWeight* packed = make(data, weight, wanted);
    if (packed == nullptr || packed->fill()) return packed;
    packed->drop();
    return nullptr;
  }

  void* data() const noexcept { return data_of(to); }

 private:
  /// With uninitialised elements; null if memory runs out.
  static PackedWeight* make(const void* data, Description weight, Description wanted) noexcept {
    constexpr std::size_t front = (sizeof(PackedWeight) + 63) / 64 * 64;
    auto* packed =
        static_cast<PackedWeight*>(Pool::allocate(front + dnnl_memory_desc_get_size(wanted)));
    if (packed == nullptr) return nullptr;
    packed->Form::kind = &kind;
    packed->from = packed->to = nullptr;
    if (dnnl_memory_create(&packed->from, weight, engine(), const_cast<void*>(data)) ==
            dnnl_success &&
        dnnl_memory_create(&packed->to, wanted, engine(),
                           reinterpret_cast<std::byte*>(packed) + front) == dnnl_success) {
      bytes.add(dnnl_memory_desc_get_size(wanted));
      return packed;
    }
    packed->drop();
    return nullptr;
  }
  void drop() noexcept {
    destroy(*this);
    Pool::free(this);
  }
  static void destroy(Form& form) noexcept {
    auto& packed = static_cast<PackedWeight&>(form);
    if (packed.from != nullptr) dnnl_memory_destroy(packed.from);
    if (packed.to != nullptr) {
      bytes.add(-std::uint64_t{dnnl_memory_desc_get_size(description_of(packed.to))});
      dnnl_memory_destroy(packed.to);
    }
  }

  static Form* again(const Form& form, std::ptrdiff_t distance) noexcept {
    const auto& packed = static_cast<const PackedWeight&>(form);
    const auto* data = static_cast<const std::byte*>(data_of(packed.from)) + distance;
    return pack(data, description_of(packed.from), description_of(packed.to));
  }
  bool fill() noexcept {
    dnnl_primitive_desc_t description = nullptr;
    dnnl_primitive_t reorder = nullptr;
    dnnl_stream_t stream = nullptr;
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    const bool done =
        dnnl_reorder_primitive_desc_create(&description, description_of(from), engine(),
                                           description_of(to), engine(), nullptr) == dnnl_success &&
        dnnl_primitive_create(&reorder, description) == dnnl_success &&
        dnnl_stream_create(&stream, engine(), dnnl_stream_default_flags) == dnnl_success &&
        dnnl_primitive_execute(reorder, stream, 2, arguments) == dnnl_success &&
        dnnl_stream_wait(stream) == dnnl_success;
    if (stream != nullptr) dnnl_stream_destroy(stream);
    if (reorder != nullptr) dnnl_primitive_destroy(reorder);
    if (description != nullptr) dnnl_primitive_desc_destroy(description);
    if (done) made.increment();
    return done;
  }

  static constexpr Kind kind{&destroy, &again};

  static void* data_of(dnnl_memory_t memory) noexcept {
    void* data = nullptr;
    dnnl_memory_get_data_handle(memory, &data);
    return data;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
