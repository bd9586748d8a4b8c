// How tests that serve every tensor runtime make tensors and look into them.
#pragma once

#include <aoti/runtime/runtime.hpp>

#include <cstdint>
#include <vector>

#include "support/support.hpp"

namespace aoti_test {

/// How a test makes a runtime's tensors and looks into them:
///   template <class T>
///   static Tensor make(std::vector<std::int64_t> sizes, const std::vector<T>& elements,
///                      std::vector<std::int64_t> strides = {});   on the CPU; elements in
///                      row-major order; strides empty for row-major memory, else without overlaps
///   template <class T>
///   static std::vector<T> elements(const Tensor&);           in row-major order
///   static const void* data(const Tensor&);                  where the memory begins
template <class Runtime> struct RuntimeCase;

}  // namespace aoti_test
