// SPDX-License-Identifier: BSD-3-Clause
// A .pt2 package: its models, and each one's image, metadata and weights.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/abi/exports.hpp"
#include "aoti/file/json.hpp"
#include "aoti/package/files.hpp"

namespace aoti::inline AOTI_ABI {

/// A model's metadata: torch's keys (AOTI_DEVICE_KEY, AOTI_MACHINE, …) and the user's own.
struct Metadata {
  std::vector<std::pair<std::string, std::string>> items;

  /// The value of a key; null if there is none.
  const std::string* find(std::string_view key) const noexcept {
    for (const auto& [name, value] : items) {
      if (name == key) return &value;
    }
    return nullptr;
  }
  bool contains(std::string_view key) const noexcept { return find(key) != nullptr; }

  /// The value of a key; empty if there is none.
  std::string_view operator[](std::string_view key) const noexcept {
    const std::string* const value = find(key);
    return value != nullptr ? std::string_view{*value} : std::string_view{};
  }

  /// The kind of device that the model was compiled for: a device policy's key.
  std::string_view device_key() const noexcept { return (*this)["AOTI_DEVICE_KEY"]; }
};

/// One model of a package. The views belong to the package.
struct PackagedModel {
  std::string name;          ///< Empty for a bare image.
  std::string origin;        ///< "digits.pt2 (model)": its name in errors.
  std::string folder;        ///< Where the files of an unpacked package lie; else empty.
  Bytes image;               ///< The shared object; empty in a package of sources only.
  Mapping image_mapping;     ///< Keeps the image mapped; empty for bytes that were given.
  Bytes weights;             ///< The weights blob beside the image; empty if there is none.
  Mapping weights_mapping;   ///< Keeps the weights mapped.
  Bytes extern_nodes;        ///< JSON on operators called through a proxy executor; usually empty.
  std::vector<Entry> files;  ///< All of the model's files, by their names in its folder.
  std::vector<Entry> constants;  ///< Files that the package's models share: custom objects.
  Metadata metadata;
  const abi::ModelExports* linked = nullptr;  ///< Of a model that is part of the program.
};

/// An open package. Owns what it maps, extracts nothing, and is immutable, so threads may share it.
/// It may be closed once its models have been opened.
template <class T = void> class BasicPackage {
  using Files = BasicFiles<T>;
  using Json = BasicJson<T>;

 public:
  /// Opens a .pt2 file, a directory into which one was unpacked, or a bare image, which counts as a
  /// package of one unnamed model. Files that torch wrote beside such an image are read: for
  /// X.wrapper.so, these are X.wrapper.cpp (the shapes of its constants), X.wrapper.json (the
  /// operators that it calls), X.wrapper_metadata.json and X.wrapper_weights.blob.
  /// @errors not_found, not_a_package, damaged_package, no_such_model (it holds none at all),
  ///         unsupported (compressed entries), out_of_memory
  static Result<BasicPackage> open(const std::string& path) {
    return detail::guard(Errc::damaged_package, "Package::open", [&]() -> Result<BasicPackage> {
      AOTI_TRY(auto files, Files::open(path));
      return BasicPackage{std::move(files), path}.checked();
    });
  }

  /// Opens a package or a bare image that lies in memory; the bytes must outlive the package.
  /// @param origin the name of the bytes in errors
  /// @errors as open
  static Result<BasicPackage> from_bytes(Bytes bytes, std::string origin = "package in memory") {
    return detail::guard(Errc::damaged_package, "Package::from_bytes",
                         [&]() -> Result<BasicPackage> {
                           AOTI_TRY(auto files, Files::from_bytes(bytes, origin));
                           return BasicPackage{std::move(files), std::move(origin)}.checked();
                         });
  }

  /// The path, or the name that was given to bytes in memory.
  const std::string& origin() const noexcept { return origin_; }

  /// The models' names, sorted.
  const std::vector<std::string>& model_names() const noexcept { return models_; }

  /// One model, by its exact name; an empty name means the only one.
  /// @errors no_such_model, ambiguous_model (both list the names), damaged_package
  Result<PackagedModel> model(std::string_view name = {}) const {
    return detail::guard(Errc::damaged_package, "Package::model", [&] { return find(name); });
  }

  /// The contents of a file, by its path below the package's root: "extra/notes.txt".
  /// @errors not_found
  Result<Bytes> file(std::string_view path) const {
    for (const Entry& entry : files_.entries()) {
      if (below_root(entry.name) == path) return entry.data;
    }
    return Error{Errc::not_found, origin_, detail::concat({"the package has no file ", path})};
  }

  /// All files, by their paths below the archive's top.
  const std::vector<Entry>& files() const noexcept { return files_.entries(); }

 private:
  static constexpr std::string_view models_folder = "data/aotinductor/";
  static constexpr std::string_view constants_folder = "data/constants/";

  BasicPackage(Files files, std::string origin)
      : files_{std::move(files)}, origin_{std::move(origin)} {}

  /// The path without the root folder; empty for files outside it.
  std::string_view below_root(std::string_view name) const noexcept {
    return name.starts_with(root_) ? name.substr(root_.size()) : std::string_view{};
  }

  /// The model that a file belongs to: the part between the models' folder and the file's name.
  std::string_view model_of(std::string_view name) const noexcept {
    const std::string_view path = below_root(name);
    const std::size_t slash = path.rfind('/');
    if (!path.starts_with(models_folder) || slash == path.npos || slash < models_folder.size()) {
      return {};
    }
    return path.substr(models_folder.size(), slash - models_folder.size());
  }

  /// Finds the root folder and the models' names.
  Result<BasicPackage> checked() && {
    if (files_.are_bare()) {
      models_.emplace_back();
      return std::move(*this);
    }
    bool is_package = false;
    for (const Entry& entry : files_.entries()) {
      // Either file reveals the root: archives made before 2.6 have no root folder and no format.
      std::size_t at = entry.name.find(models_folder);
      if (at == entry.name.npos && entry.name.ends_with("archive_format")) {
        at = entry.name.size() - std::string_view{"archive_format"}.size();
      }
      // At the top or one folder below it: a folder of packages is not a package.
      if (at == entry.name.npos || (at != 0 && entry.name.find('/') != at - 1)) continue;
      const std::string_view root = entry.name.substr(0, at);
      if (is_package && root != root_ && at != 0) {
        return Error{Errc::not_a_package, origin_,
                     detail::concat({"it holds several packages, such as ", root_, " and ", root})};
      }
      root_ = root;
      is_package = true;
      if (at == 0) break;
    }
    const auto refuse = [&](Errc code, std::string_view otherwise) {
      const auto foreign = detail::describe_foreign_archive(files_.entries());
      return Error{code, origin_, std::string{foreign.empty() ? otherwise : foreign}};
    };
    if (!is_package) {
      return refuse(Errc::not_a_package,
                    "it has neither an archive_format nor a data/aotinductor folder");
    }
    for (const Entry& entry : files_.entries()) {
      const std::string_view model = model_of(entry.name);
      if (!model.empty()) add_model(model);
    }
    if (models_.empty()) {
      return refuse(Errc::no_such_model,
                    "the package holds no compiled model (no data/aotinductor folder); if "
                    "torch.export.save wrote it, compile it with aoti_compile_and_package");
    }
    return std::move(*this);
  }

  void add_model(std::string_view name) {
    auto at = models_.end();
    while (at != models_.begin() && at[-1].compare(name) >= 0) --at;
    if (at == models_.end() || *at != name) models_.emplace(at, name);
  }

  /// A file beside a bare image, under its name, may belong to something else: it is used only if
  /// the image needs it and it has the right form.
  Result<PackagedModel> bare(std::string_view name) const {
    if (!name.empty()) {
      return Error{Errc::no_such_model, origin_,
                   detail::concat({"a bare shared object has no model named '", name, "'"})};
    }
    PackagedModel model;
    model.origin = origin_;
    model.files = files_.entries();
    model.image = model.files.front().data;
    bool calls_operators = false, weights_beside = false;
    if (auto image = Image::parse(model.image, origin_)) {
      const std::uint64_t inside = image.value().weights_size();
      weights_beside = inside == 0 || inside == 8;
      for (const ImageImport& import : image.value().imports()) {
        calls_operators |= import.name == "aoti_torch_proxy_executor_call_function";
      }
    }
    for (const Entry& file : model.files) {
      const bool tells_of_itself = file.name.ends_with("_metadata.json");
      if (tells_of_itself &&
          (!read_metadata(file.data, model) || model.metadata.device_key().empty())) {
        model.metadata.items.clear();
      }
      if (calls_operators && !tells_of_itself && file.name.ends_with(".json")) {
        model.extern_nodes = file.data;
      }
      if (weights_beside && file.name.ends_with("_weights.blob")) model.weights = file.data;
    }
    return with_mappings(std::move(model));
  }

  PackagedModel with_mappings(PackagedModel model) const {
    model.image_mapping = files_.mapping_of(model.image);
    model.weights_mapping = files_.mapping_of(model.weights);
    return model;
  }

  Result<PackagedModel> find(std::string_view name) const {
    if (files_.are_bare()) return bare(name);
    if (name.empty() && models_.size() > 1) {
      return Error{Errc::ambiguous_model, origin_,
                   detail::concat({"name one of the models: ", detail::join(models_)})};
    }
    if (name.empty()) name = models_.front();
    bool known = false;
    for (const std::string& model : models_) known |= model == name;
    if (!known) {
      return Error{Errc::no_such_model, origin_,
                   detail::concat({"no model is named '", name, "'; the package holds ",
                                   detail::join(models_)})};
    }
    PackagedModel model{.name = std::string{name},
                        .origin = detail::concat({origin_, " (", name, ")"}),
                        .folder = {},
                        .image = {},
                        .image_mapping = {},
                        .weights = {},
                        .weights_mapping = {},
                        .extern_nodes = {},
                        .files = {},
                        .constants = {},
                        .metadata = {},
                        .linked = nullptr};
    std::string_view image;
    for (const Entry& entry : files_.entries()) {
      if (const auto path = below_root(entry.name); path.starts_with(constants_folder)) {
        model.constants.push_back({path.substr(constants_folder.size()), entry.data});
      }
      if (model_of(entry.name) != name) continue;
      const std::string_view file = entry.name.substr(entry.name.rfind('/') + 1);
      model.files.push_back({file, entry.data});
      if (!file.ends_with(".so")) continue;
      if (!image.empty()) {
        return Error{Errc::damaged_package, model.origin,
                     detail::concat({"the model has more than one image: ", image, ", ", file})};
      }
      image = file;
      model.image = entry.data;
    }
    for (const Entry& file : model.files) {  // images of other systems, which are refused by name
      for (const std::string_view ending : {".pyd", ".dll", ".dylib"}) {
        if (!image.empty() || !file.name.ends_with(ending)) continue;
        image = file.name;
        model.image = file.data;
      }
    }
    // The other files are named after the image, or, in a package of sources, after the wrapper.
    const std::string_view stem = image.substr(0, image.rfind('.'));
    Bytes metadata;
    for (const Entry& file : model.files) {
      const auto is = [&](std::string_view ending) {
        return image.empty() ? file.name.ends_with(".wrapper" + std::string{ending})
                             : file.name == std::string{stem}.append(ending);
      };
      if (is("_metadata.json")) metadata = file.data;
      if (is("_weights.blob")) model.weights = file.data;
      if (is(".json")) model.extern_nodes = file.data;
    }
    if (files_.are_unpacked()) {
      model.folder = detail::concat({origin_, "/", root_, models_folder, name});
    }
    if (!metadata.empty()) {
      AOTI_TRYV(read_metadata(metadata, model));
    }
    return with_mappings(std::move(model));
  }

  static Result<void> read_metadata(Bytes metadata, PackagedModel& model) {
    AOTI_TRY(auto json, Json::parse(detail::as_text(metadata), model.origin + " metadata"));
    if (!json.is(JsonKind::object)) {
      return Error{Errc::damaged_package, model.origin, "the metadata is not a JSON object"};
    }
    for (std::size_t i = 0; i < json.keys.size(); ++i) {
      if (!json.items[i].is(JsonKind::string)) {
        return Error{Errc::damaged_package, model.origin,
                     detail::concat({"the metadata's ", json.keys[i], " is not a string"})};
      }
      model.metadata.items.emplace_back(std::move(json.keys[i]), std::move(json.items[i].string));
    }
    return success();
  }

  Files files_;
  std::string origin_;
  std::string root_;
  std::vector<std::string> models_;
};

using Package = BasicPackage<>;

}  // namespace aoti::inline AOTI_ABI
