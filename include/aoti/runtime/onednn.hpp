// SPDX-License-Identifier: BSD-3-Clause
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

namespace aoti::inline AOTI_ABI {

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
    using namespace detail::onednn;
    static const detail::NativeEntry entries[] = {
#define AOTI_PROVIDED(row, function) detail::entry<abi::imported::row>(&function),
#include "aoti/runtime/onednn.inc"
    };
    return detail::find(entries, symbol);
  }
};

/// Models run without libtorch, with their operators on oneDNN, and plain ones.
using NativeOnednn = NativeWith<Onednn, PlainOperators>;

static_assert(TensorRuntime<NativeOnednn>);

}  // namespace aoti::inline AOTI_ABI
