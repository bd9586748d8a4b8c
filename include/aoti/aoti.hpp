// SPDX-License-Identifier: BSD-3-Clause
// All of aoti that needs no libtorch. Programs on libtorch include aoti/runtime/libtorch.hpp too.
//
// Classes that do not depend on a device or a runtime, such as Package, are templates too, with a
// dummy parameter (Package is BasicPackage<>): a file that includes them then compiles only the
// members that it calls. If they were plain classes, this header would take half as long again to
// compile (g++ 12; a fifth with clang 14).
#pragma once

#include "aoti/any_runner.hpp"
#include "aoti/device/cpu.hpp"
#include "aoti/device/cuda.hpp"
#include "aoti/device/mps.hpp"
#include "aoti/device/xpu.hpp"
#include "aoti/error.hpp"
#include "aoti/package/package.hpp"
#include "aoti/result.hpp"
#include "aoti/runner.hpp"
#include "aoti/version.hpp"
