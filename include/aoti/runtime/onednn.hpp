// SPDX-License-Identifier: BSD-3-Clause
// Operators on oneDNN 2.6 or later, for models that run without libtorch.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "aoti/runtime/native.hpp"
#include "aoti/runtime/onednn/attention.hpp"
#include "aoti/runtime/onednn/convolution.hpp"
#include "aoti/runtime/onednn/matmul.hpp"
#include "aoti/runtime/onednn/packed_weight.hpp"
#include "aoti/runtime/onednn/rnn.hpp"
#include "aoti/runtime/plain_operators.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail::onednn {

template <class Import> struct OnednnFunction : std::false_type {};
#define AOTI_PROVIDED(row, ...)                                            \
  template <> struct OnednnFunction<abi::imported::row> : std::true_type { \
    static constexpr abi::imported::row::type* function = &__VA_ARGS__;    \
  };
#include "aoti/runtime/onednn.inc"

}  // namespace detail::onednn

/// Operators on oneDNN, for NativeWith: `NativeWith<Onednn>`. They compute what torch's operators
/// of these names do, with the same memory layouts. If oneDNN cannot, they fail with the reason.
/// Each thread keeps what oneDNN has compiled for the last shapes, at most 512, until it ends; any
/// number of threads may call them at once. oneDNN uses as many threads as OpenMP, or whatever it
/// was built for, gives it.
///
/// Products, convolutions and LSTMs want their weights packed. A weight that nobody may write to is
/// packed once, by the first run on any thread, or by the update that replaces a packed one; the
/// copy is kept with it, one for each layout that oneDNN chooses, unless OpenOptions::pack_weights
/// is false. Other weights are packed in each run: those of packages without a spec, those that the
/// model embeds or writes to, and those that WeightsUpdate::share() gave or aoti::weights()
/// returned.
///
/// Weights that Inductor packed for the oneDNN inside torch, as it does when it freezes a model,
/// are bytes whose order only that very version knows: such a model is refused with an error.
/// `aoti.export(…, updatable=False)` freezes a model and leaves its weights plain.
///
/// A program that also links libtorch must make oneDNN's symbols private: libtorch exports some of
/// the oneDNN inside it, and if it comes first, oneDNN's matrix products fail.
struct Onednn {
  /// The bytes of the packed copies that are kept now, for all models that run through this copy of
  /// the library. May be called at any time by any thread.
  static std::uint64_t packed_bytes() noexcept {
    return detail::onednn::PackedWeight::bytes.load();
  }

  template <class Import> using Function = detail::onednn::OnednnFunction<Import>;

  static void* import(std::string_view symbol) noexcept {
    static const detail::NativeEntry entries[] = {
#define AOTI_PROVIDED(row, ...) \
  detail::entry<abi::imported::row>(Function<abi::imported::row>::function),
#include "aoti/runtime/onednn.inc"
    };
    return detail::find(entries, symbol);
  }
};

/// Models run without libtorch, with their operators on oneDNN, and plain ones.
using NativeOnednn = NativeWith<Onednn, PlainOperators>;

static_assert(TensorRuntime<NativeOnednn>);

}  // namespace aoti::inline AOTI_ABI
