// SPDX-License-Identifier: BSD-3-Clause
// Stands in for torch's header of this name, which declares operators.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
