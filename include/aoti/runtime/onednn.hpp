// Operators on oneDNN, of version 2.6 or later, for models that run without libtorch.
#pragma once

#include <cstdint>
#include <string_view>

#include "aoti/runtime/native.hpp"
#include "aoti/runtime/onednn/attention.hpp"
#include "aoti/runtime/onednn/convolution.hpp"
#include "aoti/runtime/onednn/matmul.hpp"
#include "aoti/runtime/onednn/rnn.hpp"
#include "aoti/runtime/plain_operators.hpp"

namespace aoti {

/// Operators on oneDNN, for NativeWith: `NativeWith<Onednn>`. They compute what torch's operators
/// of these names do, and their results lie in memory as torch's. Where oneDNN cannot, they fail
/// and say so. Each thread keeps what oneDNN has compiled for the shapes that it has seen, at most
/// 512 of them, until it ends; any number of threads may call them at once. oneDNN computes with as
/// many threads as OpenMP, or what else it was built for, gives it.
///
/// Weights that Inductor packed for the oneDNN inside torch, as it does where it freezes a model,
/// are bytes whose order only that very version knows: such a model does not load, and says so.
/// With Inductor's option "cpp.weight_prepack" off, from the first model on that a process freezes,
/// it has plain ones.
///
/// A program that links libtorch as well must give oneDNN symbols of its own: libtorch exports some
/// of the oneDNN inside it, and where it comes first, oneDNN's products fail.
struct Onednn {
  static void* import(std::string_view symbol) noexcept {
    using namespace abi::imported;
    using detail::entry;
    using Matmul = detail::onednn::Matmul;
    using Convolution = detail::onednn::Convolution;
    static const detail::NativeEntry entries[] = {
        entry<cpu_addmm_out>(&Matmul::addmm_out),
        entry<cpu_mm_out>(&Matmul::mm_out),
        entry<cpu_bmm_out>(&Matmul::bmm_out),
        entry<cpu_baddbmm_out>(&Matmul::baddbmm_out),
        entry<_mm_plus_mm_out>(&Matmul::mm_plus_mm_out),
        entry<cpu__scaled_dot_product_flash_attention_for_cpu>(&detail::onednn::Attention::flash),
        entry<cpu_mkldnn_rnn_layer>(&detail::onednn::Rnn::layer),
        entry<cpu_convolution>(&Convolution::convolution),
        entry<cpu_mkldnn__convolution_pointwise>(&Convolution::pointwise),
        entry<cpu_mkldnn__convolution_pointwise_binary>(&Convolution::pointwise_binary),
        entry<cpu_mkldnn__convolution_pointwise_binary_>(&Convolution::pointwise_binary_),
        entry<cpu__linear_pointwise>(&Matmul::linear_pointwise),
        entry<cpu__linear_pointwise_binary>(&Matmul::linear_pointwise_binary),
        entry<abi::imported::create_tensor_from_blob_v2>(&from_blob),
    };
    return detail::find(entries, symbol);
  }

 private:
  static AOTITorchError from_blob(void* data, std::int64_t rank, const std::int64_t* sizes,
                                  const std::int64_t* strides, std::int64_t offset,
                                  std::int32_t dtype, std::int32_t device, std::int32_t index,
                                  AtenTensorHandle* out, std::int32_t layout,
                                  const std::uint8_t* metadata,
                                  std::int64_t metadata_size) noexcept {
    if (layout != 0) {
      return NativeFunctions::fail(
          abi::imported::create_tensor_from_blob_v2::symbol,
          "the weights are packed for the oneDNN inside torch; compile the model with Inductor's "
          "option cpp.weight_prepack off");
    }
    return NativeFunctions::create_tensor_from_blob_v2(data, rank, sizes, strides, offset, dtype,
                                                       device, index, out, layout, metadata,
                                                       metadata_size);
  }
};

/// Models run without libtorch, with their operators on oneDNN, and plain ones.
using NativeOnednn = NativeWith<Onednn, PlainOperators>;

static_assert(TensorRuntime<NativeOnednn>);

}  // namespace aoti
