// SPDX-License-Identifier: BSD-3-Clause
// Writes .pt2 packages, as torch and this library read them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "aoti/file/archive_writer.hpp"
#include "aoti/file/json_writer.hpp"
#include "aoti/package/package.hpp"

namespace aoti::inline AOTI_ABI {

/// One model to be packaged. Files that are empty are left out.
struct ModelFiles {
  std::string_view name = "model";
  Bytes image;                        ///< The shared object.
  Bytes weights = {};                 ///< The blob of weights, if they do not lie in the image.
  Metadata metadata = {};             ///< At least AOTI_DEVICE_KEY.
  std::span<const Entry> files = {};  ///< Further files, by their names in the model's folder.
};

/// Writes a package: entries are stored uncompressed, aligned to 64 bytes, and the same input gives
/// the same bytes. A file of that name is replaced only if all goes well.
/// @param path its name without extension is the archive's root folder
/// @errors invalid_argument (no models; two of one name; a name that no folder can have; metadata
///         without AOTI_DEVICE_KEY), not_found (the file cannot be written), out_of_memory
inline Result<void> write_package(const std::string& path, std::span<const ModelFiles> models) {
  using detail::concat;
  const auto wrong = [&](std::string text) {
    return Error{Errc::invalid_argument, path, std::move(text)};
  };
  if (models.empty()) return wrong("found no models, expected at least one");
  for (const ModelFiles& model : models) {
    if (model.name.empty() || model.name.front() == '.' ||
        model.name.find_first_of("/\\") != model.name.npos) {
      return wrong(concat({"found the model name '", model.name,
                           "', expected one without slashes that does not begin with a dot"}));
    }
    if (model.metadata.device_key().empty()) {
      return wrong(concat({"the metadata of '", model.name, "' lacks AOTI_DEVICE_KEY"}));
    }
    for (const ModelFiles& other : models) {
      if (&other != &model && other.name == model.name) {
        return wrong(concat({"found two models named '", model.name, "'"}));
      }
    }
  }
  const std::size_t slash = path.rfind('/');
  std::string root = slash == path.npos ? path : path.substr(slash + 1);
  root = root.substr(0, root.rfind('.')) + "/";
  const auto text = [](std::string_view content) {
    return Bytes{reinterpret_cast<const std::byte*>(content.data()), content.size()};
  };
  AOTI_TRY(auto archive, ArchiveWriter::create(path));
  for (const ModelFiles& model : models) {
    const std::string folder = concat({root, "data/aotinductor/", model.name, "/"});
    detail::JsonWriter json;
    json.begin_object();
    for (const auto& [key, value] : model.metadata.items) {
      json.key(key);
      json.value(std::string_view{value});
    }
    json.end_object();
    AOTI_TRYV(
        archive.add(concat({folder, model.name, ".wrapper_metadata.json"}), text(json.text())));
    if (!model.weights.empty()) {
      AOTI_TRYV(archive.add(concat({folder, model.name, ".wrapper_weights.blob"}), model.weights));
    }
    if (!model.image.empty()) {
      AOTI_TRYV(archive.add(concat({folder, model.name, ".wrapper.so"}), model.image));
    }
    for (const Entry& file : model.files) {
      AOTI_TRYV(archive.add(concat({folder, file.name}), file.data));
    }
  }
  AOTI_TRYV(archive.add(root + "archive_format", text("pt2")));
  AOTI_TRYV(archive.add(root + "archive_version", text("0")));
  AOTI_TRYV(archive.add(root + ".data/version", text("6\n")));
  AOTI_TRYV(archive.add(root + "byteorder", text("little")));
  return std::move(archive).finish();
}

}  // namespace aoti::inline AOTI_ABI
