// How tests for every tensor runtime make tensors and read them.
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
/// Batteries on models that torch compiled want besides:
///   static Tensor empty(std::vector<std::int64_t> sizes, DType);
///   template <class T>
///   static Tensor view(T* data, std::vector<std::int64_t> sizes,
///                      std::vector<std::int64_t> strides);   of memory that stays
///   static std::size_t owners(const Tensor&);                tensors and handles that share it
///   static constexpr bool has_operators;                     so that models may import some
///   static bool needs_later_torch(const Error&);             why a model was refused
///   static std::string refused_product();                    what addmm says of sizes that do not
///                      match, here [4, 63] by [64, 32]; where has_operators
template <class Runtime> struct RuntimeCase;

}  // namespace aoti_test
