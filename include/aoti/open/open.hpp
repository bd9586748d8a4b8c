// SPDX-License-Identifier: BSD-3-Clause
// How a runner is opened: from a model of a package to one that can run.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "aoti/load/container.hpp"
#include "aoti/load/operators.hpp"
#include "aoti/run/gate.hpp"
#include "aoti/run/signature.hpp"
#include "aoti/weights/load.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// A model whose image was read and checked, and can be loaded.
struct Inspected {
  Image image;
  OperatorLibraries libraries;  // that define its operators and functions
};

/// Opens models of one class. Each step makes what the next one needs, so each object is complete:
/// a packaged model, an inspected image, a loaded model without weights, and one with weights.
template <class Model> struct Opening {
  const OpenOptions& choice;
  const typename Model::ObserverPolicy& observer;

  /// @tparam linked whether the model is part of the program; then no code for images is needed
  template <bool linked = false> Result<Model> from(const PackagedModel& packaged) const {
    AOTI_TRYV(check_choice(packaged));
    [[maybe_unused]] const PreparingOf<Runtime> preparing;
    AOTI_TRY(auto inspected, inspect<linked>(packaged));
    // Creating a model changes the thread's device, which the guard restores.
    const DeviceIndex device = Device::resolve(choice.device);
    AOTI_TRY(auto entered, Device::enter(device, typename Device::Stream{}));
    AOTI_TRY(auto model, load<linked>(packaged, inspected, device));
    auto done = guard(Errc::model_threw, "Runner::open", [&] {
      return give_weights(model, packaged, inspected.image, Device::native(entered));
    });
    if (!done) {
      std::move(model.container).unload();
      return Model::explained(std::move(done).error());
    }
    return model;
  }

 private:
  using Device = typename Model::DevicePolicy;
  using Runtime = typename Model::TensorRuntime;

  Result<void> check_choice(const PackagedModel& packaged) const {
    if (choice.instances == 0 || (Model::exclusive && choice.instances > 1)) {
      return Error{
          Errc::invalid_argument, packaged.origin,
          concat({"found ", choice.instances, " instances, expected ",
                  Model::exclusive ? "1, since the runner's access is exclusive" : "1 or more"})};
    }
    if (choice.stream_affinity && Model::exclusive) {
      return Error{Errc::invalid_argument, packaged.origin, "stream_affinity needs Access::shared"};
    }
    return success();
  }

  template <bool linked> Result<Inspected> inspect(const PackagedModel& packaged) const {
    OperatorLibraries libraries;
    if constexpr (linked) {
      AOTI_TRYV(check_device<Device>(packaged, choice.device));
      AOTI_TRYV(libraries.load(choice.operator_libraries));
      return Inspected{Image{}, std::move(libraries)};
    } else {
      AOTI_TRY(auto image, read_image<Device>(packaged, choice.device));
      AOTI_TRYV(libraries.load(choice.operator_libraries));
      load_needed<Runtime>(image, libraries);
      AOTI_TRYV(check_image<Runtime>(image, packaged, libraries, true));
      return Inspected{std::move(image), std::move(libraries)};
    }
  }

  /// The container of a model whose operators are there.
  template <bool linked>
  Result<Container> contain(const PackagedModel& packaged, const Inspected& inspected,
                            const std::string& device) const {
    if constexpr (linked) {
      return Container::create(*packaged.linked, device, choice);
    } else {
      Container::Import* const import = BindsImports<Runtime> ? &Runtime::import : nullptr;
      return Container::create(packaged, inspected.image, device, choice, import,
                               inspected.libraries);
    }
  }

  template <bool linked>
  Result<Model> load(const PackagedModel& packaged, const Inspected& inspected,
                     DeviceIndex device) const {
    const std::string name = Device::device_string(device);
    AOTI_TRY(auto operators, open_operators<Runtime>(packaged, inspected.image, name));
    auto container = contain<linked>(packaged, inspected, name);
    if (!container) return Model::explained(std::move(container).error());
    auto signature = guard(Errc::model_threw, "Runner::open", [&] {
      return Signature::of(container.value(), packaged.metadata, packaged.origin,
                           Model::max_tensors);
    });
    if (!signature) {
      std::move(container).value().unload();
      return Model::explained(std::move(signature).error());
    }
    return Model{observer,
                 packaged,
                 device,
                 std::move(operators),
                 std::move(container).value(),
                 std::move(signature).value()};
  }

  Result<void> give_weights(Model& model, const PackagedModel& packaged, const Image& image,
                            AOTInductorStreamHandle stream) const {
    if (choice.stream_affinity) {  // before anything runs, folding included
      AOTI_TRYV(model.container.template call<&abi::ModelExports::set_use_stream_affinity>(true));
    }
    WeightsLoader<Runtime> loader{model.container, packaged, image, choice.pack_weights};
    const auto& spec = model.signature.spec;
    AOTI_TRYV(loader.load(spec ? &*spec : nullptr, Device::type,
                          choice.weights == PackagedWeights::ignored));
    std::vector<AtenTensorHandle> tensors;
    const WeightSets& sets = model.container.weight_sets();
    if (sets.state() != WeightsState::none && model.container.traits().lists_entries &&
        extract_entries(model.container, false, tensors)) {
      model.use(tensors);
    }
    model.lends_weights = sets.has_block() && !model.container.constants().empty();
    if (model.lends_weights && !Model::exclusive) model.lending = GatePointer::make();
    if (sets.state() == WeightsState::loaded) {
      model.admit();
      return model.fold(false, stream);
    }
    if (choice.weights != PackagedWeights::required) return success();
    return Error{Errc::unsupported, model.origin,
                 "found no weights in the package, or in a form that this library does not read; "
                 "open it with PackagedWeights::optional and set them"};
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
