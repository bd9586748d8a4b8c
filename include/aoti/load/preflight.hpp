// SPDX-License-Identifier: BSD-3-Clause
// Finds what can go wrong before a model's image is loaded.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "aoti/abi/exports.hpp"
#include "aoti/abi/imports.hpp"
#include "aoti/device/device.hpp"
#include "aoti/image/demands.hpp"
#include "aoti/image/image.hpp"
#include "aoti/image/operator_libraries.hpp"
#include "aoti/package/package.hpp"
#include "aoti/runtime/refinements.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail {

/// torch's name for this machine and system in a package's metadata.
inline constexpr std::string_view host_platform =
#if defined(__linux__)
    "linux";
#elif defined(__APPLE__)
    "darwin";
#else
    "";
#endif

inline Error wrong_machine(const PackagedModel& model, std::string_view found,
                           std::string_view expected) {
  return {Errc::wrong_machine, model.origin,
          concat({"compiled for ", found, "; this machine is ", expected})};
}

}  // namespace detail

/// Checks the metadata against a device policy and this machine: device, system, processor,
/// instruction set. Anything that the metadata does not state passes.
/// @errors wrong_device, wrong_machine
template <DevicePolicy Device> Result<void> check_metadata(const PackagedModel& model) {
  const std::string_view device = model.metadata.device_key();
  if (!device.empty() && device != Device::key) {
    return Error{Errc::wrong_device, model.origin,
                 detail::concat({"compiled for ", device, "; this runner is for ",
                                 std::string_view{Device::key}})};
  }
  const std::string_view platform = model.metadata["AOTI_PLATFORM"];
  if (!platform.empty() && platform != detail::host_platform) {
    return detail::wrong_machine(model, platform, detail::host_platform);
  }
  const std::string_view machine = model.metadata["AOTI_MACHINE"];
  const std::string_view host = machine_name(detail::host_machine);
  if (detail::host_machine != 0 && !machine.empty() && machine != host) {
    return detail::wrong_machine(model, machine, host);
  }
  std::string_view isa = model.metadata["AOTI_CPU_ISA"];
  while (!isa.empty()) {
    const std::string_view name = isa.substr(0, isa.find(' '));
    isa.remove_prefix(name.size() == isa.size() ? isa.size() : name.size() + 1);
    if (!detail::has_instruction_set(name)) {
      return Error{Errc::wrong_machine, model.origin,
                   detail::concat({"compiled for ", name, ", which this processor does not have"})};
    }
  }
  return success();
}

namespace detail {

/// Whether the runtime provides a function that an image imports from it.
template <class Runtime>
bool is_provided(const ImageImport& import, const OperatorLibraries& libraries) {
  const std::string name{import.name};
  return import.weak || !abi::is_runtime_symbol(import.name) ||
         Runtime::import(name.c_str()) != nullptr ||
         (!BindsImports<Runtime> && libraries.find(name.c_str()) != nullptr);
}

/// Whether opening a model would find a function in a library that its image needs, besides
/// torch's.
template <class Runtime> bool comes_with_needed(const Image& image, std::string_view function) {
#if defined(__GLIBC__)
  if (BindsImports<Runtime>) return false;
  for (const std::string_view name : image.needed()) {
    if (is_torch_library(name)) continue;
    const auto library = SystemLibrary::find(std::string{name}, image.layout());
    const auto file = Mapping::open(library.path());
    if (!file) continue;
    const auto needed = Image::parse(file.value().bytes(), library.path());
    if (needed && needed.value().has_export(function)) return true;
  }
#endif
  return false;
}

/// If functions are missing, loads the libraries that an image needs by name, besides torch's.
template <class Runtime> void load_needed(const Image& image, OperatorLibraries& libraries) {
  if (BindsImports<Runtime>) return;  // its tensors are not those that the user's functions take
  for (const ImageImport& import : image.imports()) {
    if (is_provided<Runtime>(import, libraries)) continue;
    for (const std::string_view name : image.needed()) {
      if (!is_torch_library(name)) libraries.load_by_name(name, image.layout().search_path());
    }
    return;
  }
}

}  // namespace detail

/// Checks an image: its processor and system, the functions that every model exports, the libraries
/// that it needs, and the functions that it imports from the runtime. Lists all that are missing.
/// @param libraries loaded for the model, which may provide functions, too
/// @param needed_loaded whether the libraries that the image needs are loaded, too; else their
///        files are searched
/// @errors wrong_machine, missing_export, library_load_failed, missing_import
template <class Runtime>
Result<void> check_image(const Image& image, const PackagedModel& model,
                         const OperatorLibraries& libraries, bool needed_loaded) {
  if (!detail::host_has_elf) return success();
  if (detail::host_machine != 0 && image.machine() != detail::host_machine) {
    return detail::wrong_machine(model, machine_name(image.machine()),
                                 machine_name(detail::host_machine));
  }
  std::vector<std::string_view> missing;
  for (const abi::Row& row : abi::export_rows) {
    if (row.need == abi::Need::required && !image.has_export(row.symbol)) {
      missing.push_back(row.symbol);
    }
  }
  if (!missing.empty()) {
    return Error{Errc::missing_export, model.origin,
                 detail::concat({"the image is not a model: it lacks ", detail::join(missing)})};
  }
  const OperatorLibraries* given = BindsImports<Runtime> ? nullptr : &libraries;
  AOTI_TRYV(detail::Demands::check(image, model.origin, given));
  std::vector<std::string> unprovided;
  for (const ImageImport& import : image.imports()) {
    if (detail::is_provided<Runtime>(import, libraries)) continue;
    if (!needed_loaded && detail::comes_with_needed<Runtime>(image, import.name)) continue;
    std::string name{import.name};
    const abi::Row* row = abi::find_import(import.name);
    if (row != nullptr && row->since.major != 0) {
      name += detail::concat({" (torch ", row->since.major, ".", row->since.minor, ")"});
    }
    unprovided.push_back(std::move(name));
  }
  if (!unprovided.empty()) {
    bool sleef = false;
    for (const std::string& name : unprovided) sleef |= name.starts_with("Sleef_");
    return Error{
        Errc::missing_import, model.origin,
        detail::concat({BindsImports<Runtime> ? "the tensor runtime" : "this process",
                        " does not provide ", detail::join(unprovided),
                        sleef ? "; functions named Sleef_… come from libsleef.so.3, which was "
                                "not found or lacks them (Debian and Ubuntu: libsleef3)"
                              : ""})};
  }
  return success();
}

/// Whether a model is for an available device of a kind.
/// @errors wrong_device, wrong_machine, device_unavailable
template <DevicePolicy Device>
Result<void> check_device(const PackagedModel& model, DeviceIndex device) {
  AOTI_TRYV(check_metadata<Device>(model));
  return Device::check(device);
}

/// The image of a model that is for this machine and for an available device.
/// @errors wrong_device, wrong_machine, device_unavailable, damaged_package, unsupported (sources
///         only)
template <DevicePolicy Device>
Result<Image> read_image(const PackagedModel& model, DeviceIndex device) {
  AOTI_TRYV(check_device<Device>(model, device));
  if (model.image.data() == nullptr) {
    return Error{Errc::unsupported, model.origin,
                 "the model has sources only; compile it first by `python -m aoti compile FILE`"};
  }
  if (!detail::host_has_elf) return Image{};  // a system without ELF images
  return Image::parse(model.image, model.origin);
}

/// Whether this process can run a model on a device with a runtime, as far as can be told without
/// loading anything.
/// @param libraries loaded for the model
/// @errors those of read_image and check_image
template <DevicePolicy Device, TensorRuntime Runtime>
Result<Image> preflight(const PackagedModel& model, DeviceIndex device = DeviceIndex::current(),
                        const OperatorLibraries& libraries = {}) {
  AOTI_TRY(auto image, read_image<Device>(model, device));
  AOTI_TRYV(check_image<Runtime>(image, model, libraries, false));
  return image;
}

}  // namespace aoti::inline AOTI_ABI
