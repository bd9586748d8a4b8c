// Shared by the benchmarks: where the packages lie, and opening one or ending the program.
#pragma once

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <string>

#include "value.hpp"

namespace bench {

using TorchLoader = torch::inductor::AOTIModelPackageLoader;

inline std::string package(const std::string& model) {
  return AOTI_TEST_MODELS_DIR "/" + model + ".pt2";
}

template <class Runner> Runner open(const std::string& model) {
  return value(Runner::open(package(model)));
}

}  // namespace bench
