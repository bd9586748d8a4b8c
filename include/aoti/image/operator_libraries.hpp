// SPDX-License-Identifier: BSD-3-Clause
// The user's libraries that provide a model's operators.
#pragma once

#include <dlfcn.h>
#if defined(__linux__)
#include <link.h>
#endif

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/image/library.hpp"

namespace aoti::inline AOTI_ABI {

/// Libraries that are loaded for a model and never unloaded: they register operators, and may
/// export C functions that the model calls.
template <class = void> class BasicOperatorLibraries {
 public:
  BasicOperatorLibraries() noexcept = default;

  bool empty() const noexcept { return loaded_.empty(); }

  /// Loads them. @errors library_load_failed
  Result<void> load(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
      AOTI_TRY(void* const handle, load_for_good(path));
      loaded_.push_back({path.substr(path.rfind('/') + 1), handle});
    }
    return success();
  }

  /// Loads a library that the system's loader finds by name, or in a folder of `search_path`.
  void load_by_name(std::string_view name, std::string_view search_path) {
    if (has(name)) return;
    std::string text{name};
    void* handle = ::dlopen(text.c_str(), RTLD_NOW | RTLD_LOCAL);
    while (handle == nullptr && !search_path.empty()) {
      const std::string_view folder = search_path.substr(0, search_path.find(':'));
      search_path.remove_prefix(folder.size() < search_path.size() ? folder.size() + 1
                                                                   : folder.size());
      if (!folder.starts_with('/')) continue;
      handle = ::dlopen(detail::concat({folder, "/", name}).c_str(), RTLD_NOW | RTLD_LOCAL);
    }
    if (handle != nullptr) loaded_.push_back({std::move(text), handle});
  }

  /// Whether one with that name, without its folder, is among them.
  bool has(std::string_view name) const noexcept {
    for (const Loaded& library : loaded_) {
      if (library.name == name) return true;
    }
    return false;
  }

  /// The address of a function that one of them exports itself, or null.
  void* find(const char* symbol) const noexcept {
    for (const Loaded& library : loaded_) {
      void* address = ::dlsym(library.handle, symbol);  // also searches the libraries that it needs
      if (address != nullptr && is_own(library.handle, address)) return address;
    }
    return nullptr;
  }

 private:
  struct Loaded {
    std::string name;
    void* handle;
  };

  static bool is_own([[maybe_unused]] void* handle, [[maybe_unused]] void* address) noexcept {
#if defined(__linux__)
    Dl_info info{};
    link_map* map = nullptr;
    return ::dladdr(address, &info) != 0 && ::dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 &&
           reinterpret_cast<std::uintptr_t>(info.dli_fbase) == map->l_addr;
#else
    return true;
#endif
  }

  std::vector<Loaded> loaded_;
};

using OperatorLibraries = BasicOperatorLibraries<>;

}  // namespace aoti::inline AOTI_ABI
