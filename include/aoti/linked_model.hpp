// SPDX-License-Identifier: BSD-3-Clause
// Models that are written in C++ and part of the program that runs them.
#pragma once

#include "aoti/model/exported.hpp"
#include "aoti/model/metadata.hpp"
#include "aoti/model/model.hpp"
#include "aoti/package/source.hpp"

namespace aoti::inline AOTI_ABI {

/// A model whose class derives from model::Model: `Runner<Cpu, Native>::open(linked<Scale>())`.
/// Where AOTI_LINKED_RUNTIME is defined, as `aoti::Native` for example, before any header of this
/// library is included, the model calls that runtime directly, and runs on native runtimes only;
/// else it calls the process's functions, which are libtorch's.
template <class M>
requires std::derived_from<M, model::Model<M>> LinkedModel linked()
noexcept {
  static constexpr abi::ModelExports exported = model::Exported<model::Written<M>>::table();
#if defined(AOTI_LINKED_RUNTIME)
  constexpr bool bound = true;
#else
  constexpr bool bound = false;
#endif
  return {"linked model", &exported, {}, &model::metadata<M>, bound};
}

}  // namespace aoti::inline AOTI_ABI
