// SPDX-License-Identifier: BSD-3-Clause
// Checks whether tensors fit as given weights of a model, each by itself and all together, and
// makes the handles for them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/abi/imports.hpp"
#include "aoti/package/spec.hpp"
#include "aoti/run/check.hpp"
#include "aoti/run/handles.hpp"
#include "aoti/run/overlap.hpp"
#include "aoti/weights/access.hpp"
#include "aoti/weights/copies.hpp"
#include "aoti/weights/load.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// What an update of a runner's weights requires of tensors. The caller owns the handles that it
/// returns.
template <class Runner> struct WeightFit {
  using Runtime = typename Runner::TensorRuntime;
  using Device = typename Runner::DevicePolicy;
  using Tensor = typename Runner::Tensor;

  WeightCopies<Runner> copies;

  /// The constants, with shapes and devices completed from the tensors that the model holds.
  /// @param held receives those tensors, by constant; they belong to the model
  Result<void> learn_shapes(std::vector<Constant>& expected,
                            std::vector<AtenTensorHandle>& held) const {
    const WeightsAccess<Runner>& access = copies.access;
    expected = access.constants();
    if (access.runner.weights_state() == WeightsState::none) {
      held.assign(expected.size(), nullptr);
      return success();
    }
    if (auto done = access.extract(WeightSet::active, held); !done) {
      if (done.error().code() != Errc::unsupported) return done;
      held.assign(expected.size(), nullptr);
    }
    for (std::size_t i = 0; i < expected.size(); ++i) {
      Constant& constant = expected[i];
      if (held[i] == nullptr) continue;
      const Tensor& tensor = Runtime::peek(held[i]);
      if (!constant.device) constant.device = Runtime::device(tensor);
      if (constant.described || !Runtime::is_strided(tensor)) continue;
      const auto sizes = Runtime::sizes(tensor), strides = Runtime::strides(tensor);
      describe(constant, {sizes.begin(), sizes.end()}, {strides.begin(), strides.end()});
    }
    return success();
  }

  Result<void> check(const Constant& constant, const Tensor& tensor) const {
    if (!Runtime::is_defined(tensor)) {
      return wrong_weight(Errc::undefined_tensor, constant, "the tensor is undefined");
    }
    if (!Runtime::is_strided(tensor)) {
      return wrong_weight(Errc::constant_layout, constant,
                          describe_layout<Runtime>(tensor, "found a tensor that is not strided"));
    }
    if (Runtime::dtype(tensor) != constant.dtype) {
      return wrong_weight(Errc::constant_dtype, constant,
                          concat({"found ", to_string(Runtime::dtype(tensor)), ", expected ",
                                  to_string(constant.dtype)}));
    }
    const DeviceType device = Runtime::device(tensor);
    if (device != Device::type && device != DeviceType::cpu) {
      constexpr bool on_cpu = Device::type == DeviceType::cpu;
      return wrong_weight(Errc::constant_device, constant,
                          concat({"found a tensor on ", to_string(device), ", expected one on ",
                                  to_string(Device::type), on_cpu ? "" : " or cpu"}));
    }
    if (!constant.described) {
      return wrong_weight(
          Errc::unsupported, constant,
          "neither the model nor its package tells the shape, so it cannot be checked");
    }
    const auto sizes = Runtime::sizes(tensor);
    bool same = sizes.size() == constant.shape.size();
    for (std::size_t d = 0; same && d < sizes.size(); ++d) same = sizes[d] == constant.shape[d];
    if (same) return success();
    return wrong_weight(
        Errc::constant_shape, constant,
        concat({"found the shape [", join(sizes), "], expected [", join(constant.shape), "]"}));
  }

  /// A new tensor on the constant's device, laid out as the compiled code assumes.
  Result<AtenTensorHandle> copy_of(const Constant& constant, const Tensor& tensor) const {
    OwnedHandles<Runtime> source{1};
    if constexpr (Detaches<Runtime>) {
      source.handles[0] = Runtime::give(Runtime::detached(tensor));
    } else {
      source.handles[0] = Runtime::share(tensor);
    }
    return copies.copied(constant, source.handles[0]);
  }

  Result<AtenTensorHandle> shared_handle(const Constant& constant, const Tensor& tensor) const {
    if (!copies.access.model().container.traits().keeps_tensors) {
      return wrong_weight(Errc::unsupported, constant,
                          "models before torch 2.8 cannot share tensors; set() copies");
    }
    if (Runtime::device(tensor) != copies.place(constant)) {
      return wrong_weight(Errc::constant_device, constant,
                          concat({"found a tensor on ", to_string(Runtime::device(tensor)),
                                  ", expected one on ", to_string(copies.place(constant))}));
    }
    if constexpr (knows_index<Device, Runtime>) {
      if (is_elsewhere<Device, Runtime>(tensor, copies.access.model().device)) {
        return wrong_weight(
            Errc::constant_device, constant,
            describe_elsewhere<Device, Runtime>(tensor, copies.access.model().device));
      }
    }
    const auto strides = Runtime::strides(tensor);
    for (std::size_t d = 0; d < strides.size(); ++d) {
      if (constant.shape[d] <= 1 || strides[d] == constant.strides[d]) continue;
      return wrong_weight(Errc::constant_layout, constant,
                          concat({"found the strides [", join(strides), "], expected [",
                                  join(constant.strides), "]; set() copies"}));
    }
    AtenTensorHandle handle = nullptr;
    if constexpr (MakesWritable<Runtime>) {
      handle = Runtime::give(Runtime::writable(tensor));
    } else {
      handle = Runtime::share(tensor);
    }
    if (handle == nullptr) return Error{Errc::out_of_memory};
    return handle;
  }

  /// Copies of all weights from a blob in the format of packages.
  /// @param made receives them, by constant
  Result<void> copy_all(Bytes blob, const std::vector<Constant>& expected,
                        std::vector<AtenTensorHandle>& made) const {
    const WeightsAccess<Runner>& access = copies.access;
    AOTI_TRYV(
        abi::expect(access.origin(), abi::ImportTable<Runtime>::get().create_tensor_from_blob));
    if (!access.model().container.traits().tells_sizes) {
      return abi::detail::unsupported(abi::export_row<&abi::ModelExports::get_constant_data_size>);
    }
    std::size_t size = 0;
    for (const Constant& constant : expected) {
      if (constant.folded) continue;
      size += constant.bytes;
    }
    if (size != blob.size()) {
      return Error{Errc::invalid_argument, access.origin(),
                   concat({"found a blob of ", blob.size(), " bytes, expected ", size})};
    }
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const Constant& constant = expected[i];
      if (constant.folded) continue;
      if (!lies_within(constant, blob)) {
        return wrong_weight(Errc::unsupported, constant,
                            "neither the model nor its package tells where in a blob it lies");
      }
      OwnedHandles<Runtime> view{1};
      static_cast<void>(view_in_blob<Runtime>(constant, blob.data(), view.handles[0]));
      AOTI_TRY(made[i], copies.copied(constant, view.handles[0]));
    }
    return success();
  }

  /// Refuses a different value for a weight that was set under another of its names.
  Result<void> expect_one_value(const Constant& constant, AtenTensorHandle before,
                                AtenTensorHandle tensor) const {
    AOTI_TRY(const bool same, copies.are_same(constant, before, tensor));
    if (same) return success();
    return wrong_weight(Errc::constant_conflict, constant,
                        concat({"it is one weight with ", join(constant.aliases),
                                ", and was set to other values under another of these names; "
                                "export the module with both untied"}));
  }

  /// Refuses weights without the constants that were computed from weights.
  /// @param given the tensors that are set, by constant
  Result<void> expect_derived(const std::vector<Constant>& expected,
                              const std::vector<AtenTensorHandle>& given) const {
    bool others = false;
    std::vector<std::string_view> missing;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const bool set = given[i] != nullptr;
      others |= set && !expected[i].derived;
      if (!set && expected[i].derived) missing.push_back(expected[i].fqn);
    }
    if (!others || missing.empty()) return success();
    std::string text =
        concat({"the model was compiled with copies of weights, which must be set with the "
                "others; there is no tensor for ",
                join(missing)});
    if (const ModelSpec* spec = copies.access.runner.spec();
        spec != nullptr && !spec->fixed.empty()) {
      text += concat({"; these do not follow: ", join(spec->fixed)});
    }
    return Error{Errc::missing_constants, copies.access.origin(), std::move(text)};
  }

  /// Refuses shared weights that overlap others while the model writes to one of them.
  /// @param all the tensors of the set, including `given`
  Result<void> expect_apart(const std::vector<Constant>& expected,
                            const std::vector<AtenTensorHandle>& all,
                            const std::vector<AtenTensorHandle>& given) const {
    if (!copies.access.model().signature.writes) return success();
    std::pair<std::size_t, std::size_t> found;
    const auto weights = WeightsInUse::of<Runtime>(expected, all);
    if (!find_overlap<Runtime>(weights, given, found)) return success();
    return wrong_weight(
        Errc::constant_layout, expected[found.first],
        concat({"found memory that is also that of weight '", expected[found.second].fqn,
                "', expected memory of its own, since the model writes to it; "
                "set() copies"}));
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
