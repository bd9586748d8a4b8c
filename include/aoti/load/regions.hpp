// SPDX-License-Identifier: BSD-3-Clause
// Whether a failed check of the model's code is an error on every thread.
#pragma once

#include "aoti/image/image.hpp"
#include "aoti/package/package.hpp"

namespace aoti::inline AOTI_ABI {

/// Whether a check that fails while the model runs, such as that of an index, is an error of the
/// run. It always is if no loop is divided among threads by OpenMP, and in models compiled by
/// aoti.export. Other code ends the process if a check fails in such a loop.
inline bool reports_failed_checks(const PackagedModel& model, const Image& image) {
  if (model.metadata["aoti.regions"] == "true") return true;
  for (const ImageImport& import : image.imports()) {
    if (import.name.starts_with("GOMP_parallel") || import.name.starts_with("__kmpc_fork_call")) {
      return false;
    }
  }
  return true;
}

}  // namespace aoti::inline AOTI_ABI
