// SPDX-License-Identifier: BSD-3-Clause
// A runner's options: those chosen at compile time and those chosen when it is opened.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "aoti/device/device.hpp"
#include "aoti/image/library.hpp"

namespace aoti::inline AOTI_ABI {

/// How many threads may be inside a runner.
enum class Access {
  /// One at a time. This is fastest: there is no lock, and the model's own bookkeeping is left out
  /// if the model allows it (torch 2.7 on, without folded constants). Give each thread its own
  /// runner.
  exclusive,
  /// Any number: up to OpenOptions::instances runs proceed at once and share one set of weights;
  /// others wait.
  shared,
};

/// A runner's compile-time options. Whatever is switched off is not compiled.
struct Options {
  Access access = Access::exclusive;
  /// Check inputs against the package's input spec before each call, and copy those whose memory is
  /// not laid out as the compiled code assumes. If false, both are the caller's duty.
  bool check_inputs = true;
  /// With exclusive access, answer a second thread inside the runner with Errc::bad_state. If
  /// false, such a call is a data race.
  bool detect_concurrent_use = true;
  /// Treat denormal numbers, of a magnitude below 1.2e-38 in float32, as zero while a model runs:
  /// processors compute with them up to a hundred times slower, and masks and decaying states bring
  /// them about. The calling thread's mode is restored after each run; OpenMP's threads keep it.
  bool flush_denormals = false;
};

/// What a runner does with the weights of its package when it is opened. A runner without weights
/// (models of torch 2.13 or later) refuses to run until it is given all of them, before other
/// threads call it; see aoti/weights.hpp.
enum class PackagedWeights {
  required,  ///< Loads them; a package that carries none is refused.
  optional,  ///< Loads them if there are any.
  ignored,   ///< Leaves out those beside the image. Embedded ones come with the image.
};

/// What is chosen when a runner is opened.
struct OpenOptions {
  /// The model's exact name. Empty for the only model of the package.
  std::string model = {};
  /// Runs that may proceed at once; above 1 only with Access::shared.
  std::size_t instances = 1;
  DeviceIndex device = DeviceIndex::current();
  /// Each stream gets its own instance, whose runs wait for one another (models of torch 2.15 or
  /// later for GPUs, with Access::shared). Streams must live as long as the runner.
  bool stream_affinity = false;
  PackagedWeights weights = PackagedWeights::required;
  /// Whether operators may keep a second copy, in the order that computes fastest, of weights that
  /// the model only reads: oneDNN's do, and products of few rows take about half as long. If false,
  /// no copies are kept, so processes that open one file share its pages; operators that need
  /// another order copy the weight in each run.
  bool pack_weights = true;
  Backing backing = default_backing;  ///< Where the copy of the image that is loaded lies.
  /// Shared objects that define operators or classes that the model uses (TORCH_LIBRARY). They are
  /// loaded before it, and never unloaded. If two define the same ones, torch ends the process.
  std::vector<std::string> operator_libraries = {};
  /// Where the kernels (.cubin and the like) of a GPU model lie as files. Empty for those of the
  /// package; a bare shared object has none beside it.
  std::string kernel_folder = {};
};

}  // namespace aoti::inline AOTI_ABI
