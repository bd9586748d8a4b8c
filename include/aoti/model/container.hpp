// SPDX-License-Identifier: BSD-3-Clause
// The container that a model and its weights live in, on the model's side of the C boundary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/abi/exports.hpp"
#include "aoti/device/device.hpp"
#include "aoti/model/description.hpp"
#include "aoti/model/instances.hpp"
#include "aoti/model/weights.hpp"

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

/// Instances of a model, and two sets of weights that they share: what a host creates, runs and
/// updates through the C boundary, with the semantics of torch's AOTInductorModelContainer. What
/// differs: an update that fails changes nothing, updates check each tensor's dtype, shape and
/// device, and unknown names are refused.
///
/// Any thread may call any function at any time, except run_single_threaded and entries. A run
/// takes no lock: it marks an instance as used, and waits only while all are in use. Changing the
/// active set, and the first run after that if constants are folded, wait until no run is under
/// way.
/// @tparam Instance Written<M>, or a class like it
template <class Instance> class Container {
 public:
  using Device = typename Instance::Device;

  /// @param device the device's key, with an index if there is more than one: "cuda:1"
  /// @param kernels the folder of kernel files; may be null
  /// @param load whether to load the values that are part of the model
  /// @errors invalid_argument, out_of_memory, model_failed
  static Result<std::unique_ptr<Container>> create(std::size_t instances, const char* device,
                                                   const char* kernels, bool load = true) {
    if (instances == 0 || device == nullptr) {
      return Error{Errc::invalid_argument, "Container::create",
                   instances == 0 ? "found 0 instances, expected 1 or more"
                                  : "the device is a null pointer"};
    }
    AOTI_TRY(const DeviceIndex index, parse_device_index(Device::key, device));
    std::unique_ptr<Container> container{
        new Container{instances, Device::resolve(index), kernels != nullptr ? kernels : ""}};
    if (load) {
      AOTI_TRYV(container->active().load_values());
      container->loaded_ = container->description().has_values();
    }
    container->use_active();
    return container;
  }

  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  const Description& description() const noexcept { return description_; }

  /// Runs on a free instance, or waits for one. Takes the inputs over, unless the counts are wrong.
  /// @errors input_count, output_count, bad_state (no weights), those of the model
  Result<void> run(AtenTensorHandle* in, std::size_t in_count, AtenTensorHandle* out,
                   std::size_t out_count, AOTInductorStreamHandle stream,
                   AOTIProxyExecutorHandle proxy) {
    if (!counts_fit(in_count, out_count)) [[unlikely]]
      return wrong_count(in_count, out_count);
    for (;;) {
      {
        const Instances::One one{free_};
        if (active().state == SetState::ready) [[likely]]
          return instances_[*one]->run(in, out, stream, proxy);
      }
      AOTI_TRYV(prepare(stream, proxy));
    }
  }

  /// The same, for a host that makes sure that no other function of the container is called
  /// meanwhile: without any synchronisation.
  Result<void> run_single_threaded(AtenTensorHandle* in, std::size_t in_count,
                                   AtenTensorHandle* out, std::size_t out_count,
                                   AOTInductorStreamHandle stream, AOTIProxyExecutorHandle proxy) {
    if (!counts_fit(in_count, out_count)) [[unlikely]]
      return wrong_count(in_count, out_count);
    if (active().state != SetState::ready) [[unlikely]] {
      AOTI_TRYV(prepare(stream, proxy));
    }
    return instances_[0]->run(in, out, stream, proxy);
  }

  /// Gives one of the sets tensors, by the names of constants.
  /// @param full refuse an update without all parameters
  /// @param share keep the tensors themselves, rather than copies of them
  /// @param from_cpu also take tensors that lie on the CPU, rather than on the model's device
  /// @errors no_such_constant, missing_constants, undefined_tensor, constant_dtype,
  ///         constant_device, constant_shape, out_of_memory, model_failed
  Result<void> update(std::span<const abi::ConstantEntry> given, bool inactive, bool full,
                      bool share, bool from_cpu) {
    const std::scoped_lock lock{changing_};
    WeightSet& target = inactive ? this->inactive() : active();
    const WeightSet& other = inactive ? active() : this->inactive();
    AOTI_TRY(auto tensors, target.take(given, full, share, from_cpu));
    if (inactive) {
      AOTI_TRYV(target.take_missing(tensors, other, share));
      target.replace(std::move(tensors), share);
    } else {
      const Instances::All all{free_};
      target.replace(std::move(tensors), share);
      use_active();
    }
    return success();
  }

  /// Computes the folded constants of one of the sets.
  /// @errors bad_state (the set lacks weights), those of the model
  Result<void> fold(bool inactive, AOTInductorStreamHandle stream, AOTIProxyExecutorHandle proxy) {
    const std::scoped_lock lock{changing_};
    if (!inactive) {
      const Instances::All all{free_};
      return fold_active(stream, proxy);
    }
    const Instances::One one{free_};
    auto done = this->inactive().fold(*instances_[*one], stream, proxy);
    instances_[*one]->use(active().tensors());
    return done;
  }

  /// Makes the inactive set the active one, and the other way round.
  void swap() {
    const std::scoped_lock lock{changing_};
    const Instances::All all{free_};
    active_ = 1 - active_;
    use_active();
  }

  /// The only instance of a model without a container, to be run by one thread at a time.
  /// @errors as run
  Result<Instance*> alone(std::size_t in_count, std::size_t out_count) {
    if (!counts_fit(in_count, out_count)) [[unlikely]]
      return wrong_count(in_count, out_count);
    if (active().state != SetState::ready) [[unlikely]] {
      AOTI_TRYV(prepare(nullptr, nullptr));
    }
    return instances_[0].get();
  }

  /// Frees what the inactive set has allocated; tensors that hosts gave it to keep remain in it.
  void free_inactive() {
    const std::scoped_lock lock{changing_};
    inactive().free_own();
  }

  /// Copies the active set from a blob, where constants lie in order, each padded to 64 bytes.
  /// @errors invalid_argument (null), out_of_memory, model_failed
  Result<void> use_blob(const std::uint8_t* blob) {
    const std::scoped_lock lock{changing_};
    AOTI_TRY(auto tensors, active().from_blob(blob));
    const Instances::All all{free_};
    active().replace(std::move(tensors), false);
    use_active();
    return success();
  }

  /// Calls `take` with an entry for each tensor of one set that is not folded, by its name in the
  /// weights. The tensors belong to the container.
  template <class Take> void extract(bool inactive, Take&& take) {
    const std::scoped_lock lock{changing_};
    WeightSet& set = inactive ? this->inactive() : active();
    for (std::size_t i = 0; i < description_.constants.size(); ++i) {
      const Constant& one = description_.constants[i];
      if (one.folded || !set.tensors()[i]) continue;
      take(abi::ConstantEntry{one.fqn.c_str(), set.tensors()[i].handle()});
    }
  }

  /// The same as a list, which is valid until the next call; so only one thread at a time may call
  /// this.
  std::span<const abi::ConstantEntry> entries(bool inactive) {
    entries_.clear();
    extract(inactive, [&](const abi::ConstantEntry& entry) { entries_.push_back(entry); });
    return entries_;
  }

  /// Whether it was created with the values that are part of the model.
  bool has_loaded() const noexcept { return loaded_; }

 private:
  /// Before the first run on a set.
  [[gnu::cold, gnu::noinline]] Result<void> prepare(AOTInductorStreamHandle stream,
                                                    AOTIProxyExecutorHandle proxy) {
    const std::scoped_lock lock{changing_};
    const Instances::All all{free_};
    if (active().state == SetState::ready) return success();  // another thread was faster
    return fold_active(stream, proxy);
  }
  Result<void> fold_active(AOTInductorStreamHandle stream, AOTIProxyExecutorHandle proxy) {
    auto done = active().fold(*instances_[0], stream, proxy);
    use_active();
    return done;
  }

  Container(std::size_t instances, DeviceIndex device, const char* kernels)
      : description_{Instance::describe()},
        sets_{WeightSet{description_, Device::type, device},
              WeightSet{description_, Device::type, device}},
        free_{instances} {
    instances_.reserve(instances);
    for (std::size_t i = 0; i < instances; ++i) {
      instances_.push_back(std::make_unique<Instance>(description_, device, kernels));
    }
    entries_.reserve(description_.constants.size());
  }

  WeightSet& active() noexcept { return sets_[active_]; }
  WeightSet& inactive() noexcept { return sets_[1 - active_]; }

  void use_active() noexcept {
    for (auto& instance : instances_) instance->use(active().tensors());
  }

  bool counts_fit(std::size_t in_count, std::size_t out_count) const noexcept {
    return in_count == description_.inputs.size() && out_count == description_.outputs.size();
  }
  [[gnu::cold, gnu::noinline]] Error wrong_count(std::size_t in_count,
                                                 std::size_t out_count) const {
    const bool in = in_count != description_.inputs.size();
    return {in ? Errc::input_count : Errc::output_count, "Container::run",
            aoti::detail::concat({"found ", in ? in_count : out_count, ", expected ",
                                  in ? description_.inputs.size() : description_.outputs.size()})};
  }

  const Description description_;
  WeightSet sets_[2];
  unsigned active_ = 0;  // changed while all instances are held
  Instances free_;
  std::vector<std::unique_ptr<Instance>> instances_;
  std::mutex changing_;  // held by whoever changes a set
  std::vector<abi::ConstantEntry> entries_;
  bool loaded_ = false;
};

}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
