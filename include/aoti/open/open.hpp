// SPDX-License-Identifier: BSD-3-Clause
// How a runner is opened: from a file, a package or memory to a model that can run.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/load/container.hpp"
#include "aoti/load/operators.hpp"
#include "aoti/run/gate.hpp"
#include "aoti/weights/load.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Loads models of one class.
template <class Model> struct Opening {
  const OpenOptions& choice;
  const typename Model::ObserverPolicy& observer;

  Result<Model> from(const std::string& path) const {
    auto package = Package::open(path);
    if (!package) return std::move(package).error();
    return from(package.value());
  }

  Result<Model> from(const Package& package) const {
    auto model = package.model(choice.model);
    if (!model) return std::move(model).error();
    return from(model.value());
  }

  Result<Model> from(const PackagedModel& packaged) const {
    if (choice.instances == 0 || (Model::exclusive && choice.instances > 1)) {
      return Error{
          Errc::invalid_argument, packaged.origin,
          concat({"found ", choice.instances, " instances, expected ",
                  Model::exclusive ? "1, since the runner's access is exclusive" : "1 or more"})};
    }
    if (choice.stream_affinity && Model::exclusive) {
      return Error{Errc::invalid_argument, packaged.origin,
                   "found stream_affinity, expected Access::shared with it"};
    }
    [[maybe_unused]] const typename PreparingOf<Runtime>::type preparing;
    auto image = read_image<Device>(packaged, choice.device);
    if (!image) return std::move(image).error();
    OperatorLibraries libraries;
    if (auto done = libraries.load(choice.operator_libraries); !done) {
      return std::move(done).error();
    }
    load_needed<Runtime>(image.value(), libraries);
    if (auto done = check_image<Runtime>(image.value(), packaged, libraries, true); !done) {
      return std::move(done).error();
    }
    // Creating a model changes the thread's device, which the guard restores.
    const DeviceIndex device = Device::resolve(choice.device);
    auto entered = Device::enter(device, typename Device::Stream{});
    if (!entered) return std::move(entered).error();
    const std::string name = Device::device_string(device);
    auto operators = open_operators<Runtime>(packaged, image.value(), name);
    if (!operators) return std::move(operators).error();
    Container::Import* const import = binds_imports<Runtime> ? &Runtime::import : nullptr;
    auto container = Container::create(packaged, image.value(), name, choice, import, libraries);
    if (!container) return Model::explained(std::move(container).error());
    Model model{observer};
    model.device = device;
    model.operators = std::move(operators).value();
    model.container = std::move(container).value();
    model.metadata = packaged.metadata;
    model.origin = packaged.origin;
    auto done = guard(Errc::model_threw, "Runner::open", [&]() -> Result<void> {
      if (auto described = describe(model); !described) return described;
      return load_weights(model, packaged, image.value(), Device::native(entered.value()));
    });
    if (!done) {
      std::move(model.container).unload();
      return Model::explained(std::move(done).error());
    }
    return model;
  }

  Result<Model> from(Bytes bytes) const {
    auto package = Package::from_bytes(
        bytes, Image::recognises(bytes) ? "image in memory" : "package in memory");
    if (!package) return std::move(package).error();
    return from(package.value());
  }

 private:
  using Device = typename Model::DevicePolicy;
  using Runtime = typename Model::TensorRuntime;

  Result<void> load_weights(Model& model, const PackagedModel& packaged, const Image& image,
                            AOTInductorStreamHandle stream) const {
    if (choice.stream_affinity) {  // before anything runs, folding included
      auto bound = model.container.template call<&abi::ModelExports::set_use_stream_affinity>(true);
      if (!bound) return bound;
    }
    WeightsLoader<Runtime> loader{model.container, packaged, image};
    auto done = loader.load(model.spec ? &*model.spec : nullptr, Device::type,
                            choice.weights == PackagedWeights::ignored);
    if (!done) return done;
    std::vector<AtenTensorHandle> tensors;
    if (model.container.weight_sets().state() != WeightsState::none &&
        model.container.traits().lists_entries &&
        extract_entries(model.container, false, tensors)) {
      model.use(tensors);
    }
    model.lends_weights =
        model.container.weight_sets().has_block() && !model.container.constants().empty();
    if (model.lends_weights && !Model::exclusive) model.lending = GatePointer::make();
    if (model.container.weight_sets().state() == WeightsState::loaded)
      return model.fold(false, stream);
    if (choice.weights != PackagedWeights::required) {
      std::swap(model.input_count, model.hidden_input_count);
      return success();
    }
    return Error{Errc::unsupported, model.origin,
                 "the package carries no weights, or not in a form that this library reads; a "
                 "runner opened with PackagedWeights::optional can be given them"};
  }

  /// Learns the counts and the spec, and picks the function to run.
  static Result<void> describe(Model& model) {
    const abi::ModelExports& exports = model.container.exports();
    // After an explicit fold a container keeps its model where only …Run looks for it.
    const bool single = Model::exclusive && model.container.traits().runs_single_threaded &&
                        model.folded_count() == 0;
    model.run = single ? exports.run_single_threaded : exports.run;
    if (!Model::exclusive && model.container.traits().first_run_is_alone) {
      model.gate = GatePointer::make();
    }
    auto inputs = model.container.input_count();
    if (!inputs) return std::move(inputs).error();
    auto outputs = model.container.output_count();
    if (!outputs) return std::move(outputs).error();
    model.input_count = inputs.value();
    model.output_count = outputs.value();
    if (model.input_count > Model::max_tensors || model.output_count > Model::max_tensors) {
      return Error{Errc::unsupported, model.origin,
                   concat({"found ", model.input_count, " inputs and ", model.output_count,
                           " outputs, expected at most ", Model::max_tensors, " of each"})};
    }
    const std::string_view text = model.metadata[ModelSpec::metadata_key];
    if (text.empty()) {
      const auto call = model.container.call_spec();  // None is a leaf like any other
      model.may_return_none = call && call.value().result.leaf_count() == model.output_count;
      return success();
    }
    auto spec = ModelSpec::parse(text, model.origin);
    if (!spec) return std::move(spec).error();
    if (spec.value().inputs.size() != model.input_count ||
        spec.value().outputs.size() != model.output_count) {
      return Error{Errc::damaged_package, model.origin,
                   concat({"the input spec tells of ", spec.value().inputs.size(), " inputs and ",
                           spec.value().outputs.size(), " outputs, the model of ",
                           model.input_count, " and ", model.output_count})};
    }
    model.spec = std::move(spec).value();
    for (std::size_t i = 0; i < model.input_count; ++i) {
      model.checks.emplace_back(*model.spec, i);
      model.writes |= model.spec->inputs[i].mutated;
    }
    for (const Constant& constant : model.spec->constants) model.writes |= constant.mutated;
    return success();
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
