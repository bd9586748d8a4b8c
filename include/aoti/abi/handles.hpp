// SPDX-License-Identifier: BSD-3-Clause
// The opaque handles and error codes that cross the C boundary of a compiled model.
//
// They are in the global namespace, under torch's names and equal to torch's declarations, so that
// this file and torch's headers can be included together in any order. Types that torch defines are
// only declared here.
#pragma once

#include <cstddef>
#include <cstdint>

struct AtenTensorOpaque;
using AtenTensorHandle = AtenTensorOpaque*;

struct AOTIProxyExecutorOpaque;
using AOTIProxyExecutorHandle = AOTIProxyExecutorOpaque*;

struct C10IValueOpaque;
using C10IValueHandle = C10IValueOpaque*;

struct IValueMapOpaque;
using IValueMapHandle = IValueMapOpaque*;

struct AtenRecordFunctionOpaque;
using AtenRecordFunctionHandle = AtenRecordFunctionOpaque*;

struct CUDAGuardOpaque;
using CUDAGuardHandle = CUDAGuardOpaque*;

struct CUDAStreamGuardOpaque;
using CUDAStreamGuardHandle = CUDAStreamGuardOpaque*;

struct XPUGuardOpaque;
using XPUGuardHandle = XPUGuardOpaque*;

struct XPUStreamGuardOpaque;
using XPUStreamGuardHandle = XPUStreamGuardOpaque*;

struct AOTIMetalKernelFunctionOpaque;
using AOTIMetalKernelFunctionHandle = AOTIMetalKernelFunctionOpaque*;

struct AOTInductorModelOpaque;
using AOTInductorModelHandle = AOTInductorModelOpaque*;

struct AOTInductorModelContainerOpaque;
using AOTInductorModelContainerHandle = AOTInductorModelContainerOpaque*;

struct AOTInductorStreamOpaque;
using AOTInductorStreamHandle = AOTInductorStreamOpaque*;

struct AOTInductorConstantMap;
using AOTInductorConstantMapHandle = AOTInductorConstantMap*;

struct AOTInductorConstantMapEntry;
struct AOTInductorArrayRefTensor;

// Numbers that cross it, too.
namespace c10 {
struct Half;
struct BFloat16;
template <class T> struct complex;
}  // namespace c10

/// What the functions that a model exports return; 0 is success.
using AOTIRuntimeError = std::int32_t;

/// What the functions that a model imports return; 0 is success.
using AOTITorchError = std::int32_t;
