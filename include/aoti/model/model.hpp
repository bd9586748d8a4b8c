// SPDX-License-Identifier: BSD-3-Clause
// The base of models that are written in C++.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "aoti/device/cpu.hpp"
#include "aoti/model/call.hpp"
#include "aoti/model/declarations.hpp"
#include "aoti/model/description.hpp"

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

/// The base of a model that is written in C++, and runs wherever compiled models do:
///
///     struct Scale : aoti::model::Model<Scale> {
///       static constexpr std::array inputs{aoti::model::tensor<float>("x", aoti::model::any)};
///       static constexpr std::array outputs{aoti::model::tensor<float>("y", aoti::model::any)};
///       static constexpr std::array one{1.0f};
///       static constexpr std::array constants{aoti::model::parameter("factor", {1}, one)};
///
///       aoti::Result<void> run(aoti::model::Call& call) {
///         AOTI_TRY(const auto x, call.input<float>(0));
///         AOTI_TRY(const auto factor, call.constant<float>(0));
///         AOTI_TRY(const auto y, call.output<float>(0, call.input(0).sizes()));
///         for (std::size_t i = 0; i < x.size(); ++i) y[i] = factor[0] * x[i];
///         return aoti::success();
///       }
///     };
///
/// `inputs`, `outputs` and `run` are required. Optional are `constants`, and `fold(Call&)`, which
/// sets the folded ones. An object of the class is one instance: it is default-constructed, and
/// `run` is called by one thread at a time on it. A run may throw; the host gets an error.
template <class M> struct Model {
  using Device = Cpu;
  static constexpr std::array<Declared, 0> constants{};
};

namespace detail {

template <class M> constexpr bool has_fold = requires(M& model, Call& call) {
  { model.fold(call) } -> std::same_as<Result<void>>;
};

/// When instantiated, checks a model's declarations.
template <class M> struct Checked {
  static_assert(
      requires { std::span<const Port>{M::inputs}; },
      "a model needs static constexpr std::array inputs{aoti::model::tensor<T>(…), …}");
  static_assert(
      requires { std::span<const Port>{M::outputs}; },
      "a model needs static constexpr std::array outputs{aoti::model::tensor<T>(…), …}");
  static_assert(M::outputs.size() > 0, "a model needs at least one output");
  static_assert(
      requires(M & model, Call& call) {
        { model.run(call) } -> std::same_as<Result<void>>;
      },
      "a model needs aoti::Result<void> run(aoti::model::Call&)");
  static_assert(std::default_initializable<M>, "a model needs a default constructor");
  static_assert(values_fit(M::constants),
                "a constant's initial values must be as many as its shape has elements");
  static_assert(names_differ(M::constants), "each constant needs a name of its own");
  static_assert(have_values_or_not(M::constants),
                "give all weights initial values, or none: a host loads all of them or none");
  static constexpr bool folds = [] {
    for (const Declared& one : M::constants) {
      if (one.kind == ConstantKind::folded) return true;
    }
    return false;
  }();
  static_assert(folds == has_fold<M>,
                "aoti::Result<void> fold(aoti::model::Call&) is required if, and only if, a "
                "constant is folded");
  static_assert(M::Device::type == DeviceType::cpu,
                "models in C++ run on the CPU only: their container does not wait for a device");
  static constexpr bool value = true;
};

}  // namespace detail

/// One instance of a model that is written in C++, for Container.
template <class M> class Written {
  static_assert(detail::Checked<M>::value);

 public:
  using Device = typename M::Device;

  static Description describe() {
    Description all;
    for (const Port& one : M::inputs) all.inputs.push_back(one.name);
    for (const Port& one : M::outputs) all.outputs.push_back(one.name);
    all.inputs_spec = detail::positional_inputs(M::inputs.size());
    all.outputs_spec = detail::positional_outputs(M::outputs.size());
    std::size_t offset = 0;
    for (const Declared& one : M::constants) {
      Constant constant{.name = one.name,
                        .fqn = one.kind == ConstantKind::folded ? "" : one.name,
                        .dtype = one.dtype,
                        .kind = one.kind};
      constant.folded = one.kind == ConstantKind::folded;
      constant.described = true;
      constant.shape.assign(one.shape.sizes.begin(), one.shape.sizes.begin() + one.shape.rank);
      constant.strides = aoti::detail::row_major_strides(constant.shape);
      const auto bytes = static_cast<std::size_t>(one.shape.count()) * element_size(one.dtype);
      constant.bytes =
          (bytes + Description::alignment - 1) / Description::alignment * Description::alignment;
      constant.offset = offset;
      if (!constant.folded) offset += constant.bytes;
      all.constants.push_back(std::move(constant));
      static constexpr char nothing = 0;  // stands for the values of an empty constant
      all.values.push_back(one.data_count == 0 ? &nothing : one.data);
    }
    return all;
  }

  Written(const Description& described, DeviceIndex index, const char*)
      : declared_{described.constants.data()},
        index_{index.is_current() ? 0 : static_cast<std::int32_t>(index.value)} {}

  /// Lets the next calls work on these constants.
  void use(std::span<Tensor> constants) noexcept { constants_ = constants; }

  /// Takes the inputs over, whose slots are null afterwards, and sets the outputs if it succeeds.
  Result<void> run(AtenTensorHandle* in, AtenTensorHandle* out, AOTInductorStreamHandle stream,
                   AOTIProxyExecutorHandle proxy) {
    std::array<Tensor, M::inputs.size()> inputs;
    std::array<Tensor, M::outputs.size()> outputs;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = Tensor{std::exchange(in[i], nullptr)};
    }
    Call call = make_call(inputs, outputs, stream, proxy);
    AOTI_TRYV(model_.run(call));
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i]) [[unlikely]] {
        return Error{Errc::model_failed, M::outputs[i].name, "the model did not set this output"};
      }
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) out[i] = outputs[i].release();
    return success();
  }

  /// Makes the folded constants of the set in use.
  Result<void> fold(AOTInductorStreamHandle stream, AOTIProxyExecutorHandle proxy) {
    if constexpr (detail::has_fold<M>) {
      for (std::size_t i = 0; i < constants_.size(); ++i) {
        const Constant& one = declared_[i];
        if (!one.folded) continue;
        AOTI_TRY(constants_[i], Tensor::empty(one.dtype, one.shape, Device::type, index_));
      }
      Call call = make_call({}, {}, stream, proxy);
      return model_.fold(call);
    }
    return success();
  }

 private:
  Call make_call(std::span<Tensor> inputs, std::span<Tensor> outputs,
                 AOTInductorStreamHandle stream, AOTIProxyExecutorHandle proxy) const noexcept {
    return {inputs, outputs, input_names_.data(), constants_, declared_, Device::type, index_,
            stream, proxy};
  }

  static constexpr auto input_names_ = [] {
    std::array<const char*, M::inputs.size()> names{};
    for (std::size_t i = 0; i < names.size(); ++i) names[i] = M::inputs[i].name;
    return names;
  }();

  M model_{};
  std::span<Tensor> constants_;
  const Constant* declared_;
  std::int32_t index_;
};

}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
