// SPDX-License-Identifier: BSD-3-Clause
// What the tables of exports and imports say about one C function.
#pragma once

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI::abi {

enum class Need : bool { optional, required };

/// A torch release; {0, 0} if the first one is not known.
struct TorchVersion {
  int major;
  int minor;
};

struct Row {
  const char* symbol;  ///< The function's name in the shared object.
  Need need;  ///< Exports: functions that a runner needs. Imports: functions that every model uses.
  TorchVersion since;  ///< The first torch release that has it.
};

}  // namespace aoti::inline AOTI_ABI::abi
