// SPDX-License-Identifier: BSD-3-Clause
// Models whose C++ Inductor generated, as instances for Container.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "aoti/device/cpu.hpp"
#include "aoti/model/boundary.hpp"
#include "aoti/model/description.hpp"
#include "aoti/model/tensor.hpp"

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

/// One instance of a generated model.
/// @tparam M the class that Inductor generated, on the base in stand_ins/
/// @tparam views whether it was compiled to be called on plain descriptions of memory, too
template <class M, bool views> class Generated {
 public:
  using Device = Cpu;
  static constexpr bool takes_views = views;

  static Description describe() { return make()->describe(); }

  Generated(const Description&, DeviceIndex, const char*) : model_{make()} {}

  void use(std::span<Tensor> constants) {
    constants_ = constants;
    model_->use(constants);
  }

  /// Takes the inputs over, whose slots are null afterwards. What the generated code throws, the
  /// boundary turns into an error.
  Result<void> run(AtenTensorHandle* in, AtenTensorHandle* out, AOTInductorStreamHandle stream,
                   AOTIProxyExecutorHandle proxy) {
    model_->run_impl(in, out, stream, proxy);
    return success();
  }

  Result<void> fold(AOTInductorStreamHandle stream, AOTIProxyExecutorHandle proxy) {
    auto made = model_->const_run_impl(stream, proxy, true);
    for (const auto& [name, handle] : made) {
      Tensor tensor{handle};
      if (const std::size_t i = model_->index_of(name); i < constants_.size()) {
        constants_[i] = std::move(tensor);
      }
    }
    return success();
  }

  /// Wraps AOTInductorModel::run_impl_minimal_arrayref_interface_v2_raw.
  Result<void> run_on_views(const AOTInductorArrayRefTensor* in,
                            AOTInductorArrayRefTensor* out) requires views {
    model_->run_impl_minimal_arrayref_interface_v2_raw(in, out, nullptr, nullptr);
    return success();
  }

 private:
  static std::unique_ptr<M> make() {
    return std::make_unique<M>(nullptr, nullptr, "cpu", std::nullopt);
  }

  std::unique_ptr<M> model_;
  std::span<Tensor> constants_;
};

}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
