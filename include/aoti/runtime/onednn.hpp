// Operators on oneDNN, of version 2.6 or later, for models that run without libtorch.
#pragma once

#include <string_view>

#include "aoti/runtime/native.hpp"
#include "aoti/runtime/onednn/attention.hpp"
#include "aoti/runtime/onednn/convolution.hpp"
#include "aoti/runtime/onednn/matmul.hpp"
#include "aoti/runtime/onednn/rnn.hpp"

namespace aoti {

/// Operators on oneDNN, for NativeWith: `NativeWith<Onednn>`. They compute what torch's operators
/// of these names do, and their results lie in memory as torch's. Where oneDNN cannot, they fail
/// and say so. Each thread keeps what oneDNN has compiled for the shapes that it has seen, at most
/// 512 of them, until it ends; any number of threads may call them at once. oneDNN computes with as
/// many threads as OpenMP, or what else it was built for, gives it.
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
    };
    for (const detail::NativeEntry& row : entries) {
      if (row.symbol == symbol) return row.function;
    }
    return nullptr;
  }
};

/// Models run without libtorch, with their operators on oneDNN.
using NativeOnednn = NativeWith<Onednn>;

static_assert(TensorRuntime<NativeOnednn>);

}  // namespace aoti
