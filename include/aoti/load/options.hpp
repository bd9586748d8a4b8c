// SPDX-License-Identifier: BSD-3-Clause
// The choices that a runner offers: those made at compile time and those made when it is opened.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "aoti/device/device.hpp"
#include "aoti/image/library.hpp"

namespace aoti::inline AOTI_ABI {

/// How many threads may be inside a runner.
enum class Access {
  /// One at a time, which is fastest: no lock, and the model's own bookkeeping is left out where
  /// the model allows (torch 2.7 on, without folded constants). Several threads take a runner each.
  exclusive,
  /// Any number: up to OpenOptions::instances run at once and share one set of weights, the rest
  /// wait.
  shared,
};

/// A runner's compile-time options. What is switched off is not compiled.
struct Options {
  Access access = Access::exclusive;
  /// Check inputs against the package's input spec before each call, and copy those whose memory is
  /// laid out otherwise than the compiled code assumes. Without this, both are the caller's duty.
  bool check_inputs = true;
  /// With exclusive access, answer a thread that comes while another is inside with
  /// Errc::bad_state. Without this, such a call is a data race.
  bool detect_concurrent_use = true;
};

/// What a runner does with the weights of its package when it is opened. One without weights
/// (models of torch 2.13 or later) refuses to run until it is given all of them, see
/// aoti/weights.hpp, before other threads call it.
enum class PackagedWeights {
  required,  ///< Loads them; a package that carries none is refused.
  optional,  ///< Loads them where there are some.
  ignored,   ///< Leaves those beside the image out. Embedded ones come with the image all the same.
};

/// What is chosen when a runner is opened.
struct OpenOptions {
  /// The model's exact name. An empty one means the only model of the package.
  std::string model = {};
  /// Runs that may proceed at once; above 1 only with Access::shared.
  std::size_t instances = 1;
  DeviceIndex device = DeviceIndex::current();
  /// Each stream gets an instance of its own, whose runs wait for one another (models of torch 2.15
  /// or later for GPUs, with Access::shared). Streams must live as long as the runner.
  bool stream_affinity = false;
  PackagedWeights weights = PackagedWeights::required;
  Backing backing = default_backing;  ///< Where the copy of the image lies that is loaded.
  /// Shared objects that define operators or classes which the model uses (TORCH_LIBRARY). They are
  /// loaded before it, for good. Two that define the same ones end the process, as torch has it.
  std::vector<std::string> operator_libraries = {};
  /// Where the kernels (.cubin and the like) of a model for a GPU lie as files. Empty for those of
  /// the package; a bare shared object has none beside it.
  std::string kernel_folder = {};
};

}  // namespace aoti::inline AOTI_ABI
