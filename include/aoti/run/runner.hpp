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

#include "aoti/run/check.hpp"
#include "aoti/run/container.hpp"
#include "aoti/run/gate.hpp"
#include "aoti/run/handles.hpp"
#include "aoti/run/observer.hpp"
#include "aoti/run/open.hpp"
#include "aoti/run/operators.hpp"

namespace aoti {

namespace detail {
template <class Runner> struct WeightsAccess;
}

/// A compiled model, ready to run.
///
/// With Access::exclusive, the default, one thread at a time may call a runner; which thread may
/// change. With Access::shared any number may. Opening is safe from several threads at once.
/// A run allocates nothing of its own: what is allocated are the outputs, by the model, a tensor
/// handle for each input, by runtimes that cannot lend it (Libtorch), and a copy of each input
/// whose memory is not laid out as the compiled code assumes. The forms that return a vector
/// allocate that too.
///
/// An observer hears of every event in a runner's life, see run/observer.hpp; without one, the
/// default, no code of that is there.
///
/// Every form of run takes a stream, on which the model queues its work: `Stream{}`, the default,
/// is the one that is current for the calling thread; see the device policy for others, and for
/// when outputs may be read. On return the thread's device and stream are what they were.
template <DevicePolicy Device, class Runtime = Libtorch, Options options = Options{},
          ObserverPolicy Observer = NoObserver>
class Runner {
  static_assert(aoti::TensorRuntime<Runtime>,
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

  /// Opens a .pt2 package, a directory into which one was unpacked, or a bare shared object.
  /// @errors all of Errc's on the file and on the match of model, machine and process, named by
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

  /// Opens a model of a package that is open as long as the call.
  static Result<Runner> open(const PackagedModel& model, const OpenOptions& choice = {},
                             const Observer& observer = {}) {
    return open_from(model, choice, observer);
  }

  /// Opens a package or a bare shared object in memory; the bytes are needed during the call only.
  static Result<Runner> open(Bytes bytes, const OpenOptions& choice = {},
                             const Observer& observer = {}) {
    return open_from(bytes, choice, observer);
  }

  /// A runner that was moved from answers every call with bad_state.
  Runner(Runner&& other) noexcept
      : observer_{other.observer_},
        run_{other.run_},
        inputs_{std::exchange(other.inputs_, none)},
        hidden_inputs_{std::exchange(other.hidden_inputs_, none)},
        outputs_{std::exchange(other.outputs_, 0)},
        device_{other.device_},
        gate_{std::move(other.gate_)},
        operators_{std::move(other.operators_)},
        container_{std::move(other.container_)},
        checks_{std::move(other.checks_)},
        spec_{std::exchange(other.spec_, std::nullopt)},
        metadata_{std::move(other.metadata_)},
        origin_{std::move(other.origin_)} {}
  Runner& operator=(Runner&& other) noexcept {
    observer_ = other.observer_;
    run_ = other.run_;
    inputs_ = std::exchange(other.inputs_, none);
    hidden_inputs_ = std::exchange(other.hidden_inputs_, none);
    outputs_ = std::exchange(other.outputs_, 0);
    device_ = other.device_;
    gate_ = std::move(other.gate_);
    container_ = std::move(other.container_);
    operators_ = std::move(other.operators_);
    checks_ = std::move(other.checks_);
    spec_ = std::exchange(other.spec_, std::nullopt);
    metadata_ = std::move(other.metadata_);
    origin_ = std::move(other.origin_);
    return *this;
  }
  ~Runner() = default;

  /// Runs with counts known at compile time, without any allocation of this library:
  /// `auto result = runner.run<1>(a, b)`. Inputs keep their data; one passed by std::move is taken
  /// over, unless the call is refused (counts, inputs, bad_state), and must not be passed twice.
  /// @errors input_count, output_count, those on inputs, bad_state, out_of_memory, model_failed,
  ///         model_threw; those of the device policy's `enter`
  template <std::size_t Outputs, detail::InputOf<Tensor>... Inputs>
  [[gnu::always_inline]] Result<std::array<Tensor, Outputs>> run(Inputs&&... inputs) const {
    detail::Watch watch{observer_, Event::run};
    auto outputs = run_array<Outputs>(Stream{}, std::forward<Inputs>(inputs)...);
    watch.ended(outputs);
    return outputs;
  }
  /// The same on a stream: `runner.run<1>(stream, a, b)`.
  template <std::size_t Outputs, detail::InputOf<Tensor>... Inputs>
  [[gnu::always_inline]] Result<std::array<Tensor, Outputs>> run(Stream stream,
                                                                 Inputs&&... inputs) const {
    detail::Watch watch{observer_, Event::run};
    auto outputs = run_array<Outputs>(stream, std::forward<Inputs>(inputs)...);
    watch.ended(outputs);
    return outputs;
  }

  /// Runs into slots of the caller's, without any allocation of this library.
  /// @errors as above; on any error the outputs are as they were
  Result<void> run_into(std::span<const Tensor> inputs, std::span<Tensor> outputs,
                        Stream stream = {}) const {
    detail::Watch watch{observer_, Event::run};
    Rooms<8> rooms;
    auto done = run_spans(
        inputs.size(), outputs, stream,
        [&](std::size_t i) {
          return i < rooms.size() ? detail::lend<Runtime>(inputs[i], rooms[i])
                                  : Runtime::share(inputs[i]);
        },
        [](std::size_t, Tensor&&) {});
    watch.ended(done);
    return done;
  }

  /// Runs with counts known at run time.
  /// @errors as above
  /// @allocates the vector
  Result<Tensors> run(std::span<const Tensor> inputs, Stream stream = {}) const {
    return detail::guard(Errc::model_threw, "Runner::run", [&, stream]() -> Result<Tensors> {
      Tensors outputs(outputs_);
      if (auto done = run_into(inputs, outputs, stream); !done) return std::move(done).error();
      return outputs;
    });
  }

  /// Runs and takes the inputs over, so that the model can free or reuse each one as soon as it is
  /// done with it; the slots are undefined tensors afterwards, also when the model fails. A call
  /// that is refused (counts, inputs, bad_state) takes nothing.
  /// @errors as above
  /// @allocates the vector
  Result<Tensors> boxed_run(std::span<Tensor> inputs, Stream stream = {}) const {
    return detail::guard(Errc::model_threw, "Runner::run", [&, stream]() -> Result<Tensors> {
      Tensors outputs(outputs_);
      detail::Watch watch{observer_, Event::run};
      auto done = run_spans(
          inputs.size(), outputs, stream,
          [&](std::size_t i) { return Runtime::give(std::move(inputs[i])); },
          [&](std::size_t i, Tensor&& tensor) { inputs[i] = std::move(tensor); });
      watch.ended(done);
      if (!done) return std::move(done).error();
      return outputs;
    });
  }

  /// Runs on raw handles. Those of the inputs are taken over and their slots set to null, unless
  /// the call is refused (counts, inputs, bad_state). The slots of the outputs are overwritten: by
  /// handles that are the caller's, or by null on any error.
  /// Wraps AOTInductorModelContainerRunSingleThreaded, or …Run for shared access or older models.
  /// @errors as above
  Result<void> run_handles(std::span<AtenTensorHandle> inputs, std::span<AtenTensorHandle> outputs,
                           Stream stream = {}) const {
    detail::Watch watch{observer_, Event::run};
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i] == nullptr) {
        return watch.failed(
            Error{Errc::undefined_tensor, detail::concat({"input ", i}), "the handle is null"});
      }
    }
    for (AtenTensorHandle& output : outputs) output = nullptr;
    bool refused = true;
    auto done = detail::guard(Errc::model_threw, "Runner::run_handles", [&, stream] {
      return execute<std::dynamic_extent, std::dynamic_extent>(
          inputs, outputs, refused, stream, [&](std::size_t i) { return inputs[i]; });
    });
    if (!refused) detail::destroy_all<Runtime>(inputs);
    if (!done) detail::destroy_all<Runtime>(outputs);
    watch.ended(done);
    return done;
  }

  /// The numbers of tensors that a run takes and returns.
  std::size_t input_count() const noexcept {
    const std::size_t count = inputs_ != none ? inputs_ : hidden_inputs_;
    return count != none ? count : 0;
  }
  std::size_t output_count() const noexcept { return outputs_; }

  /// The name of an input or output: the spec's, else the one inside the compiled code.
  /// @errors invalid_argument (there is none of that index)
  Result<std::string> input_name(std::size_t i) const {
    if (i >= input_count()) return no_such("input", i, input_count());
    return spec_ ? spec_->inputs[i].name : container_.input_name(i);
  }
  Result<std::string> output_name(std::size_t i) const {
    if (i >= outputs_) return no_such("output", i, outputs_);
    return spec_ ? spec_->outputs[i].name : container_.output_name(i);
  }

  /// What the inputs and outputs are; null where the package carries no spec, in which case only
  /// the number of inputs is checked.
  const ModelSpec* spec() const noexcept { return spec_ ? &*spec_ : nullptr; }

  /// How the model is called from Python. @errors unsupported (it has no call spec)
  Result<CallSpec> call_spec() const {
    return detail::guard(Errc::model_threw, "Runner::call_spec",
                         [&] { return container_.call_spec(); });
  }

  /// The package's metadata; empty for a bare shared object.
  const Metadata& metadata() const noexcept { return metadata_; }

  /// The model's weights: names, dtypes, sizes, and shapes where they are known. How to read and
  /// change them: run/weights.hpp.
  const std::vector<Constant>& constants() const noexcept { return container_.constants(); }

  /// Whether the model has its weights; without them a run is refused with bad_state.
  WeightsState weights_state() const noexcept { return container_.ledger().state; }

  /// The file and the model's name in it.
  const std::string& origin() const noexcept { return origin_; }

  /// The operators that the model calls through a proxy executor, as the runtime has them.
  const auto& operators() const noexcept { return operators_; }

  /// The container, for calls that this class does not offer.
  const Container& container() const noexcept { return container_; }

  /// Deletes the model and unloads its image, which a runner's destructor leaves loaded. Only for
  /// those who know that no thread is inside it and nothing of it is used afterwards.
  void unload() && noexcept {
    Runner rest{std::move(*this)};
    std::move(rest.container_).unload();
  }

 private:
  template <class> friend class WeightsUpdate;
  template <class> friend class BoundRun;
  template <class> friend struct detail::WeightsAccess;
  template <class> friend struct detail::Opening;

  using RunFunction = decltype(abi::ModelExports::run);
  template <std::size_t count>
  using Rooms = std::array<typename detail::RoomOf<Runtime>::type, count>;
  static constexpr bool exclusive = options.access == Access::exclusive;
  static constexpr bool detects_concurrent_use = exclusive && options.detect_concurrent_use;

  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  explicit Runner(const Observer& observer) noexcept : observer_{observer} {}

  template <class Source>
  static Result<Runner> open_from(const Source& source, const OpenOptions& choice,
                                  const Observer& observer) {
    detail::Watch watch{observer, Event::load};
    auto runner = detail::guard(Errc::library_load_failed, "Runner::open", [&] {
      return detail::Opening<Runner>{choice, observer}.from(source);
    });
    if (runner) watch.about(runner.value().constants().size());
    watch.ended(runner);
    return runner;
  }

  template <class Body> Result<void> on_device(Stream stream, Body&& body) const {
    auto guard = Device::enter(device_, stream);
    if (!guard) return std::move(guard).error();
    return body(Device::native(guard.value()));
  }

  /// How many constants the model computes from others.
  std::size_t folded_count() const noexcept {
    std::size_t count = 0;
    for (const Constant& constant : constants()) count += constant.folded;
    return count;
  }

  /// Computes the folded constants, of a model that has some. Wraps …RunConstantFolding.
  Result<void> fold(bool inactive, AOTInductorStreamHandle stream) {
    const std::size_t count = folded_count();
    if (count != 0) {  // other models complain on stderr
      detail::Watch watch{observer_, Event::fold};
      [[maybe_unused]] const typename detail::RunningOf<Runtime>::type running;
      watch.about(count, inactive);
      auto done = container_.template call<&abi::ModelExports::run_constant_folding>(
          inactive, stream, operators_.handle());
      watch.ended(done);
      if (!done) return done;
    }
    if (!inactive) container_.ledger().state = WeightsState::folded;
    return success();
  }

  template <std::size_t Outputs, class... Inputs>
  [[gnu::flatten]] Result<std::array<Tensor, Outputs>> run_array(Stream stream,
                                                                 Inputs&&... inputs) const {
    constexpr std::size_t count = sizeof...(Inputs);
    const std::array<const Tensor*, count> pointers{&inputs...};
    constexpr std::array<bool, count> taken{std::same_as<Inputs&&, Tensor&&>...};
    Rooms<count> rooms;
    detail::Handles<Runtime, count> in;
    detail::Handles<Runtime, Outputs> out;
    bool refused = true;
    auto done = detail::guard(Errc::model_threw, "Runner::run", [&, stream] {
      return execute<count, Outputs>(in, out, refused, stream, [&](auto i) {
        if constexpr (taken[i]) {
          return Runtime::give(std::move(const_cast<Tensor&>(*pointers[i])));
        } else {
          return detail::lend<Runtime>(*pointers[i], rooms[i]);
        }
      });
    });
    if (!done) [[unlikely]] {
      for (std::size_t i = 0; i < count && refused; ++i) {
        if (taken[i] && in[i] != nullptr) const_cast<Tensor&>(*pointers[i]) = in.take(i);
      }
      return std::move(done).error();
    }
    std::array<Tensor, Outputs> tensors;
    for (std::size_t i = 0; i < Outputs; ++i) tensors[i] = out.take(i);
    return tensors;
  }

  /// `make(i)` makes the handle of input i, and `give_back(i, tensor)` undoes that.
  template <class Make, class GiveBack>
  [[gnu::flatten]] Result<void> run_spans(std::size_t inputs, std::span<Tensor> outputs,
                                          Stream stream, Make make, GiveBack give_back) const {
    if (inputs != inputs_ || outputs.size() != outputs_) [[unlikely]] {
      return wrong_count(inputs, outputs.size());
    }
    constexpr std::size_t any = std::dynamic_extent;
    detail::Handles<Runtime, any> in{inputs};
    detail::Handles<Runtime, any> out{outputs.size()};
    bool refused = true;
    auto done = detail::guard(Errc::model_threw, "Runner::run", [&, stream] {
      return execute<any, any>(in, out, refused, stream, make);
    });
    if (!done) [[unlikely]] {
      for (std::size_t i = 0; i < inputs && refused; ++i) {
        if (in[i] != nullptr && !detail::is_lent<Runtime>(in[i])) give_back(i, in.take(i));
      }
      return done;
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i] = out.take(i);
    return success();
  }

  /// The run path: makes the input handles by `make(i)`, checks, and calls the model. What is left
  /// in the slots is the caller's to destroy. `refused` stays true until the model is called.
  template <std::size_t In, std::size_t Out, class Make>
  [[gnu::always_inline]] Result<void> execute(std::span<AtenTensorHandle, In> in,
                                              std::span<AtenTensorHandle, Out> out, bool& refused,
                                              Stream stream, Make&& make) const {
    if (in.size() != inputs_ || out.size() != outputs_) [[unlikely]] {
      return wrong_count(in.size(), out.size());
    }
    const detail::Occupancy occupancy{detects_concurrent_use ? &busy_ : nullptr};
    if (!occupancy.entered()) [[unlikely]]
      return busy();
    const std::size_t made =
        detail::count_while<In>(in.size(), [&](auto i) { return (in[i] = make(i)) != nullptr; });
    if (made != in.size()) [[unlikely]]
      return out_of_memory("making the handle of an input");
    [[maybe_unused]] bool copy = false;
    // The checks come after the handles: before, they would wait for the cache and then the
    // handles' atomic operations for them, which costs twice as much.
    if constexpr (options.check_inputs) {
      const auto at = [&](std::size_t i) -> const Tensor& { return Runtime::peek(in[i]); };
      const detail::InputCheck* const checks = checks_.data();  // null without a spec
      const std::size_t good = detail::count_while<In>(in.size(), [&](auto i) {
        if (checks == nullptr) return Runtime::is_defined(at(i));
        const detail::Fit fit = checks[i].template fit<Runtime>(*spec_, at, i);
        copy |= fit == detail::Fit::reordered;
        return fit != detail::Fit::no;
      });
      if (good != in.size()) [[unlikely]] {
        return checks == nullptr ? undefined(good)
                                 : detail::describe_mismatch<Runtime>(*spec_, at, good);
      }
      if constexpr (detail::knows_index<Device, Runtime>) {
        const std::size_t here = detail::count_while<In>(in.size(), [&](auto i) {
          return !detail::is_elsewhere<Device, Runtime>(at(i), device_);
        });
        if (here != in.size()) [[unlikely]] {
          return Error{Errc::input_device, detail::concat({"input ", here}),
                       detail::describe_elsewhere<Device, Runtime>(at(here), device_)};
        }
      }
    }
    auto guard = Device::enter(device_, stream);
    if (!guard) [[unlikely]]
      return std::move(guard).error();
    refused = false;
    if (copy && !detail::reorder<Runtime>(*spec_, in)) [[unlikely]]
      return out_of_memory("copying an input");
    const AOTIRuntimeError native =
        invoke(in.data(), in.size(), out.data(), out.size(), Device::native(guard.value()));
    if (native != 0) [[unlikely]]
      return failed(native);
    if constexpr (requires { operators_.failed(); }) {
      if (operators_.failed()) [[unlikely]]
        return failed(native);
    }
    return settle(out);
  }

  /// Calls the model.
  [[gnu::always_inline]] AOTIRuntimeError invoke(AtenTensorHandle* in, std::size_t inputs,
                                                 AtenTensorHandle* out, std::size_t outputs,
                                                 AOTInductorStreamHandle stream) const {
    if constexpr (requires { operators_.begin_run(); }) operators_.begin_run();
    [[maybe_unused]] const typename detail::RunningOf<Runtime>::type running;
    const auto call = [&] {
      return run_(container_.handle(), in, inputs, out, outputs, stream, operators_.handle());
    };
    return exclusive || gate_.get() == nullptr ? call() : gate_.get()->pass(call);
  }

  /// Makes every output handle one of its own: a model that returns a tensor twice writes its
  /// handle twice, one that returns an input writes what was lent, and one that returns None leaves
  /// the slot empty.
  template <std::size_t Out>
  [[gnu::always_inline]] Result<void> settle(std::span<AtenTensorHandle, Out> out) const {
    bool has_memory = true;
    const std::size_t good = detail::count_while<Out>(out.size(), [&](std::size_t i) {
      if (out[i] == nullptr) [[unlikely]]
        return spec_ && spec_->outputs[i].none;
      bool shared = detail::is_lent<Runtime>(out[i]);
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
    return success();
  }

  /// Adds what the runtime says, where the model only names the function that failed.
  [[gnu::cold, gnu::noinline]] static Error explained(Error error) {
    if (error.text().find("API call failed") == std::string_view::npos) return error;
    const std::string reason = Runtime::last_error();
    if (reason.empty()) return error;
    std::string text = detail::concat({reason, " (", error.text(), ")"});
    const Errc code = detail::tells_of_memory(text) ? Errc::out_of_memory : error.code();
    return {code, std::string{error.operation()}, std::move(text), error.native_code()};
  }

  [[gnu::cold, gnu::noinline]] Error wrong_count(std::size_t inputs, std::size_t outputs) const {
    if (inputs_ == none) return gone();
    if (inputs != inputs_) {
      return {Errc::input_count, origin_,
              detail::concat({"found ", inputs, " inputs, expected ", inputs_})};
    }
    return {Errc::output_count, origin_,
            detail::concat({"found room for ", outputs, " outputs, expected ", outputs_})};
  }
  [[gnu::cold, gnu::noinline]] Error gone() const {
    if (container_.handle() != nullptr) {
      return {Errc::bad_state, origin_, "the model has no weights yet"};
    }
    return {Errc::bad_state, "Runner", "the runner was moved from or unloaded"};
  }
  [[gnu::cold, gnu::noinline]] Error out_of_memory(const char* while_doing) const {
    return {Errc::out_of_memory, origin_, while_doing};
  }
  [[gnu::cold, gnu::noinline]] Error busy() const {
    return {
        Errc::bad_state, origin_,
        "another thread is inside this runner; open one for each thread, or use Access::shared"};
  }
  [[gnu::cold, gnu::noinline]] Error undefined(std::size_t i) const {
    return {Errc::undefined_tensor, detail::concat({"input ", i}), "the tensor is undefined"};
  }
  [[gnu::cold, gnu::noinline]] Error missing_output(std::size_t i) const {
    return {Errc::model_failed, origin_,
            detail::concat({"the model returned success but no output ", i, " of ", outputs_})};
  }
  [[gnu::cold, gnu::noinline]] Error no_such(const char* what, std::size_t i,
                                             std::size_t count) const {
    if (container_.handle() == nullptr) return gone();
    return {Errc::invalid_argument, origin_,
            detail::concat({"there is no ", what, " ", i, "; the model has ", count})};
  }
  [[gnu::cold, gnu::noinline]] Error failed(AOTIRuntimeError native) const {
    const bool single = run_ == container_.exports().run_single_threaded;
    const abi::Row& row = single ? abi::export_row<&abi::ModelExports::run_single_threaded>
                                 : abi::export_row<&abi::ModelExports::run>;
    if constexpr (requires { operators_.failed(); }) {
      if (operators_.failed()) {
        std::string text = operators_.take_failure();
        if (native != 0 && container_.exports().get_last_error != nullptr) {
          const Error error = abi::detail::model_error(container_.exports(), row, native);
          text = detail::concat({text, " (", error.text(), ")"});
        }
        const Errc code = detail::tells_of_memory(text) ? Errc::out_of_memory : Errc::model_failed;
        return {code, row.symbol, std::move(text), native};
      }
    }
    return explained(abi::detail::model_error(container_.exports(), row, native));
  }

  [[no_unique_address]] Observer observer_;
  RunFunction run_ = nullptr;
  std::size_t inputs_ = none;         // none: every run is refused, by one comparison
  std::size_t hidden_inputs_ = none;  // the number, while the model waits for its weights
  std::size_t outputs_ = 0;
  DeviceIndex device_;
  mutable detail::Atomic<bool> busy_ = false;
  detail::Atomic<bool> updating_ = false;
  detail::Atomic<bool> extracting_ = false;
  detail::GatePointer gate_;  // of models that several threads may call and that need it
  typename detail::OperatorsOf<Runtime>::type operators_;  // outlive the container
  Container container_;
  std::vector<detail::InputCheck> checks_;  // point into spec_'s inputs
  std::optional<ModelSpec> spec_;
  Metadata metadata_;
  std::string origin_;
};

}  // namespace aoti
