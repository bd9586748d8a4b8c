// SPDX-License-Identifier: BSD-3-Clause
// One of the two sets of weights in a model's container.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/abi/exports.hpp"
#include "aoti/device/device.hpp"
#include "aoti/model/description.hpp"
#include "aoti/model/tensor.hpp"

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

enum class SetState : unsigned char {
  incomplete,  ///< It lacks weights.
  loaded,      ///< It has all weights, but not the folded constants that belong to them.
  ready,       ///< Runs may use it.
};

/// The tensors of all constants, some of which may be missing. Not thread-safe.
class WeightSet {
 public:
  using Tensors = std::vector<Tensor>;

  SetState state = SetState::incomplete;

  /// @param description must outlive it
  WeightSet(const Description& description, DeviceType device, DeviceIndex index)
      : description_{&description},
        tensors_(description.constants.size()),
        shared_(description.constants.size()),
        device_{device},
        index_{index.is_current() ? 0 : static_cast<std::int32_t>(index.value)} {}

  /// One for each constant; empty ones are missing. Valid as long as this object.
  std::span<Tensor> tensors() noexcept { return tensors_; }

  /// Makes tensors of the values that are part of the model.
  Result<void> load_values() {
    Tensors tensors(tensors_.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const void* const value = description_->values[i];
      if (value == nullptr) continue;
      const Constant& one = description_->constants[i];
      AOTI_TRY(const Tensor there,
               Tensor::borrow(one.dtype, const_cast<void*>(value), one.shape, one.strides));
      AOTI_TRY(tensors[i], copy(one, there));
    }
    replace(std::move(tensors), false);
    return success();
  }

  /// Tensors for the constants that are named, each checked; the others are empty.
  Result<Tensors> take(std::span<const abi::ConstantEntry> given, bool full, bool share,
                       bool from_cpu) const {
    Tensors tensors(tensors_.size());
    for (const abi::ConstantEntry& entry : given) {
      const std::string_view name = entry.name != nullptr ? entry.name : "";
      const std::size_t i = find(name);
      if (i == tensors.size()) {
        return Error{Errc::no_such_constant, std::string{name},
                     aoti::detail::concat({"expected one of ", names()})};
      }
      AOTI_TRYV(check(i, entry.tensor, from_cpu && !share));
      const Theirs source{entry.tensor};
      AOTI_TRY(tensors[i],
               share ? source.tensor.share() : copy(description_->constants[i], source.tensor));
    }
    for (std::size_t i = 0; full && i < tensors.size(); ++i) {
      const Constant& one = description_->constants[i];
      if (tensors[i] || one.folded || !is_parameter(one)) continue;
      return Error{Errc::missing_constants, one.name, "a full update must contain every parameter"};
    }
    return tensors;
  }

  /// For what is no parameter and was not given, the tensors of another set, or copies of them.
  Result<void> take_missing(Tensors& given, const WeightSet& other, bool share) const {
    for (std::size_t i = 0; i < given.size(); ++i) {
      const Constant& one = description_->constants[i];
      if (given[i] || one.folded || is_parameter(one) || !other.tensors_[i]) continue;
      AOTI_TRY(given[i], share ? other.tensors_[i].share() : copy(one, other.tensors_[i]));
    }
    return success();
  }

  /// Copies of all constants that are not folded, from a blob.
  Result<Tensors> from_blob(const std::uint8_t* blob) const {
    if (blob == nullptr) {
      return Error{Errc::invalid_argument, "WeightSet::from_blob", "the blob is a null pointer"};
    }
    Tensors tensors(tensors_.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const Constant& one = description_->constants[i];
      if (one.folded) continue;
      AOTI_TRY(const Tensor there,
               Tensor::borrow(one.dtype, const_cast<std::uint8_t*>(blob) + one.offset, one.shape,
                              one.strides));
      AOTI_TRY(tensors[i], copy(one, there));
    }
    return tensors;
  }

  /// Puts those that are not empty in the place of the present ones, which are then in `tensors`.
  /// @param shared whether they belong to others, too
  void replace(Tensors&& tensors, bool shared) noexcept {
    bool folds = false, complete = true;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (tensors[i]) {
        tensors_[i] = std::move(tensors[i]);
        shared_[i] = shared;
      }
      folds |= description_->constants[i].folded;
      complete &= description_->constants[i].folded || tensors_[i];
    }
    state = !complete ? SetState::incomplete : folds ? SetState::loaded : SetState::ready;
  }

  /// Frees the tensors that this set made; those that hosts gave it to keep remain.
  void free_own() noexcept {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (!shared_[i]) tensors_[i] = Tensor{};
    }
    replace(Tensors(tensors_.size()), false);
  }

  /// Lets an instance compute the folded constants, and use this set meanwhile. If it fails, the
  /// set keeps those that it had.
  template <class Instance>
  Result<void> fold(Instance& instance, AOTInductorStreamHandle stream,
                    AOTIProxyExecutorHandle proxy) {
    if (state == SetState::incomplete) return incomplete();
    Tensors before(tensors_.size());
    const auto exchange = [&] {
      for (std::size_t i = 0; i < tensors_.size(); ++i) {
        if (description_->constants[i].folded) std::swap(before[i], tensors_[i]);
      }
    };
    exchange();
    auto done = aoti::detail::guard(Errc::model_threw, "fold", [&]() -> Result<void> {
      instance.use(tensors_);
      return instance.fold(stream, proxy);
    });
    if (done) {
      state = SetState::ready;
    } else {
      exchange();
    }
    return done;
  }

 private:
  /// A tensor that belongs to the host.
  struct Theirs {
    Tensor tensor;
    explicit Theirs(AtenTensorHandle handle) noexcept : tensor{handle} {}
    Theirs(const Theirs&) = delete;
    ~Theirs() { tensor.release(); }
  };

  /// Whether a full update must contain it, and a partial one leaves it as it is. Models of torch
  /// do not tell parameters from other constants if they were exported without that.
  static bool is_parameter(const Constant& one) noexcept {
    return one.bytes != 0 &&
           (one.kind == ConstantKind::parameter || one.kind == ConstantKind::unknown);
  }

  std::size_t find(std::string_view name) const noexcept {
    std::size_t i = 0;
    for (; i < tensors_.size(); ++i) {
      if (!description_->constants[i].folded && description_->constants[i].name == name) break;
    }
    return i;
  }

  [[gnu::cold]] std::string names() const {
    std::vector<std::string_view> names;
    for (const Constant& one : description_->constants) {
      if (!one.folded) names.push_back(one.name);
    }
    return names.empty() ? "none: the model has no weights" : aoti::detail::join(names);
  }

  /// Another tensor with the same elements.
  Result<Tensor> copy(const Constant& one, const Tensor& source) const {
    AOTI_TRY(Tensor tensor, Tensor::empty(one.dtype, one.shape, device_, index_, one.strides));
    AOTI_TRYV(tensor.copy_from(source));
    return tensor;
  }

  Result<void> check(std::size_t i, AtenTensorHandle handle, bool from_cpu) const {
    const Constant& one = description_->constants[i];
    if (handle == nullptr) {
      return Error{Errc::undefined_tensor, one.name, "the tensor's handle is null"};
    }
    const Theirs theirs{handle};
    const Tensor& given = theirs.tensor;
    using aoti::detail::concat;
    if (given.dtype() != one.dtype) {
      return Error{
          Errc::constant_dtype, one.name,
          concat({"found ", to_string(given.dtype()), ", expected ", to_string(one.dtype)})};
    }
    const DeviceType device = given.device();
    if (device != device_ && !(from_cpu && device == DeviceType::cpu)) {
      return Error{Errc::constant_device, one.name,
                   concat({"found a tensor on ", to_string(device), ", expected one on ",
                           to_string(device_)})};
    }
    const Sizes sizes = given.sizes();
    if (!std::equal(sizes.begin(), sizes.end(), one.shape.begin(), one.shape.end())) {
      return Error{Errc::constant_shape, one.name,
                   concat({"found the shape [", aoti::detail::join(sizes), "], expected [",
                           aoti::detail::join(one.shape), "]"})};
    }
    return success();
  }

  [[gnu::cold]] Error incomplete() const {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const Constant& one = description_->constants[i];
      if (one.folded || tensors_[i]) continue;
      return {Errc::bad_state, one.name, "the set lacks this weight; update it first"};
    }
    return Error{Errc::bad_state};
  }

  const Description* description_;
  Tensors tensors_;
  std::vector<bool> shared_;
  DeviceType device_;
  std::int32_t index_;
};

}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
