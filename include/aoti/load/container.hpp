// SPDX-License-Identifier: BSD-3-Clause
// A model's container: created, asked about itself, and deleted.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "aoti/abi/exports.hpp"
#include "aoti/abi/imports.hpp"
#include "aoti/abi/model_traits.hpp"
#include "aoti/image/library.hpp"
#include "aoti/load/kernels.hpp"
#include "aoti/load/options.hpp"
#include "aoti/load/preflight.hpp"
#include "aoti/load/weight_sets.hpp"
#include "aoti/package/call_spec.hpp"
#include "aoti/package/constants.hpp"

namespace aoti::inline AOTI_ABI {

/// Owns a model's container and the library that it lives in. Its functions are the model's, and as
/// thread-safe as the model makes them.
template <class T = void> class BasicContainer {
  using Image = BasicImage<T>;
  using Library = BasicLibrary<T>;

 public:
  /// Looks up a function that models import, by name.
  using Import = void*(const char* symbol);

  /// Loads an image that passed its pre-flight, creates the container on `device`, and lists its
  /// constants. Loads only weights that lie in the image.
  /// @param import resolves the image's imports; null to use the process's global symbols
  /// @param libraries resolve them, too, if `import` is null
  /// @errors library_load_failed, missing_export, out_of_memory, model_failed, model_threw
  static Result<BasicContainer> create(const PackagedModel& model, const Image& image,
                                       const std::string& device, const OpenOptions& options,
                                       Import* import = nullptr,
                                       const OperatorLibraries& libraries = {}) {
    // Of torch's libraries, the image keeps only those that the process has loaded: a program need
    // not have libtorch.so. The loader may know libraries that were given only by their paths.
    bool replaced = false;
    const auto drop = [&](std::string_view needed) {
      if (import == nullptr && is_loaded(std::string{needed}.c_str())) return false;
      const bool given = import == nullptr && libraries.has(needed);
      const bool can = detail::can_be_dropped(image.layout(), needed, given);
      replaced |= given && can;
      return can;
    };
    // A model copies embedded weights when it is created. While the package is mapped, it can copy
    // them from there: they need not go into the copy of the image first.
    const bool in_place = model.image_mapping.holds(image.weights()) && !image.weights().empty();
    std::vector<ImageEdit> edits = image.edits(drop);
    if (in_place) {
      for (const ImageEdit& edit : image.move_weights(image.weights().data()))
        edits.push_back(edit);
    }
    if (import != nullptr) {
      // Weak imports that are not provided are null, even if another runtime has them.
      const auto bind = [import](const ImageImport& wanted, const void*& address) {
        const bool runtime = abi::is_runtime_symbol(wanted.name);
        if (!runtime && !abi::is_allocation(wanted.name)) return false;
        address = import(std::string{wanted.name}.c_str());
        return runtime || address != nullptr;
      };
      for (const ImageEdit& edit : image.bind_imports(bind)) edits.push_back(edit);
    }
    if (import == nullptr && !libraries.empty()) {
      const auto bind = [&](const ImageImport& wanted, const void*& address) {
        const std::string name{wanted.name};
        if (!replaced && !abi::is_runtime_symbol(wanted.name)) return false;
        if (::dlsym(RTLD_DEFAULT, name.c_str()) == nullptr) address = libraries.find(name.c_str());
        return address != nullptr;
      };
      for (const ImageEdit& edit : image.bind_imports(bind)) edits.push_back(edit);
    }
    const std::vector<std::string> needed(image.needed().begin(), image.needed().end());
    BasicContainer container;
    AOTI_TRY(container.library_, Library::load(model.image, edits, model.origin, options.backing,
                                               image.parts(in_place)));
    // They may have threads, as OpenMP does, or functions that run at exit.
    for (const std::string& name : needed) keep_loaded(name.c_str());
    if (options.kernel_folder.empty()) {
      AOTI_TRY(container.kernels_, BasicKernelFolder<T>::make(model));
    }
    if (in_place) container.weights_ = model.image_mapping;
    AOTI_TRYV(container.start(
        abi::resolve_exports([&](const char* symbol) { return container.library_.symbol(symbol); }),
        device, options));
    container.library_.close_file();
    return container;
  }

  /// Creates the container of a model that is part of the program.
  /// @errors out_of_memory, model_failed, model_threw
  static Result<BasicContainer> create(const abi::ModelExports& exports, const std::string& device,
                                       const OpenOptions& options) {
    BasicContainer container;
    AOTI_TRYV(container.start(exports, device, options));
    return container;
  }

  BasicContainer() noexcept = default;
  BasicContainer(BasicContainer&& other) noexcept
      : exports_{other.exports_},
        traits_{other.traits_},
        handle_{std::exchange(other.handle_, nullptr)},
        library_{std::move(other.library_)},
        kernels_{std::move(other.kernels_)},
        weights_{std::move(other.weights_)},
        constants_{std::move(other.constants_)},
        weight_sets_{std::move(other.weight_sets_)} {}
  BasicContainer& operator=(BasicContainer&& other) noexcept {
    if (this == &other) return *this;
    destroy();
    exports_ = other.exports_;
    traits_ = other.traits_;
    handle_ = std::exchange(other.handle_, nullptr);
    library_ = std::move(other.library_);
    kernels_ = std::move(other.kernels_);
    weights_ = std::move(other.weights_);
    constants_ = std::move(other.constants_);
    weight_sets_ = std::move(other.weight_sets_);
    return *this;
  }
  ~BasicContainer() { destroy(); }

  /// Deletes the container and unloads the image, which otherwise stays loaded: no thread may be
  /// inside the model, and nothing of it may be used again, including tensors with its deleters.
  void unload() && noexcept {
    destroy();
    library_.unload();
  }

  const abi::ModelExports& exports() const noexcept { return exports_; }
  const abi::ModelTraits& traits() const noexcept { return traits_; }
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
    AOTI_TRY(const auto texts, call_spec_texts());
    return CallSpec::parse(texts[0], texts[1]);
  }
  /// The two JSON texts of the call spec: of the arguments, and of the results.
  /// @errors unsupported (the model was compiled without one)
  Result<std::array<std::string, 2>> call_spec_texts() const {
    const char* in = nullptr;
    const char* out = nullptr;
    AOTI_TRYV(call<&abi::ModelExports::get_call_spec>(&in, &out));
    return std::array<std::string, 2>{in != nullptr ? in : "", out != nullptr ? out : ""};
  }

  /// All constants, in the model's order.
  const std::vector<Constant>& constants() const noexcept { return constants_; }
  std::vector<Constant>& constants() noexcept { return constants_; }

  detail::WeightSets& weight_sets() noexcept { return weight_sets_; }
  const detail::WeightSets& weight_sets() const noexcept { return weight_sets_; }

  /// Keeps the file mapped that holds the weights.
  void keep(Mapping weights) noexcept { weights_ = std::move(weights); }

  /// Calls a function whose last parameter receives its result.
  template <auto Member, class Value, class... Arguments>
  Result<Value> get(Arguments... arguments) const {
    Value value{};
    AOTI_TRYV(call<Member>(arguments..., &value));
    return value;
  }

 private:
  template <auto Member> Result<std::string> text(std::size_t i) const {
    AOTI_TRY(const char* const found, get<Member, const char*>(i));
    return std::string{found != nullptr ? found : ""};
  }

  /// Creates the model's container. If that fails, unloads the image.
  Result<void> start(Result<abi::ModelExports> exports, const std::string& device,
                     const OpenOptions& options) {
    Result<void> done = success();
    if (exports) {
      exports_ = exports.value();
      traits_ = abi::ModelTraits::of(exports_);
      done = detail::guard(Errc::model_threw, "Container::create", [&]() -> Result<void> {
        const std::string& folder =
            options.kernel_folder.empty() ? kernels_.path() : options.kernel_folder;
        AOTI_TRYV(abi::call<&abi::ModelExports::create_with_device>(
            exports_, &handle_, options.instances, device.c_str(), folder.c_str()));
        return list_constants();
      });
    } else {
      done = std::move(exports).error();
    }
    if (!done) {
      destroy();
      library_.unload();  // none of its pointers has been handed out
    }
    return done;
  }

  /// Wraps …GetNumConstants, …GetConstantName, …OriginalFQN, …Dtype, …Type, …DataSize and
  /// …FromFolded.
  Result<void> list_constants() {
    using Exports = abi::ModelExports;
    std::size_t count = 0;
    AOTI_TRYV(call<&Exports::get_num_constants>(&count));
    if (count > 1 << 24) {
      return Error{Errc::model_failed, "AOTInductorModelContainerGetNumConstants",
                   detail::concat({"found ", count, " constants"})};
    }
    constants_.resize(count);
    std::size_t offset = 0;  // a blob holds them back to back
    for (std::size_t i = 0; i < count; ++i) {
      Constant& constant = constants_[i];
      AOTI_TRY(constant.name, text<&Exports::get_constant_name>(i));
      if (auto fqn = text<&Exports::get_constant_original_fqn>(i)) {
        constant.fqn = std::move(fqn).value();
      }
      std::int32_t number = 0;
      if (call<&Exports::get_constant_dtype>(i, &number)) {
        constant.dtype = static_cast<DType>(number);
      }
      if (call<&Exports::get_constant_type>(i, &number)) {
        constant.kind = static_cast<ConstantKind>(number);
      }
      static_cast<void>(call<&Exports::get_constant_data_size>(i, &constant.bytes));
      static_cast<void>(call<&Exports::get_constant_from_folded>(i, &constant.folded));
      constant.offset = offset;
      if (!constant.folded) offset += constant.bytes;
    }
    return success();
  }

  void destroy() noexcept {
    if (handle_ != nullptr) static_cast<void>(call<&abi::ModelExports::delete_container>());
    handle_ = nullptr;
    weight_sets_.clear();
  }

  abi::ModelExports exports_;
  abi::ModelTraits traits_;
  AOTInductorModelContainerHandle handle_ = nullptr;
  Library library_;
  BasicKernelFolder<T> kernels_;
  Mapping weights_;  // from which the weights are used or were copied
  std::vector<Constant> constants_;
  detail::WeightSets weight_sets_;
};

using Container = BasicContainer<>;

}  // namespace aoti::inline AOTI_ABI
