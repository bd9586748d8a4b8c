// SPDX-License-Identifier: BSD-3-Clause
// A loaded model, with everything needed to run it.
#pragma once

#include <cstddef>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/load/container.hpp"
#include "aoti/load/operators.hpp"
#include "aoti/run/check.hpp"
#include "aoti/run/denormals.hpp"
#include "aoti/run/gate.hpp"
#include "aoti/run/handles.hpp"
#include "aoti/run/observer.hpp"
#include "aoti/run/overlap.hpp"
#include "aoti/run/signature.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// What is inside a Runner: its state, and the path that every run takes. Bound runs and weight
/// updates work on it, too. Made by Opening.
template <DevicePolicy Device, class Runtime, Options options, ObserverPolicy Observer>
struct LoadedModel {
  using DevicePolicy = Device;
  using TensorRuntime = Runtime;
  using ObserverPolicy = Observer;
  using Tensor = typename Runtime::Tensor;
  using Stream = typename Device::Stream;
  using RunFunction = decltype(abi::ModelExports::run);
  using Operators = typename OperatorsOf<Runtime>::type;

  static constexpr bool exclusive = options.access == Access::exclusive;
  static constexpr bool detects_concurrent_use = exclusive && options.detect_concurrent_use;
  static constexpr std::size_t max_tensors = Handles<Runtime, std::dynamic_extent>::capacity;
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  [[no_unique_address]] Observer observer;
  // First, what every run looks at.
  RunFunction run = nullptr;
  Atomic<std::size_t> admitted_inputs = none;  // none: every run is refused, by one comparison
  DeviceIndex device;
  mutable Atomic<bool> busy = false;
  bool lends_weights = false;  // outputs may lie in memory that is freed with the model
  Signature signature;
  Atomic<bool> updating = false;
  mutable Mutex looking;  // guards lists of weights: the model's only one, and ours
  GatePointer gate;       // of models that several threads may call and that need it
  GatePointer lending;    // of models that lend weights: held until outputs have been copied
  Operators operators;    // outlive the container
  Container container;
  WeightsInUse weights_in_use;   // of shared runners: used while `looking` is held
  Atomic<unsigned> changes = 0;  // how often the weights in use have changed
  Metadata metadata;
  std::string origin;

  /// Without weights: no run is admitted.
  LoadedModel(const Observer& watching, const PackagedModel& packaged, DeviceIndex on,
              Operators&& its_operators, Container&& its_container, Signature&& its_signature)
      : observer{watching},
        device{on},
        signature{std::move(its_signature)},
        operators{std::move(its_operators)},
        container{std::move(its_container)},
        metadata{packaged.metadata},
        origin{packaged.origin} {
    // After an explicit fold, a container keeps its model where only …Run looks for it.
    const bool single = exclusive && container.traits().runs_single_threaded && folded_count() == 0;
    run = single ? container.exports().run_single_threaded : container.exports().run;
    if (!exclusive && container.traits().first_run_is_alone) gate = GatePointer::make();
    Denormals<options.flush_denormals>::prepare();
  }
  /// A moved-from model answers every call with bad_state.
  LoadedModel(LoadedModel&& other) noexcept
      : observer{other.observer},
        run{other.run},
        admitted_inputs{other.admitted_inputs.exchange(none)},
        device{other.device},
        lends_weights{other.lends_weights},
        signature{std::exchange(other.signature, Signature{})},
        gate{std::move(other.gate)},
        lending{std::move(other.lending)},
        operators{std::move(other.operators)},
        container{std::move(other.container)},
        weights_in_use{std::move(other.weights_in_use)},
        changes{other.changes.load()},
        metadata{std::move(other.metadata)},
        origin{std::move(other.origin)} {}
  LoadedModel& operator=(LoadedModel&& other) noexcept {
    if (this == &other) return *this;
    this->~LoadedModel();
    return *new (this) LoadedModel{std::move(other)};
  }
  ~LoadedModel() = default;

  /// One call of the model, step by step. The caller destroys what is left in the slots.
  /// @tparam In Inputs, or a class like it: inputs that `make` turns into handles, and that belong
  ///         to the caller until `accept`. Bound inputs were checked before; for them, the caller
  ///         settles the outputs
  template <class In, std::size_t Out>
  [[gnu::always_inline]] Result<void> call(const char* operation, In& in,
                                           std::span<AtenTensorHandle, Out> out,
                                           Stream stream) const {
    // Measured: inlined, a run takes 6 % less without libtorch; 2 % more beside other runs.
    if constexpr (exclusive) {
      return guard(
          Errc::model_threw, operation,
          [&, stream ]() __attribute__((always_inline)) { return steps(in, out, stream); });
    } else {
      return guard(Errc::model_threw, operation, [&, stream] { return steps(in, out, stream); });
    }
  }
  template <class In, std::size_t Out>
  [[gnu::always_inline]] Result<void> steps(In& in, std::span<AtenTensorHandle, Out> out,
                                            Stream stream) const {
    if (In::are_bound ? admitted_inputs.load() == none : !admits(in.size(), out.size()))
        [[unlikely]]
      return wrong_count(in.size(), out.size());
    const Occupancy occupancy{detects_concurrent_use ? &busy : nullptr};
    if (!occupancy.entered()) [[unlikely]]
      return in_use();

    if (!in.make()) [[unlikely]]
      return out_of_memory("making the handle of an input");
    // The checks come after the handles: the other way round, they would wait for the cache,
    // and then the handles' atomic operations for them, which costs twice as much.
    Fit fits = Fit::yes;
    if constexpr (options.check_inputs && !In::are_bound) {
      const Behind<Runtime> inputs{in.slots()};
      fits = fit<Runtime, In::extent, Fit::reordered>(inputs);
      if (fits == Fit::no) [[unlikely]]
        return misfit<Runtime, Fit::reordered>(inputs);
    }

    auto entered = Device::enter(device, stream);
    if (!entered) [[unlikely]]
      return std::move(entered).error();
    in.accept();
    if (fits == Fit::reordered && !reorder<Runtime>(*signature.spec, in.slots())) [[unlikely]]
      return out_of_memory("copying an input");

    const Gate::Beside beside{In::are_bound ? nullptr : lender()};
    const AOTIRuntimeError native = invoke(in.slots(), out, Device::native(entered.value()));
    if (native != 0 || operators.failed()) [[unlikely]]
      return failed(native);
    if constexpr (In::are_bound) return success();
    return settle(out);
  }

  /// Whether a run with these counts may begin; never for a model without weights.
  bool admits(std::size_t inputs, std::size_t outputs) const noexcept {
    return inputs == admitted_inputs.load() && outputs == signature.output_count;
  }

  /// Checks the inputs of a run against all rules, in this order.
  /// @tparam Views reads the elements of `inputs`, a span or the like
  /// @tparam least Fit::yes if the memory of inputs cannot be laid out anew
  /// @param report called if a rule is broken, with a function that describes it as an Error
  template <class Views, std::size_t In, Fit least, class Inputs, class Report = VerdictOnly>
  [[gnu::always_inline]] Fit fit(Inputs inputs, const Report& report = {}) const {
    bool copy = false;
    const InputCheck* const check = signature.checks.data();  // null without a spec
    const std::size_t count = inputs.size();
    const std::size_t good = count_while<In>(
        count, [&](auto i) __attribute__((always_inline)) {
          if (check == nullptr) {
            if (is_readable<Device, Views>(inputs[i])) return true;
            report([&] {
              return describe_unreadable<Views>(inputs[i], concat({"input ", std::size_t{i}}),
                                                Device::type);
            });
            return false;
          }
          const Fit one = check[i].template fit<Views, least>(*signature.spec, inputs, i, report);
          copy |= one == Fit::reordered;
          return one != Fit::no;
        });
    if (good != count) [[unlikely]]
      return Fit::no;
    if (Overlap found; signature.writes && overlap<Views>(inputs, found)) [[unlikely]]
      return report(
          [&] { return describe_overlap(*signature.spec, container.constants(), found); });
    if constexpr (knows_index<Device, Views>) {
      const std::size_t here = count_while<In>(
          count, [&](auto i) { return !is_elsewhere<Device, Views>(inputs[i], device); });
      if (here != count) [[unlikely]] {
        return report([&] {
          return Error{Errc::input_device, concat({"input ", here}),
                       describe_elsewhere<Device, Views>(inputs[here], device)};
        });
      }
    }
    return copy ? Fit::reordered : Fit::yes;
  }

  /// The first broken rule, in words.
  template <class Views, Fit least, class Inputs>
  [[gnu::cold, gnu::noinline]] Error misfit(Inputs inputs) const {
    Error error{Errc::bad_state, origin, "inputs or weights were changed while they were checked"};
    static_cast<void>(fit<Views, std::dynamic_extent, least>(inputs, InWords{error}));
    return error;
  }

  /// Finds inputs that overlap each other or weights while the model writes to one of them.
  template <class Views, class Inputs>
  [[gnu::noinline]] bool overlap(Inputs inputs, Overlap& found) const {
    std::optional<Mutex::Hold> hold;
    if constexpr (!exclusive) hold.emplace(looking);
    return find_overlap<Views, Runtime>(*signature.spec, weights_in_use, inputs, found);
  }

  /// Whether any part of a weight that the model runs on lies in a range of memory.
  bool is_weight(const ByteRange& range) const {
    std::optional<Mutex::Hold> hold;
    if constexpr (!exclusive) hold.emplace(looking);
    bool any = false;
    for (const WeightsInUse::Weight& weight : weights_in_use.list) any |= range.meets(weight.range);
    return any;
  }

  /// Records which weights the model runs on.
  /// @param tensors by constant; null if not known
  void use(const std::vector<AtenTensorHandle>& tensors) {
    WeightsInUse now = WeightsInUse::of<Runtime>(container.constants(), tensors);
    const Mutex::Hold hold{looking};
    std::swap(weights_in_use, now);
    changes.increment();
  }

  /// Prevents weights that outputs may lie in from being freed.
  [[gnu::always_inline]] Gate* lender() const noexcept {
    return exclusive ? nullptr : lending.get();
  }

  /// A run's one call into the model's code.
  [[gnu::always_inline]] AOTIRuntimeError invoke(std::span<AtenTensorHandle> in,
                                                 std::span<AtenTensorHandle> out,
                                                 AOTInductorStreamHandle stream) const {
    operators.begin_run();
    [[maybe_unused]] const RunningOf<Runtime> running;
    [[maybe_unused]] const Denormals<options.flush_denormals> denormals;
    const auto call = [&] {
      return run(container.handle(), in.data(), in.size(), out.data(), out.size(), stream,
                 operators.handle());
    };
    return exclusive || gate.get() == nullptr ? call() : gate.get()->pass(call);
  }

  /// Gives every output its own handle: a model that returns a tensor twice writes its handle
  /// twice, one that returns an input writes the lent handle, and one that returns None no handle.
  template <std::size_t Out>
  [[gnu::always_inline]] Result<void> settle(std::span<AtenTensorHandle, Out> out) const {
    bool has_memory = true;
    const std::size_t good = count_while<Out>(out.size(), [&](std::size_t i) {
      if (out[i] == nullptr) [[unlikely]]
        return signature.may_be_none(i);
      bool shared = is_lent<Runtime>(out[i]);
      for (std::size_t k = 0; k < i; ++k) shared |= out[k] == out[i];
      if (shared) [[unlikely]] {
        out[i] = Runtime::share(Runtime::peek(out[i]));
        has_memory = out[i] != nullptr;
      }
      return has_memory;
    });
    if (good != out.size()) [[unlikely]] {
      if (!has_memory) return out_of_memory("sharing an output that is an input or returned twice");
      return missing_output(good);
    }
    if constexpr (TellsOwnership<Runtime>) {
      if (lends_weights) [[unlikely]]
        return copy_lent(out);
    }
    return success();
  }

  /// Copies outputs whose memory is freed with the model: views of weights in its image.
  [[gnu::noinline]] Result<void> copy_lent(std::span<AtenTensorHandle> out) const {
    for (AtenTensorHandle& slot : out) {
      if (slot == nullptr || Runtime::owns_memory(Runtime::peek(slot))) [[likely]]
        continue;
      const Tensor& lent = Runtime::peek(slot);
      const auto strides = Runtime::strides(lent);
      std::vector<int> order(Runtime::is_row_major(lent) ? 0 : strides.size());
      for (std::size_t i = 0; i < order.size(); ++i) {
        std::size_t at = i;
        for (; at > 0 && strides[static_cast<std::size_t>(order[at - 1])] < strides[i]; --at) {
          order[at] = order[at - 1];
        }
        order[at] = static_cast<int>(i);
      }
      Tensor copy = Runtime::reordered(lent, order);
      AtenTensorHandle own = Runtime::is_defined(copy) ? Runtime::give(std::move(copy)) : nullptr;
      if (own == nullptr) return out_of_memory("copying an output");
      Runtime::destroy(std::exchange(slot, own));
    }
    return success();
  }

  /// The model has its weights: from now on runs are admitted.
  void admit() noexcept { admitted_inputs.store(signature.input_count); }

  /// Calls `body(native stream)` on the model's device.
  template <class Body> Result<void> on_device(Stream stream, Body&& body) const {
    AOTI_TRY(auto entered, Device::enter(device, stream));
    return body(Device::native(entered));
  }

  /// How many constants the model computes from others.
  std::size_t folded_count() const noexcept {
    std::size_t count = 0;
    for (const Constant& constant : container.constants()) count += constant.folded;
    return count;
  }

  /// Computes the folded constants, of a model that has some. Wraps …RunConstantFolding.
  Result<void> fold(bool inactive, AOTInductorStreamHandle stream) {
    const std::size_t count = folded_count();
    if (count != 0) {  // other models print an error on stderr
      Watch watch{observer, Event::fold};
      [[maybe_unused]] const RunningOf<Runtime> running;
      watch.about(count, inactive);
      operators.begin_run();
      auto done = container.template call<&abi::ModelExports::run_constant_folding>(
          inactive, stream, operators.handle());
      if (operators.failed()) {
        std::string text = operators.take_failure();
        const Errc code = tells_of_memory(text) ? Errc::out_of_memory : Errc::model_failed;
        constexpr const abi::Row& row = abi::export_row<&abi::ModelExports::run_constant_folding>;
        done = Error{code, row.symbol, std::move(text)};
      }
      watch.ended(done);
      if (!done) return done;
    }
    if (!inactive) container.weight_sets().fold();
    return success();
  }

  /// Adds the runtime's reason if the model only names the function that failed.
  [[gnu::cold, gnu::noinline]] static Error explained(Error error) {
    if (error.text().find("API call failed") == std::string_view::npos) return error;
    const std::string reason = Runtime::last_error();
    if (reason.empty()) return error;
    std::string text = concat({reason, " (", error.text(), ")"});
    const Errc code = tells_of_memory(text) ? Errc::out_of_memory : error.code();
    return {code, std::string{error.operation()}, std::move(text), error.native_code()};
  }

  [[gnu::cold, gnu::noinline]] Error wrong_count(std::size_t inputs, std::size_t outputs) const {
    const std::size_t expected = admitted_inputs.load();
    // The first weights may have arrived since this run was refused.
    if (expected == none || admits(inputs, outputs)) return gone();
    if (inputs != expected) {
      return {Errc::input_count, origin,
              concat({"found ", inputs, " inputs, expected ", expected})};
    }
    return {Errc::output_count, origin,
            concat({"found room for ", outputs, " outputs, expected ", signature.output_count})};
  }
  [[gnu::cold, gnu::noinline]] Error gone() const {
    if (container.handle() != nullptr) {
      return {Errc::bad_state, origin, "the model has no weights yet"};
    }
    return {Errc::bad_state, "Runner", "the runner was moved from or unloaded"};
  }
  [[gnu::cold, gnu::noinline]] Error out_of_memory(const char* while_doing) const {
    return {Errc::out_of_memory, origin, while_doing};
  }
  [[gnu::cold, gnu::noinline]] Error in_use() const {
    return {
        Errc::bad_state, origin,
        "another thread is inside this runner; open one for each thread, or use Access::shared"};
  }
  [[gnu::cold, gnu::noinline]] Error missing_output(std::size_t i) const {
    return {
        Errc::model_failed, origin,
        concat({"the model returned success but no output ", i, " of ", signature.output_count})};
  }
  [[gnu::cold, gnu::noinline]] Error failed(AOTIRuntimeError native) const {
    const bool single = run == container.exports().run_single_threaded;
    const abi::Row& row = single ? abi::export_row<&abi::ModelExports::run_single_threaded>
                                 : abi::export_row<&abi::ModelExports::run>;
    if (operators.failed()) {
      std::string text = operators.take_failure();
      if (native != 0 && container.traits().tells_errors) {
        const Error error = abi::detail::model_error(container.exports(), row, native);
        text = concat({text, " (", error.text(), ")"});
      }
      const Errc code = tells_of_memory(text) ? Errc::out_of_memory : Errc::model_failed;
      return {code, row.symbol, std::move(text), native};
    }
    return explained(abi::detail::model_error(container.exports(), row, native));
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
