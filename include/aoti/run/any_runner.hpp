// Runners whose device is chosen at run time, by what a package says.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/run/runner.hpp"

namespace aoti {

/// A runner of whichever device: what Runner<Device, Runtime, options> offers, through one indirect
/// call. Made by a Registry. Moves like a pointer; its runs are as thread-safe as the runner's.
template <class Runtime = Libtorch, Options options = Options{}> class AnyRunner {
 public:
  using Tensor = typename Runtime::Tensor;

  /// Takes a runner over.
  /// @errors out_of_memory
  template <class Device> static Result<AnyRunner> of(Runner<Device, Runtime, options> runner) {
    AnyRunner any;
    any.self_ = new (std::nothrow) Of<Device>{std::move(runner)};
    if (any.self_ == nullptr) return Error{Errc::out_of_memory};
    return any;
  }

  AnyRunner(AnyRunner&& other) noexcept : self_{std::exchange(other.self_, nullptr)} {}
  AnyRunner& operator=(AnyRunner&& other) noexcept {
    std::swap(self_, other.self_);
    return *this;
  }
  ~AnyRunner() { delete self_; }

  /// As Runner::run_into, Runner::run and Runner::boxed_run on the current stream.
  /// @errors theirs; bad_state (moved from)
  Result<void> run_into(std::span<const Tensor> inputs, std::span<Tensor> outputs) const {
    if (self_ == nullptr) return gone();
    return self_->run_into(inputs, outputs);
  }
  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs) const {
    if (self_ == nullptr) return gone();
    return self_->run(inputs);
  }
  Result<std::vector<Tensor>> boxed_run(std::span<Tensor> inputs) const {
    if (self_ == nullptr) return gone();
    return self_->boxed_run(inputs);
  }

  /// The key of the device that the model runs on; empty if moved from.
  std::string_view device_key() const noexcept {
    return self_ != nullptr ? self_->key() : std::string_view{};
  }

  /// The runner itself, for all that is not offered here; null if it is of another device.
  template <class Device> Runner<Device, Runtime, options>* as() noexcept {
    // The address of a function tells the type, also where there is no RTTI.
    const bool same = self_ != nullptr && self_->type() == &Of<Device>::tag;
    return same ? &static_cast<Of<Device>*>(self_)->runner : nullptr;
  }

 private:
  struct Self {
    virtual ~Self() = default;
    virtual Result<void> run_into(std::span<const Tensor>, std::span<Tensor>) const = 0;
    virtual Result<std::vector<Tensor>> run(std::span<const Tensor>) const = 0;
    virtual Result<std::vector<Tensor>> boxed_run(std::span<Tensor>) const = 0;
    virtual std::string_view key() const noexcept = 0;
    virtual const void* type() const noexcept = 0;
  };

  template <class Device> struct Of final : Self {
    static constexpr char tag = 0;
    Runner<Device, Runtime, options> runner;

    explicit Of(Runner<Device, Runtime, options> taken) : runner{std::move(taken)} {}
    Result<void> run_into(std::span<const Tensor> in, std::span<Tensor> out) const override {
      return runner.run_into(in, out);
    }
    Result<std::vector<Tensor>> run(std::span<const Tensor> in) const override {
      return runner.run(in);
    }
    Result<std::vector<Tensor>> boxed_run(std::span<Tensor> in) const override {
      return runner.boxed_run(in);
    }
    std::string_view key() const noexcept override { return Device::key; }
    const void* type() const noexcept override { return &tag; }
  };

  AnyRunner() noexcept = default;

  [[gnu::cold]] static Error gone() {
    return {Errc::bad_state, "AnyRunner", "the runner was moved from"};
  }

  Self* self_ = nullptr;
};

/// Which device policy opens packages of which device key. A value like others: a program makes
/// one, adds its own policies, and opens packages with it. Const calls are safe from several
/// threads.
template <class Runtime = Libtorch, Options options = Options{}> class Registry {
 public:
  using Any = AnyRunner<Runtime, options>;

  /// The policies named: `Registry<>::of<Cpu, Cuda>()`.
  template <DevicePolicy... Devices> static Registry of() {
    Registry registry;
    (registry.template add<Devices>(), ...);
    return registry;
  }

  /// Opens packages of Device::key with this policy from now on, in place of another with that key.
  /// @allocates a few words
  template <DevicePolicy Device> void add() {
    for (Row& row : rows_) {
      if (row.key == Device::key) return static_cast<void>(row = make<Device>());
    }
    rows_.push_back(make<Device>());
  }

  /// Opens a model with the policy that is registered under the package's AOTI_DEVICE_KEY.
  /// @errors those of Runner::open; wrong_device (no policy for that key, or the package tells
  /// none)
  Result<Any> open(const std::string& path, const OpenOptions& choice = {}) const {
    return detail::guard(Errc::library_load_failed, "Registry::open", [&]() -> Result<Any> {
      auto package = Package::open(path);
      if (!package) return std::move(package).error();
      return open(package.value(), choice);
    });
  }
  Result<Any> open(const Package& package, const OpenOptions& choice = {}) const {
    return detail::guard(Errc::library_load_failed, "Registry::open", [&]() -> Result<Any> {
      auto model = package.model(choice.model);
      if (!model) return std::move(model).error();
      const std::string_view key = model.value().metadata["AOTI_DEVICE_KEY"];
      std::vector<std::string_view> keys;
      for (const Row& row : rows_) {
        if (row.key == key) return row.open(package, choice);
        keys.push_back(row.key);
      }
      return Error{Errc::wrong_device, model.value().origin,
                   detail::concat({"found the device key '", key,
                                   "', expected one of those that are "
                                   "registered: ",
                                   detail::join(keys)})};
    });
  }

 private:
  struct Row {
    std::string_view key;
    Result<Any> (*open)(const Package&, const OpenOptions&);
  };

  template <class Device> static Row make() {
    return {Device::key, [](const Package& package, const OpenOptions& choice) -> Result<Any> {
              auto runner = Runner<Device, Runtime, options>::open(package, choice);
              if (!runner) return std::move(runner).error();
              return Any::of(std::move(runner).value());
            }};
  }

  std::vector<Row> rows_;
};

}  // namespace aoti
