// A model's container: created, asked about itself, and deleted.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "aoti/abi/exports.hpp"
#include "aoti/abi/types.hpp"
#include "aoti/load/library.hpp"
#include "aoti/run/call_spec.hpp"
#include "aoti/run/options.hpp"
#include "aoti/run/preflight.hpp"

namespace aoti {

/// What a constant of a model is; the values are torch's ConstantType.
enum class ConstantKind : std::int32_t {
  unknown = 0,
  parameter = 1,
  buffer = 2,
  tensor = 3,
  folded = 4
};

/// One constant (weight) of a model.
struct Constant {
  std::string name;  ///< The name inside the compiled code.
  std::string fqn;   ///< The name in the module that was compiled; empty for a folded constant.
  DType dtype{};
  ConstantKind kind = ConstantKind::unknown;  ///< Unknown before torch 2.6.
  std::size_t bytes = 0;  ///< May be padded; 0 before torch 2.8, which cannot tell.
  bool folded = false;    ///< Computed from other constants when the model is loaded.
};

/// Owns a model's container and the library that it lives in. The functions are those of the
/// model; calls are as thread-safe as the model makes them.
template <class T = void> class BasicContainer {
  using Image = BasicImage<T>;
  using Library = BasicLibrary<T>;

 public:
  /// Loads an image that passed its pre-flight, creates the container on `device`, and loads the
  /// weights that lie beside the image.
  /// @errors library_load_failed, missing_export, unsupported (weights in a form that is not read),
  ///         damaged_package, out_of_memory, model_failed, model_threw
  static Result<BasicContainer> create(const PackagedModel& model, const Image& image,
                                       const std::string& device, const OpenOptions& options) {
    // Of torch's libraries only those that the process has: a program need not have libtorch.so.
    const auto drop = [](std::string_view needed) {
      return (needed.starts_with("libtorch") || needed.starts_with("libc10")) &&
             !is_loaded(std::string{needed}.c_str());
    };
    // A model copies embedded weights when it is created. As long as the package stays mapped, it
    // can do so from there: they need not go into the copy of the image first.
    const bool in_place = model.image_mapping.holds(image.weights()) && !image.weights().empty();
    std::vector<ImageEdit> edits = image.edits(drop);
    if (in_place) {
      for (const ImageEdit& edit : image.move_weights(image.weights().data()))
        edits.push_back(edit);
    }
    auto library =
        Library::load(model.image, edits, model.origin, options.backing, image.parts(in_place));
    if (!library) return std::move(library).error();
    BasicContainer container;
    container.library_ = std::move(library).value();
    if (in_place) container.weights_ = model.image_mapping;
    auto exports =
        abi::resolve_exports([&](const char* symbol) { return container.library_.symbol(symbol); });
    Result<void> done = success();
    if (exports) {
      container.exports_ = exports.value();
      done = detail::guard(Errc::model_threw, "Container::create",
                           [&] { return container.start(model, device, options.instances); });
    } else {
      done = std::move(exports).error();
    }
    if (!done) {
      container.destroy();
      container.library_.unload();  // nothing of it has been handed out
      return std::move(done).error();
    }
    container.library_.close_file();
    return container;
  }

  BasicContainer() noexcept = default;
  BasicContainer(BasicContainer&& other) noexcept
      : exports_{other.exports_},
        handle_{std::exchange(other.handle_, nullptr)},
        library_{std::move(other.library_)},
        weights_{std::move(other.weights_)} {}
  BasicContainer& operator=(BasicContainer&& other) noexcept {
    if (this == &other) return *this;
    destroy();
    exports_ = other.exports_;
    handle_ = std::exchange(other.handle_, nullptr);
    library_ = std::move(other.library_);
    weights_ = std::move(other.weights_);
    return *this;
  }
  ~BasicContainer() { destroy(); }

  /// Deletes the container and unloads the image, which otherwise stays loaded: no thread may be
  /// inside the model, and nothing of it may be used again, tensors with its deleters included.
  void unload() && noexcept {
    destroy();
    library_.unload();
  }

  const abi::ModelExports& exports() const noexcept { return exports_; }
  AOTInductorModelContainerHandle handle() const noexcept { return handle_; }

  /// Calls a function whose first parameter is the container.
  /// @errors bad_state (it was moved from or unloaded), those of abi::call
  template <auto Member, class... Arguments> Result<void> call(Arguments... arguments) const {
    if (handle_ == nullptr) {
      return Error{Errc::bad_state, abi::export_row<Member>.symbol,
                   "the container was moved from or unloaded"};
    }
    return abi::call<Member>(exports_, handle_, arguments...);
  }

  /// Wraps AOTInductorModelContainerGetNumInputs and …GetNumOutputs.
  Result<std::size_t> input_count() const {
    return get<&abi::ModelExports::get_num_inputs, std::size_t>();
  }
  Result<std::size_t> output_count() const {
    return get<&abi::ModelExports::get_num_outputs, std::size_t>();
  }

  /// The name inside the compiled code. Wraps …GetInputName and …GetOutputName.
  Result<std::string> input_name(std::size_t i) const {
    return text<&abi::ModelExports::get_input_name>(i);
  }
  Result<std::string> output_name(std::size_t i) const {
    return text<&abi::ModelExports::get_output_name>(i);
  }

  /// Wraps …GetCallSpec.
  /// @errors unsupported (the model was compiled without one), damaged_package
  Result<CallSpec> call_spec() const {
    const char* in = nullptr;
    const char* out = nullptr;
    if (auto done = call<&abi::ModelExports::get_call_spec>(&in, &out); !done) {
      return std::move(done).error();
    }
    return CallSpec::parse(in != nullptr ? in : "", out != nullptr ? out : "");
  }

  /// All constants, in the model's order. Wraps …GetNumConstants, …GetConstantName,
  /// …OriginalFQN, …Dtype, …Type, …DataSize and …FromFolded.
  Result<std::vector<Constant>> constants() const {
    using Exports = abi::ModelExports;
    auto count = get<&Exports::get_num_constants, std::size_t>();
    if (!count) return std::move(count).error();
    if (count.value() > 1 << 24) {
      return Error{Errc::model_failed, "AOTInductorModelContainerGetNumConstants",
                   detail::concat({"found ", count.value(), " constants"})};
    }
    std::vector<Constant> constants(count.value());
    for (std::size_t i = 0; i < constants.size(); ++i) {
      Constant& constant = constants[i];
      auto name = text<&Exports::get_constant_name>(i);
      if (!name) return std::move(name).error();
      constant.name = std::move(name).value();
      if (auto fqn = text<&Exports::get_constant_original_fqn>(i)) {
        constant.fqn = std::move(fqn).value();
      }
      if (auto dtype = get<&Exports::get_constant_dtype, std::int32_t>(i)) {
        constant.dtype = static_cast<DType>(dtype.value());
      }
      if (auto kind = get<&Exports::get_constant_type, std::int32_t>(i)) {
        constant.kind = static_cast<ConstantKind>(kind.value());
      }
      if (auto size = get<&Exports::get_constant_data_size, std::size_t>(i)) {
        constant.bytes = size.value();
      }
      if (auto folded = get<&Exports::get_constant_from_folded, bool>(i)) {
        constant.folded = folded.value();
      }
    }
    return constants;
  }

 private:
  /// Calls a function whose last parameter is where it writes its result.
  template <auto Member, class Value, class... Arguments>
  Result<Value> get(Arguments... arguments) const {
    Value value{};
    if (auto done = call<Member>(arguments..., &value); !done) return std::move(done).error();
    return value;
  }

  template <auto Member> Result<std::string> text(std::size_t i) const {
    auto result = get<Member, const char*>(i);
    if (!result) return std::move(result).error();
    return std::string{result.value() != nullptr ? result.value() : ""};
  }

  Result<void> start(const PackagedModel& model, const std::string& device, std::size_t instances) {
    using Exports = abi::ModelExports;
    if (auto done = abi::call<&Exports::create_with_device>(exports_, &handle_, instances,
                                                            device.c_str(), "");
        !done) {
      return done;
    }
    if (!model.weights.empty()) return load_weights(model);
    // A model whose weights were left out of its image calls them loaded all the same, and reads
    // through null when it runs; so what it holds is counted. Before torch 2.13 that is not told.
    std::size_t held = 0;
    if (auto loaded = get<&Exports::did_call_load_constants, bool>(); !loaded || loaded.value()) {
      const AOTInductorConstantMapEntry* entries = nullptr;
      if (!call<&Exports::extract_constants_map_entries>(&entries, &held, false)) return success();
    }
    auto total = get<&Exports::get_num_constants, std::size_t>();
    if (!total) return std::move(total).error();
    if (held >= total.value()) return success();
    auto list = constants();
    if (!list) return std::move(list).error();
    std::size_t expected = 0;
    for (const Constant& constant : list.value()) expected += constant.folded ? 0 : 1;
    if (held >= expected) return success();
    return Error{Errc::unsupported, model.origin,
                 "the package carries no weights, or not in a form that this library reads"};
  }

  /// Wraps AOTInductorModelUpdateConstantsFromBlob, which takes no size: it is compared before.
  Result<void> load_weights(const PackagedModel& model) {
    using Exports = abi::ModelExports;
    auto expected = get<&Exports::get_constants_blob_size, std::uint64_t>();
    if (!expected) return std::move(expected).error();
    if (expected.value() != model.weights.size()) {
      return Error{Errc::damaged_package, model.origin,
                   detail::concat({"the weights beside the image have ", model.weights.size(),
                                   " bytes, expected ", expected.value()})};
    }
    return call<&Exports::model_update_constants_from_blob>(
        reinterpret_cast<const std::uint8_t*>(model.weights.data()));
  }

  void destroy() noexcept {
    if (handle_ != nullptr) static_cast<void>(call<&abi::ModelExports::delete_container>());
    handle_ = nullptr;
  }

  abi::ModelExports exports_;
  AOTInductorModelContainerHandle handle_ = nullptr;
  Library library_;
  Mapping weights_;  // what the image takes for its embedded weights
};

using Container = BasicContainer<>;

}  // namespace aoti
