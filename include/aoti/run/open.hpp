// How a runner is opened: from a file, a package or memory to a model that can run.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "aoti/run/container.hpp"
#include "aoti/run/gate.hpp"
#include "aoti/run/load_weights.hpp"
#include "aoti/run/operators.hpp"

namespace aoti::detail {

/// Opens runners of one class.
template <class Runner> struct Opening {
  const OpenOptions& choice;
  const typename Runner::ObserverPolicy& observer;

  Result<Runner> from(const std::string& path) const {
    if (auto mapping = Mapping::open(path); mapping && Image::recognises(mapping.value().bytes())) {
      return open_image(mapping.value().bytes(), mapping.value(), path);
    }
    auto package = Package::open(path);
    if (!package) return std::move(package).error();
    return from(package.value());
  }

  Result<Runner> from(const Package& package) const {
    auto model = package.model(choice.model);
    if (!model) return std::move(model).error();
    return from(model.value());
  }

  Result<Runner> from(const PackagedModel& model) const {
    if (choice.instances == 0 || (Runner::exclusive && choice.instances > 1)) {
      return Error{
          Errc::invalid_argument, model.origin,
          concat({"found ", choice.instances, " instances, expected ",
                  Runner::exclusive ? "1, since the runner's access is exclusive" : "1 or more"})};
    }
    if (choice.stream_affinity && Runner::exclusive) {
      return Error{Errc::invalid_argument, model.origin,
                   "found stream_affinity, expected Access::shared with it"};
    }
    auto image = preflight<Device, Runtime>(model, choice.device);
    if (!image) return std::move(image).error();
    // Creating a model changes the thread's device, which the guard restores.
    const DeviceIndex device = Device::resolve(choice.device);
    auto entered = Device::enter(device, typename Device::Stream{});
    if (!entered) return std::move(entered).error();
    const std::string name = Device::device_string(device);
    auto operators = open_operators<Runtime>(model, image.value(), name, choice);
    if (!operators) return std::move(operators).error();
    Container::Import* const import = binds_imports<Runtime> ? &Runtime::import : nullptr;
    auto container = Container::create(model, image.value(), name, choice, import);
    if (!container) return Runner::explained(std::move(container).error());
    Runner runner{observer};
    runner.device_ = device;
    runner.operators_ = std::move(operators).value();
    runner.container_ = std::move(container).value();
    runner.metadata_ = model.metadata;
    runner.origin_ = model.origin;
    auto done = guard(Errc::model_threw, "Runner::open", [&]() -> Result<void> {
      if (auto described = describe(runner); !described) return described;
      return load_weights(runner, model, image.value(), Device::native(entered.value()));
    });
    if (!done) {
      std::move(runner).unload();
      return Runner::explained(std::move(done).error());
    }
    return runner;
  }

  Result<Runner> from(Bytes bytes) const {
    if (Image::recognises(bytes)) return open_image(bytes, {}, "image in memory");
    auto package = Package::from_bytes(bytes);
    if (!package) return std::move(package).error();
    return from(package.value());
  }

 private:
  using Device = typename Runner::DevicePolicy;
  using Runtime = typename Runner::TensorRuntime;

  Result<Runner> open_image(Bytes image, const Mapping& mapping, const std::string& path) const {
    if (!choice.model.empty()) {
      return Error{Errc::no_such_model, path,
                   concat({"a bare shared object has no model named '", choice.model, "'"})};
    }
    PackagedModel model;
    model.origin = path;
    model.image = image;
    model.image_mapping = mapping;
    return from(model);
  }

  Result<void> load_weights(Runner& runner, const PackagedModel& model, const Image& image,
                            AOTInductorStreamHandle stream) const {
    if (choice.stream_affinity) {  // before anything runs, folding included
      auto bound =
          runner.container_.template call<&abi::ModelExports::set_use_stream_affinity>(true);
      if (!bound) return bound;
    }
    WeightsLoader<Runtime> loader{runner.container_, model, image};
    auto done = loader.load(runner.spec(), Device::type, choice.without_weights);
    if (!done) return done;
    if (runner.weights_state() == WeightsState::loaded) return runner.fold(false, stream);
    if (choice.without_weights || choice.may_lack_weights) {
      std::swap(runner.inputs_, runner.hidden_inputs_);
      return success();
    }
    return Error{Errc::unsupported, runner.origin_,
                 "the package carries no weights, or not in a form that this library reads; a "
                 "runner opened with OpenOptions::without_weights can be given them"};
  }

  /// Learns the counts and the spec, and picks the function to run.
  static Result<void> describe(Runner& runner) {
    const abi::ModelExports& exports = runner.container_.exports();
    // After an explicit fold a container keeps its model where only …Run looks for it.
    const bool single =
        Runner::exclusive && exports.run_single_threaded != nullptr && runner.folded_count() == 0;
    runner.run_ = single ? exports.run_single_threaded : exports.run;
    if (!Runner::exclusive && exports.get_last_error == nullptr) {  // before torch 2.13
      runner.gate_ = GatePointer::make();
    }
    auto inputs = runner.container_.input_count();
    if (!inputs) return std::move(inputs).error();
    auto outputs = runner.container_.output_count();
    if (!outputs) return std::move(outputs).error();
    runner.inputs_ = inputs.value();
    runner.outputs_ = outputs.value();
    if (runner.inputs_ > Runner::max_tensors || runner.outputs_ > Runner::max_tensors) {
      return Error{Errc::unsupported, runner.origin_,
                   concat({"found ", runner.inputs_, " inputs and ", runner.outputs_,
                           " outputs, expected at most ", Runner::max_tensors, " of each"})};
    }
    const std::string_view text = runner.metadata_[ModelSpec::metadata_key];
    if (text.empty()) return success();
    auto spec = ModelSpec::parse(text, runner.origin_);
    if (!spec) return std::move(spec).error();
    if (spec.value().inputs.size() != runner.inputs_ ||
        spec.value().outputs.size() != runner.outputs_) {
      return Error{Errc::damaged_package, runner.origin_,
                   concat({"the input spec tells of ", spec.value().inputs.size(), " inputs and ",
                           spec.value().outputs.size(), " outputs, the model of ", runner.inputs_,
                           " and ", runner.outputs_})};
    }
    runner.spec_ = std::move(spec).value();
    for (std::size_t i = 0; i < runner.inputs_; ++i) runner.checks_.emplace_back(*runner.spec_, i);
    return success();
  }
};

}  // namespace aoti::detail
