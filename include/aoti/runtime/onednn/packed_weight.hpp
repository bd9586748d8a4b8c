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

  static void destroy(Form& form) noexcept {
    auto& packed = static_cast<PackedWeight&>(form);
    if (packed.from != nullptr) dnnl_memory_destroy(packed.from);
    if (packed.to != nullptr) dnnl_memory_destroy(packed.to);
  }

  /// Null if there is none.
  static PackedWeight* find(const Forms& forms, const void* data, Description weight,
                            Description wanted) noexcept {
    for (Form* form = forms.first(); form != nullptr; form = form->following) {
      if (form->end != &destroy) continue;
      auto& packed = static_cast<PackedWeight&>(*form);
      if (data_of(packed.from) == data && same(description_of(packed.from), weight) &&
          same(description_of(packed.to), wanted)) {
        return &packed;
      }
    }
    return nullptr;
  }

  /// With uninitialised elements; null if memory runs out.
  static PackedWeight* make(const void* data, Description weight, Description wanted) noexcept {
    constexpr std::size_t front = (sizeof(PackedWeight) + 63) / 64 * 64;
    auto* packed =
        static_cast<PackedWeight*>(Pool::allocate(front + dnnl_memory_desc_get_size(wanted)));
    if (packed == nullptr) return nullptr;
    packed->end = &destroy;
    packed->from = packed->to = nullptr;
    if (dnnl_memory_create(&packed->from, weight, engine(), const_cast<void*>(data)) ==
            dnnl_success &&
        dnnl_memory_create(&packed->to, wanted, engine(),
                           reinterpret_cast<std::byte*>(packed) + front) == dnnl_success) {
      return packed;
    }
    packed->drop();
    return nullptr;
  }
  /// For one that was not added.
  void drop() noexcept {
    destroy(*this);
    Pool::free(this);
  }

  void* data() const noexcept { return data_of(to); }

 private:
  static void* data_of(dnnl_memory_t memory) noexcept {
    void* data = nullptr;
    dnnl_memory_get_data_handle(memory, &data);
    return data;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
