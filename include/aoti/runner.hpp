// SPDX-License-Identifier: BSD-3-Clause
// Runner: a compiled model, opened and run, with device, tensors and threading chosen at compile
// time.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "aoti/open/open.hpp"
#include "aoti/package/source.hpp"
#include "aoti/run/loaded_model.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail {
template <class Runner> struct WeightsAccess;
template <class Runner, class Base> struct Erasing;
}  // namespace detail

/// A compiled model, ready to run.
///
/// With Access::exclusive, the default, only one thread at a time may call a runner, but it need
/// not always be the same one. With Access::shared, any number may. Opening is safe from several
/// threads at once. After a fork, runs in the child may hang if another thread was running a model
/// at that moment, or if a model had already run with several threads.
/// A run allocates nothing itself. What is allocated is the outputs, by the model; a tensor handle
/// for each input, by runtimes that cannot lend it (Libtorch); and a copy of each input whose
/// memory is not laid out as the compiled code assumes. The forms that return a vector allocate
/// that too.
///
/// An observer is told of every event in a runner's life, see run/observer.hpp. Without one, the
/// default, no code for it is compiled.
///
/// Every form of run takes a stream, on which the model queues its work. `Stream{}`, the default,
/// is the calling thread's current stream; see the device policy for others, and for when outputs
/// may be read. On return the thread's device and stream are what they were before.
template <detail::CheckedDevice Device, class Runtime = Libtorch, Options options = Options{},
          detail::CheckedObserver Observer = NoObserver>
class Runner {
  static_assert(detail::CheckedRuntime<Runtime>,
                "name a complete TensorRuntime; for Libtorch include <aoti/runtime/libtorch.hpp>");

 public:
  using DevicePolicy = Device;
  using TensorRuntime = Runtime;
  using ObserverPolicy = Observer;
  using Tensor = typename Runtime::Tensor;
  using Tensors = std::vector<Tensor>;
  using Stream = typename Device::Stream;

  /// The most inputs or outputs that a model may have: their handles lie on the stack.
  static constexpr std::size_t max_tensors =
      detail::Handles<Runtime, std::dynamic_extent>::capacity;

  /// Opens a .pt2 package, a directory into which one was unpacked, or a bare shared object with
  /// the files that torch wrote beside it, see BasicPackage::open.
  /// @errors all of Errc on the file and on the match of model, machine and process, listed at
  ///         Package, preflight, open_operators and Container::create; invalid_argument
  static Result<Runner> open(const std::string& path, const OpenOptions& choice = {},
                             const Observer& observer = {}) {
    return open_from(path, choice, observer);
  }

  /// Opens a model of an open package, which may be closed afterwards.
  static Result<Runner> open(const Package& package, const OpenOptions& choice = {},
                             const Observer& observer = {}) {
    return open_from(package, choice, observer);
  }

  /// Opens a model of a package, which must stay open during the call.
  static Result<Runner> open(const PackagedModel& model, const OpenOptions& choice = {},
                             const Observer& observer = {}) {
    return open_from(model, choice, observer);
  }

  /// Opens a package or a bare shared object in memory; the bytes are needed only during the call.
  static Result<Runner> open(Bytes bytes, const OpenOptions& choice = {},
                             const Observer& observer = {}) {
    return open_from(bytes, choice, observer);
  }

  /// Opens a model that is part of the program, see aoti/linked_model.hpp and aoti_add_static_model
  /// in CMake.
  static Result<Runner> open(const LinkedModel& model, const OpenOptions& choice = {},
                             const Observer& observer = {}) {
    if (model.is_bound != BindsImports<Runtime>) {
      return Error{Errc::unsupported, std::string{model.name},
                   model.is_bound ? "the model was linked with the native runtime, and cannot run "
                                    "on the process's"
                                  : "the model was linked with the process's runtime, and cannot "
                                    "run on the native one"};
    }
    return open_from(model, choice, observer);
  }

  /// A moved-from runner answers every call with bad_state.
  Runner(Runner&&) noexcept = default;
  Runner& operator=(Runner&&) noexcept = default;
  ~Runner() = default;

  /// Runs with counts known at compile time: `auto result = runner.run<1>(a, b)`. Inputs keep their
  /// data; one passed by std::move is taken over, unless the call is refused (counts, inputs,
  /// bad_state), and must not be passed twice.
  /// @errors input_count, output_count, those on inputs, bad_state, out_of_memory, model_failed,
  ///         model_threw; those of the device policy's `enter`
  template <std::size_t Outputs, detail::InputOf<Tensor>... Inputs>
  [[gnu::always_inline]] Result<std::array<Tensor, Outputs>> run(Inputs&&... inputs) const {
    return run_array<Outputs>(Stream{}, std::forward<Inputs>(inputs)...);
  }
  /// The same on a stream: `runner.run<1>(stream, a, b)`.
  template <std::size_t Outputs, detail::InputOf<Tensor>... Inputs>
  [[gnu::always_inline]] Result<std::array<Tensor, Outputs>> run(Stream stream,
                                                                 Inputs&&... inputs) const {
    return run_array<Outputs>(stream, std::forward<Inputs>(inputs)...);
  }
  /// Rejects other arguments at compile time.
  template <std::size_t Outputs, class First, class... Rest>
  Result<std::array<Tensor, Outputs>> run(First&&, Rest&&...) const
      requires(!detail::are_arguments<Tensor, Stream, First, Rest...>) {
    static_assert(detail::are_arguments<Tensor, Stream, First, Rest...>,
                  "inputs are tensors of the runtime, passed by reference or by std::move, after a "
                  "Stream if there is one");
    return Error{Errc::invalid_argument};
  }

  /// Runs into the caller's slots, whose tensors are replaced.
  /// @errors as above; on any error the outputs are unchanged
  Result<void> run_into(std::span<const Tensor> inputs, std::span<Tensor> outputs,
                        Stream stream = {}) const {
    return run_list(detail::Listed<const Tensor>{inputs}, outputs, stream);
  }

  /// Runs with counts known at run time.
  /// @errors as above
  /// @allocates the vector
  Result<Tensors> run(std::span<const Tensor> inputs, Stream stream = {}) const {
    return detail::guard(Errc::model_threw, "Runner::run", [&, stream]() -> Result<Tensors> {
      Tensors outputs(model_.signature.output_count);
      AOTI_TRYV(run_into(inputs, outputs, stream));
      return outputs;
    });
  }

  /// Runs and takes over the inputs, so that the model can free or reuse each one as soon as it is
  /// done with it; the slots are undefined tensors afterwards, even if the model fails. A call that
  /// is refused (counts, inputs, bad_state) takes nothing.
  /// @errors as above
  /// @allocates the vector
  Result<Tensors> boxed_run(std::span<Tensor> inputs, Stream stream = {}) const {
    return detail::guard(Errc::model_threw, "Runner::run", [&, stream]() -> Result<Tensors> {
      Tensors outputs(model_.signature.output_count);
      AOTI_TRYV(run_list(detail::Listed<Tensor>{inputs}, outputs, stream));
      return outputs;
    });
  }

  /// Runs on raw handles. Those of the inputs are taken over and their slots set to null, unless
  /// the call is refused (counts, inputs, bad_state). The slots of the outputs are overwritten:
  /// with handles that the caller owns, or with null on any error.
  /// Wraps AOTInductorModelContainerRunSingleThreaded, or …Run for shared access or older models.
  /// @errors as above
  Result<void> run_handles(std::span<AtenTensorHandle> inputs, std::span<AtenTensorHandle> outputs,
                           Stream stream = {}) const {
    detail::Watch watch{model_.observer, Event::run};
    for (AtenTensorHandle& output : outputs) output = nullptr;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i] == nullptr) {
        return watch.failed(detail::described([&] {
          return Error{Errc::undefined_tensor, detail::concat({"input ", i}), "the handle is null"};
        }));
      }
    }
    auto done = [&] {
      detail::GivenHandles<Runtime> in{inputs};
      return model_.call("Runner::run_handles", in, outputs, stream);
    }();
    if (!done) detail::destroy_all<Runtime>(outputs);
    watch.ended(done);
    return done;
  }

  /// The numbers of tensors that a run takes and returns.
  std::size_t input_count() const noexcept { return model_.signature.input_count; }
  std::size_t output_count() const noexcept { return model_.signature.output_count; }

  /// The name of an input or output: from the spec, else the one inside the compiled code.
  /// @errors invalid_argument (no such index)
  Result<std::string> input_name(std::size_t i) const {
    return detail::guard(Errc::model_threw, "Runner::input_name", [&]() -> Result<std::string> {
      if (i >= input_count()) return no_such("input", i, input_count());
      return model_.signature.input_name(model_.container, i);
    });
  }
  Result<std::string> output_name(std::size_t i) const {
    return detail::guard(Errc::model_threw, "Runner::output_name", [&]() -> Result<std::string> {
      if (i >= output_count()) return no_such("output", i, output_count());
      return model_.signature.output_name(model_.container, i);
    });
  }

  /// The index of the input or output with such a name, for tensors that are given by name.
  /// @errors invalid_argument (no such name)
  Result<std::size_t> input_index(std::string_view name) const {
    return index_of("input", name, input_count(), &Runner::input_name);
  }
  Result<std::size_t> output_index(std::string_view name) const {
    return index_of("output", name, output_count(), &Runner::output_name);
  }

  /// What the inputs and outputs are; null if the package carries no spec. Then only the number of
  /// inputs is checked, and that each is a tensor that the model can read.
  const ModelSpec* spec() const noexcept {
    return model_.signature.spec ? &*model_.signature.spec : nullptr;
  }

  /// How the model is called from Python. @errors unsupported (it has no call spec)
  Result<CallSpec> call_spec() const {
    return detail::guard(Errc::model_threw, "Runner::call_spec",
                         [&] { return model_.container.call_spec(); });
  }

  /// The package's metadata; empty for a bare shared object without metadata beside it.
  const Metadata& metadata() const noexcept { return model_.metadata; }

  /// The model's weights: names, dtypes, sizes, and shapes if known. To read and change them, see
  /// aoti/weights.hpp.
  const std::vector<Constant>& constants() const noexcept { return model_.container.constants(); }

  /// Whether the model has its weights; without them a run is refused with bad_state.
  WeightsState weights_state() const noexcept { return model_.container.weight_sets().state(); }

  /// The key of the device that the model runs on.
  static constexpr std::string_view device_key() noexcept { return Device::key; }

  /// The file and the model's name in it.
  const std::string& origin() const noexcept { return model_.origin; }

  /// The operators that the model calls through a proxy executor, as the runtime represents them.
  const auto& operators() const noexcept { return model_.operators; }

  /// The container, for calls that this class does not offer.
  const Container& container() const noexcept { return model_.container; }

  /// Deletes the model and unloads its image, which a runner's destructor leaves loaded. Only for
  /// callers who know that no thread is inside it and that nothing of it is used afterwards.
  void unload() && noexcept {
    Runner rest{std::move(*this)};
    std::move(rest.model_.container).unload();
  }

 private:
  template <class, class> friend struct detail::Erasing;
  template <class> friend class WeightsUpdate;
  template <class> friend class BoundRun;
  template <class> friend class ArrayRefModel;
  template <class> friend struct detail::WeightsAccess;

  using Model = detail::LoadedModel<Device, Runtime, options, Observer>;

  explicit Runner(Model&& model) noexcept : model_{std::move(model)} {}

  template <class Source>
  static Result<Runner> open_from(const Source& source, const OpenOptions& choice,
                                  const Observer& observer) {
    detail::Watch watch{observer, Event::load};
    auto model = detail::guard(Errc::library_load_failed, "Runner::open", [&] {
      return detail::with_model(source, choice.model, [&](const PackagedModel& packaged) {
        constexpr bool linked = std::same_as<Source, LinkedModel>;
        return detail::Opening<Model>{choice, observer}.template from<linked>(packaged);
      });
    });
    if (model) watch.about(model.value().container.constants().size());
    watch.ended(model);
    if (!model) return std::move(model).error();
    return Runner{std::move(model).value()};
  }

  template <std::size_t Outputs, class... Inputs>
  [[gnu::flatten]] Result<std::array<Tensor, Outputs>> run_array(Stream stream,
                                                                 Inputs&&... inputs) const {
    using Source = detail::Arguments<Tensor, std::same_as<Inputs&&, Tensor&&>...>;
    detail::Watch watch{model_.observer, Event::run};
    detail::Inputs<Runtime, Source> in{Source{{&inputs...}}};
    detail::Handles<Runtime, Outputs> out;
    auto done = model_.call("Runner::run", in, out.slots(), stream);
    watch.ended(done);
    if (!done) [[unlikely]]
      return std::move(done).error();
    std::array<Tensor, Outputs> tensors;
    for (std::size_t i = 0; i < Outputs; ++i) tensors[i] = out.take(i);
    return tensors;
  }

  /// `run<…>` with counts known at run time; `given[i]` says whether input i is given to the model.
  Result<void> run_pointers(std::span<const Tensor* const> inputs, std::span<const bool> given,
                            std::span<Tensor> outputs) const {
    return run_list(detail::PointedTo<Tensor>{inputs, given}, outputs, Stream{});
  }

  template <class Source>
  [[gnu::flatten]] Result<void> run_list(const Source& inputs, std::span<Tensor> outputs,
                                         Stream stream) const {
    detail::Watch watch{model_.observer, Event::run};
    if (!model_.admits(inputs.size(), outputs.size())) [[unlikely]]
      return watch.failed(
          detail::described([&] { return model_.wrong_count(inputs.size(), outputs.size()); }));
    detail::Inputs<Runtime, Source> in{inputs};
    detail::Handles<Runtime, std::dynamic_extent> out{outputs.size()};
    auto done = model_.call("Runner::run", in, out.slots(), stream);
    if (done) [[likely]] {
      for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i] = out.take(i);
    }
    watch.ended(done);
    return done;
  }

  [[gnu::cold, gnu::noinline]] Error no_such(const char* what, std::size_t i,
                                             std::size_t count) const {
    if (model_.container.handle() == nullptr) return model_.gone();
    return {Errc::invalid_argument, origin(),
            detail::concat({"there is no ", what, " ", i, "; the model has ", count})};
  }

  [[gnu::cold, gnu::noinline]] Result<std::size_t> index_of(
      const char* what, std::string_view wanted, std::size_t count,
      Result<std::string> (Runner::*name_of)(std::size_t) const) const {
    return detail::guard(Errc::model_threw, "Runner", [&]() -> Result<std::size_t> {
      std::vector<std::string> names;
      for (std::size_t i = 0; i < count; ++i) {
        AOTI_TRY(auto name, (this->*name_of)(i));
        if (name == wanted) return i;
        names.push_back(std::move(name));
      }
      if (model_.container.handle() == nullptr) return model_.gone();
      return Error{Errc::invalid_argument, origin(),
                   detail::concat({"there is no ", what, " '", wanted, "'; the model has ",
                                   detail::join(names)})};
    });
  }

  Model model_;
};

}  // namespace aoti::inline AOTI_ABI
