// Models with two sets of weights, which handle them like a compiled model: y = x + w + f + t, all
// of eight float32, where f is folded: f = 2 w + b.
#pragma once

#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "fakes/fake_model.hpp"

// Functions of the program, if it has them: they are told the device, and what reaches the model.
extern "C" {
[[gnu::weak]] AOTIRuntimeError on_created(const char* device);
[[gnu::weak]] void on_weights(const char* what, AOTInductorStreamHandle, AOTIProxyExecutorHandle);
}

namespace {

inline void tell(const char* what) {
  if (on_weights != nullptr) on_weights(what, fold_stream, fold_proxy);
}

using Map = std::unordered_map<std::string, AtenTensorHandle>;
using Entry = struct {
  const char* name;
  AtenTensorHandle tensor;
};

// Models before torch 2.15 do not destroy the handles to tensors that they were given to keep.
template <bool has_weights, std::int32_t kind_of_t, bool forgets = false> struct TwoSets : Model {
  static constexpr std::size_t inputs = 1;
  static constexpr std::int64_t size = 8;
  static constexpr std::size_t bytes = size * sizeof(float);
  static constexpr std::array constants{ConstantInfo{"w_", "layer.w", float32, 1, bytes, false},
                                        ConstantInfo{"b_", "layer.b", float32, 2, bytes, false},
                                        ConstantInfo{"t_", "t", float32, kind_of_t, bytes, false},
                                        ConstantInfo{"f_", "", float32, 4, bytes, true}};

  struct Set {
    std::map<std::string, AtenTensorHandle> tensors;
    std::set<AtenTensorHandle> kept;  // made for tensors that were given
    bool has_block = false, is_folded = false;
  };

  std::int32_t device = 0, device_index = 0;  // b is always on the CPU
  Set sets[2];
  int active = 0;
  float block[3][size] = {};
  std::shared_mutex mutex;
  std::vector<Entry> entries;
  bool loaded = has_weights;
  bool pending = false;  // an explicit fold leaves the model where only Run looks for it
  bool astray = false;   // like a compiled model after it failed to fold the inactive set

  AOTIRuntimeError start(std::size_t, const char* name) {
    const std::string text = name;
    if (text.starts_with("cuda")) device = 1;
    if (text.starts_with("xpu")) device = 12;
    if (text.starts_with("mps")) device = 13;
    if (const auto colon = text.find(':'); colon != text.npos) device_index = text[colon + 1] - '0';
    if (on_created != nullptr) on_created(name);
    if (!has_weights) return 0;
    float values[3][size];
    for (int i = 0; i < 3; ++i) {
      for (float& value : values[i]) value = static_cast<float>(i + 1);  // w = 1, b = 2, t = 3
    }
    load(values[0]);
    return 0;
  }

  void load(const float* values) {
    std::memcpy(block, values, sizeof block);
    for (int i = 0; i < 3; ++i) {
      const std::int64_t sizes[] = {size}, strides[] = {1};
      AtenTensorHandle tensor = nullptr;
      const auto on = i == 1 ? 0 : device, at = i == 1 ? 0 : device_index;
      aoti_torch_create_tensor_from_blob(block[i], 1, sizes, strides, 0, float32, on, at, &tensor);
      sets[0].tensors[constants[static_cast<std::size_t>(i)].name] = tensor;
    }
    sets[0].has_block = loaded = true;
  }
  ~TwoSets() {
    for (Set& set : sets) {
      for (auto& [name, tensor] : set.tensors) release(set, tensor);
    }
  }

  static void drop(AtenTensorHandle& tensor) {
    if (tensor != nullptr) aoti_torch_delete_tensor_object(tensor);
    tensor = nullptr;
  }

  static void release(Set& set, AtenTensorHandle& tensor) {
    if (set.kept.erase(tensor) != 0 && forgets) tensor = nullptr;
    drop(tensor);
  }

  Set& set(bool inactive) { return sets[inactive ? 1 - active : active]; }

  static AtenTensorHandle copy(AtenTensorHandle from) {
    AtenTensorHandle to = empty_like(from, float32);
    std::memcpy(data<float>(to), data<float>(from), bytes);
    return to;
  }

  template <class Find> AOTIRuntimeError update(Find&& find, bool inactive, bool keep) {
    Set& target = set(inactive);
    target.is_folded = false;
    const auto folded = target.tensors.find("f_");  // a compiled model crashes here
    if (folded != target.tensors.end() && folded->second == nullptr) return fail("f was freed");
    for (const ConstantInfo& constant : constants) {
      if (constant.folded) continue;
      AtenTensorHandle given = find(constant.name);
      if (given == nullptr && inactive && constant.type != 1) {
        given = set(false).tensors[constant.name];
        if (given == nullptr) return fail("the other set lacks a constant");
      }
      if (given == nullptr) continue;
      AtenTensorHandle made = nullptr;
      if (keep) {
        aoti_torch_new_tensor_handle(given, &made);
      } else {
        made = copy(given);
      }
      release(target, target.tensors[constant.name]);
      target.tensors[constant.name] = made;
      if (keep) target.kept.insert(made);
    }
    return 0;
  }
  AOTIRuntimeError update(AOTInductorConstantMapHandle handle, bool inactive, bool keep = false) {
    const Map& map = *reinterpret_cast<Map*>(handle);
    const auto find = [&](const char* name) {
      const auto found = map.find(name);
      return found == map.end() ? nullptr : found->second;
    };
    return update(find, inactive, keep);
  }
  AOTIRuntimeError update(const AOTInductorConstantMapEntry* pairs, std::size_t count,
                          bool inactive, bool keep) {
    const auto* entry = reinterpret_cast<const Entry*>(pairs);
    const auto find = [&](const char* name) -> AtenTensorHandle {
      for (std::size_t i = 0; i < count; ++i) {
        if (std::strcmp(entry[i].name, name) == 0) return entry[i].tensor;
      }
      return nullptr;
    };
    return update(find, inactive, keep);
  }

  AOTIRuntimeError fold(bool inactive) {
    std::unique_lock exclusive{mutex, std::defer_lock};
    std::shared_lock shared{mutex, std::defer_lock};
    if (inactive) {
      shared.lock();
    } else {
      exclusive.lock();
    }
    tell(inactive ? "fold inactive" : "fold");
    if (fold_locked(inactive) != 0) return 1;
    pending = true;
    return 0;
  }
  AOTIRuntimeError fold_locked(bool inactive) {
    Set& target = set(inactive);
    const AtenTensorHandle w = target.tensors["w_"], b = target.tensors["b_"];
    if (w == nullptr || b == nullptr) return fail("nothing to fold");
    if (data<float>(w)[0] == 666) {
      astray = inactive;
      return fail("666 cannot be folded");
    }
    AtenTensorHandle f = copy(w);
    for (int i = 0; i < size; ++i) data<float>(f)[i] = 2 * data<float>(w)[i] + data<float>(b)[i];
    drop(target.tensors["f_"]);
    target.tensors["f_"] = f;
    target.is_folded = true;
    if (inactive && kind_of_t == 3) {  // as compiled models do
      const AtenTensorHandle t = set(false).tensors["t_"];
      if (t == nullptr) return fail("the other set lacks t");  // a compiled model crashes here
      release(target, target.tensors["t_"]);
      target.tensors["t_"] = copy(t);
    }
    return 0;
  }

  AOTIRuntimeError swap() {
    tell("swap");
    const std::unique_lock lock{mutex};
    active = 1 - active;
    astray = false;
    return 0;
  }

  AOTIRuntimeError free_inactive() {
    tell("free");
    Set& target = set(true);
    drop(target.tensors["f_"]);
    target.is_folded = false;
    if (target.has_block)
      std::memset(block, 0xff, sizeof block);  // anything that still uses it sees NaN
    target.has_block = false;
    return 0;
  }

  AOTIRuntimeError extract(bool inactive, const AOTInductorConstantMapEntry** out,
                           std::size_t* count) {
    entries.clear();
    for (const ConstantInfo& constant : constants) {
      const auto found = set(inactive).tensors.find(constant.name);
      if (constant.folded || found == set(inactive).tensors.end()) continue;
      entries.push_back({constant.fqn, found->second});
    }
    *count = entries.size();
    return answer(out, reinterpret_cast<const AOTInductorConstantMapEntry*>(entries.data()));
  }

  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    std::shared_lock lock{mutex};
    if (!set(false).is_folded) {
      lock.unlock();
      const std::unique_lock exclusive{mutex};
      if (!set(false).is_folded && fold_locked(false) != 0) return 1;
    }
    if (!lock.owns_lock()) lock.lock();
    auto& tensors = set(astray).tensors;
    const float* w = data<float>(tensors["w_"]);
    const float* f = data<float>(tensors["f_"]);
    const float* t = data<float>(tensors["t_"]);
    out[0] = empty_like(in[0], float32);
    if (out[0] == nullptr) return fail("no memory");
    for (int i = 0; i < size; ++i) {
      data<float>(out[0])[i] = data<float>(in[0])[i] + w[i] + f[i] + t[i];
    }
    free_input(in[0]);
    return 0;
  }
};

}  // namespace

// The functions of torch 2.8, which use maps.
#define FAKE_TWO_SETS_MAPS(M)                                                                     \
  extern "C" {                                                                                    \
  AOTIRuntimeError AOTInductorModelContainerUpdateUserManagedConstantBuffer(                      \
      C c, AOTInductorConstantMapHandle map, bool inactive, bool) {                               \
    return model_of<M>(c)->update(map, inactive, true);                                           \
  }                                                                                               \
  AOTIRuntimeError AOTInductorModelContainerExtractConstantsMap(C c,                              \
                                                                AOTInductorConstantMapHandle map, \
                                                                bool inactive) {                  \
    const AOTInductorConstantMapEntry* entries = nullptr;                                         \
    std::size_t count = 0;                                                                        \
    model_of<M>(c)->extract(inactive, &entries, &count);                                          \
    for (const Entry& entry : model_of<M>(c)->entries) {                                          \
      reinterpret_cast<Map*>(map)->emplace(entry.name, entry.tensor);                             \
    }                                                                                             \
    return 0;                                                                                     \
  }                                                                                               \
  AOTIRuntimeError AOTInductorModelContainerFreeInactiveConstantBuffer(C c) {                     \
    return model_of<M>(c)->free_inactive();                                                       \
  }                                                                                               \
  }

// The additional ones of torch 2.11, 2.13 and 2.15, which use pairs.
#define FAKE_TWO_SETS_PAIRS(M)                                                                   \
  FAKE_TWO_SETS_MAPS(M)                                                                          \
  extern "C" {                                                                                   \
  AOTIRuntimeError AOTInductorModelContainerSetUseStreamAffinity(C, bool) { return 0; }          \
  AOTIRuntimeError AOTInductorModelContainerUpdateUserManagedConstantBufferPairs(                \
      C c, const AOTInductorConstantMapEntry* entries, std::size_t count, bool inactive, bool) { \
    return model_of<M>(c)->update(entries, count, inactive, true);                               \
  }                                                                                              \
  AOTIRuntimeError AOTInductorModelContainerExtractConstantsMapEntries(                          \
      C c, const AOTInductorConstantMapEntry** entries, std::size_t* count, bool inactive) {     \
    return model_of<M>(c)->extract(inactive, entries, count);                                    \
  }                                                                                              \
  AOTIRuntimeError AOTInductorModelContainerDidCallLoadConstants(C c, bool* out) {               \
    return answer(out, model_of<M>(c)->loaded);                                                  \
  }                                                                                              \
  }

// This many bytes in place of embedded weights.
#define FAKE_EMBEDDED_BYTES(count)                       \
  asm(".pushsection .rodata.weights, \"a\", @progbits\n" \
      ".balign 64\n"                                     \
      ".global _binary_constants_bin_start\n"            \
      "_binary_constants_bin_start: .zero " #count       \
      "\n"                                               \
      ".global _binary_constants_bin_end\n"              \
      "_binary_constants_bin_end:\n"                     \
      ".popsection");
