// SPDX-License-Identifier: BSD-3-Clause
// Stands in for torch's header of this name: the base of generated models, for the container in
// aoti/model/container.hpp. Only for models on the CPU.
#pragma once

#include <torch/csrc/inductor/aoti_runtime/constant_type.h>
#include <torch/csrc/inductor/aoti_runtime/device_utils.h>
#include <torch/csrc/inductor/aoti_runtime/utils.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "aoti/model/description.hpp"
#include "aoti/model/tensor.hpp"

// The weights that are embedded in the image, or their size if they are elsewhere.
extern std::uint8_t _binary_constants_bin_start[];
extern std::uint8_t _binary_constants_bin_end[];

namespace torch::aot_inductor {

using ConstantMap = std::unordered_map<std::string, RAIIAtenTensorHandle>;

// Settings of copies to GPUs.
inline void setUsePinnedAsyncConstantsCopy(bool) {}
inline void setPinnedAsyncConstantsCopyStageBufferBytes(std::size_t) {}
inline void setPinnedAsyncConstantsCopyCpuThreads(std::size_t) {}

/// What generated classes derive from, and set in their constructors.
template <class Model> class AOTInductorModelBase {
 public:
  AOTInductorModelBase(std::size_t inputs, std::size_t outputs, std::size_t constants,
                       const std::string&, std::optional<std::string> kernels, bool embedded = true)
      : inputs_info_(inputs),
        outputs_info_(outputs),
        constants_info_(constants),
        constants_{std::make_shared<std::vector<ConstantHandle>>(constants)},
        cubin_dir_{std::move(kernels)},
        embedded_{embedded} {}
  AOTInductorModelBase(const AOTInductorModelBase&) = delete;
  AOTInductorModelBase& operator=(const AOTInductorModelBase&) = delete;

  /// What the container asks.
  aoti::model::Description describe() const {
    aoti::model::Description all;
    for (const ParamInfo& one : inputs_info_) all.inputs.push_back(one.name);
    for (const ParamInfo& one : outputs_info_) all.outputs.push_back(one.name);
    all.inputs_spec = in_spec_;
    all.outputs_spec = out_spec_;
    const auto size =
        static_cast<std::size_t>(_binary_constants_bin_end - _binary_constants_bin_start);
    std::size_t offset = 0;
    for (const ConstInfo& one : constants_info_) {
      aoti::Constant constant{.name = one.name,
                              .fqn = one.original_fqn != nullptr ? one.original_fqn : "",
                              .dtype = static_cast<aoti::DType>(one.dtype),
                              .kind = static_cast<aoti::ConstantKind>(one.type)};
      constant.bytes = one.data_size;
      constant.folded = one.from_folded;
      constant.described = true;
      constant.shape = one.shape;
      constant.strides = one.stride;
      if (one.layout != 0) {
        throw std::runtime_error{
            constant.fqn +
            ": the weight is packed for the oneDNN inside torch; leave weights "
            "plain, as aoti.export does"};
      }
      constant.offset =
          offset + static_cast<std::size_t>(one.offset) * element_size(constant.dtype);
      if (!one.from_folded) offset += one.data_size;
      const bool here = embedded_ && !one.from_folded && offset <= size;
      all.values.push_back(here ? _binary_constants_bin_start + constant.offset : nullptr);
      all.constants.push_back(std::move(constant));
    }
    return all;
  }

  /// Lets the next runs work on these tensors, which must outlive them.
  void use(std::span<aoti::model::Tensor> constants) {
    for (std::size_t i = 0; i < constants.size(); ++i) {
      constants_->at(i) = constants[i] ? ConstantHandle{constants[i].handle()} : ConstantHandle{};
    }
  }

  /// The number of constants if there is none of that name.
  std::size_t index_of(std::string_view name) const {
    std::size_t i = 0;
    while (i < constants_info_.size() && constants_info_[i].name != name) ++i;
    return i;
  }

  // Generated code calls these, but the container gives a model its constants.
  template <class Constants> void update_constants_map(Constants&&) {}
  template <class Constants> void update_constants_array(Constants&&) {}
  void load_constants() {}
  std::size_t num_outputs() const { return outputs_info_.size(); }

 protected:
  struct ParamInfo {
    const char* name = nullptr;
  };
  struct ConstInfo {
    const char* name = nullptr;
    std::vector<std::int64_t> shape, stride;
    std::int32_t dtype = 0, device_type = 0;
    std::int64_t offset = 0;  // in elements, within its storage
    std::size_t data_size = 0;
    std::int32_t layout = 0;
    std::vector<std::uint8_t> opaque_metadata;
    std::int64_t opaque_metadata_size = 0;
    const char* original_fqn = nullptr;
    bool from_folded = false;
    std::int32_t type = 0;
  };

  std::vector<ParamInfo> inputs_info_, outputs_info_;
  std::vector<ConstInfo> constants_info_;
  std::string in_spec_, out_spec_;
  std::shared_ptr<std::vector<ConstantHandle>> constants_;
  const std::optional<std::string> cubin_dir_;
  std::int32_t device_type_ = 0, device_idx_ = -1;

 private:
  static std::size_t element_size(aoti::DType dtype) { return aoti::element_size(dtype); }

  bool embedded_;
};

class AOTInductorModelKernelsBase {
 public:
  virtual ~AOTInductorModelKernelsBase() = default;
};

}  // namespace torch::aot_inductor
