// SPDX-License-Identifier: BSD-3-Clause
// Runners whose device is chosen at run time, by the device key of a package.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/device/cpu.hpp"
#include "aoti/device/cuda.hpp"
#include "aoti/device/mps.hpp"
#include "aoti/device/xpu.hpp"
#include "aoti/run/erased_runner.hpp"
#include "aoti/runner.hpp"

namespace aoti::inline AOTI_ABI {

/// A runner for any device, with any options and observer, behind one indirect call. Made by
/// `open`, by a Registry or from a runner. Moves like a pointer; its runs are as thread-safe as the
/// runner's.
///
/// It has the members of Runner, so that one template serves both, except for streams, which differ
/// from device to device: runs here are on the calling thread's current stream. For another stream,
/// and to change weights, get the runner itself:
/// `if (auto* runner = any.as<Cuda>()) runner->run(inputs, Cuda::Stream{handle})`.
///
/// @tparam options those of the runners that as() returns and a Registry opens
template <class Runtime = Libtorch, Options options = Options{}> class AnyRunner {
  static_assert(detail::CheckedRuntime<Runtime>,
                "name a complete TensorRuntime; for Libtorch include <aoti/runtime/libtorch.hpp>");

 public:
  using TensorRuntime = Runtime;
  using Tensor = typename Runtime::Tensor;
  using Tensors = std::vector<Tensor>;

  static constexpr std::size_t max_tensors =
      detail::Handles<Runtime, std::dynamic_extent>::capacity;

  /// As open_any.
  template <class Source>
  static Result<AnyRunner> open(const Source& source, const OpenOptions& choice = {});

  /// Takes over a runner, even if this fails.
  /// @errors out_of_memory
  template <class Device, Options own, class Observer>
  static Result<AnyRunner> of(Runner<Device, Runtime, own, Observer> it) {
    AnyRunner any;
    any.self_ = new (std::nothrow) Of<Runner<Device, Runtime, own, Observer>>{std::move(it)};
    if (any.self_ == nullptr) return Error{Errc::out_of_memory};
    return any;
  }

  /// A moved-from AnyRunner answers every run with bad_state.
  AnyRunner(AnyRunner&& other) noexcept : self_{std::exchange(other.self_, nullptr)} {}
  AnyRunner& operator=(AnyRunner&& other) noexcept {
    delete std::exchange(self_, std::exchange(other.self_, nullptr));
    return *this;
  }
  ~AnyRunner() { delete self_; }

  /// As in Runner.
  /// @errors as there
  template <std::size_t Outputs, detail::InputOf<Tensor>... Inputs>
  Result<std::array<Tensor, Outputs>> run(Inputs&&... inputs) const {
    if (self_ == nullptr) return gone();
    const std::array<const Tensor*, sizeof...(Inputs)> pointers{&inputs...};
    static constexpr std::array<bool, sizeof...(Inputs)> given{std::same_as<Inputs&&, Tensor&&>...};
    std::array<Tensor, Outputs> outputs;
    AOTI_TRYV(self_->run_pointers(pointers, given, outputs));
    return outputs;
  }
  /// Rejects other arguments at compile time.
  template <std::size_t Outputs, class... Others>
  Result<std::array<Tensor, Outputs>> run(Others&&...) const {
    static_assert((detail::InputOf<Others, Tensor> && ...),
                  "inputs are tensors of the runtime, passed by reference or by std::move; for a "
                  "stream, call run() on as<Device>()");
    return Error{Errc::invalid_argument};
  }
  Result<void> run_into(std::span<const Tensor> inputs, std::span<Tensor> outputs) const {
    if (self_ == nullptr) [[unlikely]]
      return gone();
    return self_->run_into(inputs, outputs, nullptr);
  }
  Result<Tensors> run(std::span<const Tensor> inputs) const {
    if (self_ == nullptr) return gone();
    return self_->run(inputs, nullptr);
  }
  Result<Tensors> boxed_run(std::span<Tensor> inputs) const {
    if (self_ == nullptr) return gone();
    return self_->boxed_run(inputs, nullptr);
  }
  Result<void> run_handles(std::span<AtenTensorHandle> inputs,
                           std::span<AtenTensorHandle> outputs) const {
    if (self_ == nullptr) return gone();
    return self_->run_handles(inputs, outputs);
  }

  /// As in Runner; empty, 0 or bad_state if moved from.
  std::size_t input_count() const noexcept { return self_ != nullptr ? self_->input_count() : 0; }
  std::size_t output_count() const noexcept { return self_ != nullptr ? self_->output_count() : 0; }
  Result<std::string> input_name(std::size_t i) const { return ask(&Self::input_name, i); }
  Result<std::string> output_name(std::size_t i) const { return ask(&Self::output_name, i); }
  Result<std::size_t> input_index(std::string_view name) const {
    return ask(&Self::input_index, name);
  }
  Result<std::size_t> output_index(std::string_view name) const {
    return ask(&Self::output_index, name);
  }
  Result<CallSpec> call_spec() const { return ask(&Self::call_spec); }
  const ModelSpec* spec() const noexcept { return self_ != nullptr ? self_->spec() : nullptr; }
  const Metadata& metadata() const noexcept {
    return self_ != nullptr ? self_->metadata() : nothing().metadata;
  }
  const std::vector<Constant>& constants() const noexcept { return container().constants(); }
  WeightsState weights_state() const noexcept { return container().weight_sets().state(); }
  std::string_view device_key() const noexcept {
    return self_ != nullptr ? self_->device_key() : std::string_view{};
  }
  const std::string& origin() const noexcept {
    return self_ != nullptr ? self_->origin() : nothing().origin;
  }
  const auto& operators() const noexcept {
    return self_ != nullptr ? self_->operators() : nothing().operators;
  }
  const Container& container() const noexcept {
    return self_ != nullptr ? self_->container() : nothing().container;
  }
  void unload() && noexcept {
    if (self_ != nullptr) self_->unload();
    delete std::exchange(self_, nullptr);
  }

  /// The runner itself, which stays owned by this object; null if it is of another class, or moved
  /// from. For one with its own observer or options, name its class: `any.get<MyRunner>()`.
  template <class R> R* get() noexcept {
    return is<R>() ? &static_cast<Of<R>*>(self_)->runner : nullptr;
  }
  template <class R> const R* get() const noexcept {
    return is<R>() ? &static_cast<const Of<R>*>(self_)->runner : nullptr;
  }
  template <detail::CheckedDevice Device> Runner<Device, Runtime, options>* as() noexcept {
    return get<Runner<Device, Runtime, options>>();
  }
  template <detail::CheckedDevice Device>
  const Runner<Device, Runtime, options>* as() const noexcept {
    return get<Runner<Device, Runtime, options>>();
  }

 private:
  using Self = detail::ErasedRunner<Runtime>;
  template <class R> using Of = detail::Erasing<R>;

  template <class Value, class... Arguments>
  Result<Value> ask(Result<Value> (Self::*member)(Arguments...) const,
                    Arguments... arguments) const {
    if (self_ == nullptr) return gone();
    return (self_->*member)(arguments...);
  }

  /// The properties of a moved-from AnyRunner.
  struct Nothing {
    Metadata metadata;
    std::string origin;
    typename Self::Operators operators;
    Container container;
  };
  static const Nothing& nothing() noexcept {
    static const Nothing none{};
    return none;
  }

  AnyRunner() noexcept = default;

  template <class R> bool is() const noexcept {
    return self_ != nullptr && self_->tag() == &detail::ClassTag<Of<R>>::tag;
  }
  [[gnu::cold, gnu::noinline]] static Error gone() {
    return {Errc::bad_state, "AnyRunner", "the runner was moved from"};
  }

  Self* self_ = nullptr;
};

/// Maps each device key to the device policy, or function, that opens its packages. A value: a
/// program makes one, adds its own policies, and opens packages with it. Const calls are
/// thread-safe.
template <class Runtime = Libtorch, Options options = Options{}> class Registry {
 public:
  using Any = AnyRunner<Runtime, options>;

  /// Opens a model of a package, which stays open during the call, as Runner::open does.
  using Factory = Result<Any>(const PackagedModel& model, const OpenOptions& choice);

  /// A registry of these policies: `Registry<>::of<Cpu, Cuda>()`. If two have the same key, the
  /// last counts.
  /// @allocates a few words
  template <detail::CheckedDevice... Devices> static Registry of() {
    Registry registry;
    (registry.template add<Devices>(), ...);
    return registry;
  }

  /// Opens packages of Device::key with this policy from now on, in place of any other.
  /// @allocates a few words
  template <detail::CheckedDevice Device> void add() { add(Device::key, &open_with<Device>); }

  /// The same with a function, which may open a runner with its own observer or options.
  void add(std::string_view key, Factory* factory) {
    for (Row& row : rows_) {
      if (row.key == key) {
        row.open = factory;
        return;
      }
    }
    rows_.push_back({std::string{key}, factory});
  }

  /// Opens a model with the policy registered under its AOTI_DEVICE_KEY. For a bare shared object,
  /// the key is in the metadata beside it; without a key only a Runner can open it.
  /// @errors those of Runner::open; wrong_device (no key, or one that is not registered)
  Result<Any> open(const std::string& path, const OpenOptions& choice = {}) const {
    return open_from(path, choice);
  }
  Result<Any> open(Bytes bytes, const OpenOptions& choice = {}) const {
    return open_from(bytes, choice);
  }
  Result<Any> open(const Package& package, const OpenOptions& choice = {}) const {
    return open_from(package, choice);
  }
  Result<Any> open(const PackagedModel& model, const OpenOptions& choice = {}) const {
    return open_from(model, choice);
  }

 private:
  struct Row {
    std::string key;
    Factory* open;
  };

  template <class Source>
  Result<Any> open_from(const Source& source, const OpenOptions& choice) const {
    return detail::guard(Errc::library_load_failed, "Registry::open", [&] {
      return detail::with_model(source, choice.model,
                                [&](const PackagedModel& model) -> Result<Any> {
                                  const std::string_view key = model.metadata.device_key();
                                  for (const Row& row : rows_) {
                                    if (row.key == key) return row.open(model, choice);
                                  }
                                  return unknown(key, model.origin);
                                });
    });
  }

  template <class Device>
  static Result<Any> open_with(const PackagedModel& model, const OpenOptions& choice) {
    AOTI_TRY(auto runner, (Runner<Device, Runtime, options>::open(model, choice)));
    return Any::of(std::move(runner));
  }

  [[gnu::cold]] Error unknown(std::string_view key, const std::string& origin) const {
    if (key.empty()) {
      return {
          Errc::wrong_device, origin,
          "found no AOTI_DEVICE_KEY, which names the device; open it with a Runner for its device"};
    }
    std::vector<std::string_view> keys;
    for (const Row& row : rows_) keys.push_back(row.key);
    return {Errc::wrong_device, origin,
            detail::concat({"compiled for ", key, "; there are policies for ",
                            keys.empty() ? "no device" : detail::join(keys)})};
  }

  std::vector<Row> rows_;
};

/// Opens a package (a path, bytes, an open Package, or a model of one) on whichever of Cpu, Cuda,
/// Xpu and Mps it was compiled for.
/// @errors those of Registry::open
template <class Runtime = Libtorch, Options options = Options{}, class Source>
Result<AnyRunner<Runtime, options>> open_any(const Source& source, const OpenOptions& choice = {}) {
  using Any = AnyRunner<Runtime, options>;
  return detail::guard(Errc::library_load_failed, "open_any", [&]() -> Result<Any> {
    static const auto registry = Registry<Runtime, options>::template of<Cpu, Cuda, Xpu, Mps>();
    return registry.open(source, choice);
  });
}

template <class Runtime, Options options>
template <class Source>
Result<AnyRunner<Runtime, options>> AnyRunner<Runtime, options>::open(const Source& source,
                                                                      const OpenOptions& choice) {
  return open_any<Runtime, options>(source, choice);
}

/// The same with the policies of a registry, which may include your own.
template <class Source, class Runtime, Options options>
Result<AnyRunner<Runtime, options>> open_any(const Source& source, const OpenOptions& choice,
                                             const Registry<Runtime, options>& registry) {
  return registry.open(source, choice);
}

}  // namespace aoti::inline AOTI_ABI
