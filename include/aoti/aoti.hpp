// All of aoti that needs no libtorch. Programs on libtorch include aoti/runtime/libtorch.hpp too.
#pragma once

#include "aoti/device/cpu.hpp"
#include "aoti/error.hpp"
#include "aoti/load/package.hpp"
#include "aoti/result.hpp"
#include "aoti/run/runner.hpp"
#include "aoti/version.hpp"
