// SPDX-License-Identifier: BSD-3-Clause
// oneDNN's C interface, versions 2 and 3: descriptions of memory, and attributes of primitives.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <cstddef>
#include <cstdint>

#include "aoti/runtime/native/tensor_copy.hpp"
#include "aoti/runtime/tensor.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

#if DNNL_VERSION_MAJOR >= 3
using Description = const_dnnl_memory_desc_t;
#else
using Description = const dnnl_memory_desc_t*;
#endif

inline bool same(Description a, Description b) noexcept {
  return dnnl_memory_desc_equal(a, b) != 0;
}

inline Description description_of(const_dnnl_memory_t memory) noexcept {
  Description result = nullptr;
  dnnl_memory_get_memory_desc(memory, &result);
  return result;
}

inline const char* reason_of(dnnl_status_t status) noexcept {
  switch (status) {
    case dnnl_success:
      return nullptr;
    case dnnl_out_of_memory:
      return "oneDNN is out of memory";
    case dnnl_unimplemented:
      return "oneDNN has no implementation for these sizes, strides and dtypes";
    case dnnl_invalid_arguments:
      return "oneDNN refuses these sizes, strides and dtypes";
    default:
      return "oneDNN failed";
  }
}

/// The CPU; null if oneDNN has none.
inline dnnl_engine_t engine() noexcept {
  static const dnnl_engine_t made = [] {
    dnnl_engine_t result = nullptr;
    return dnnl_engine_create(&result, dnnl_cpu, 0) == dnnl_success ? result : nullptr;
  }();
  return made;
}

/// dnnl_data_type_undef for element types that oneDNN's operators here do not support.
constexpr dnnl_data_type_t type_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::float32:
      return dnnl_f32;
    case DType::bfloat16:
      return dnnl_bf16;
    case DType::float16:
      return dnnl_f16;
    default:
      return dnnl_data_type_undef;
  }
}

/// Whether elements may overlap: the stride of a dimension does not exceed the extent of those
/// further in.
/// @param first the dimension to begin with
inline bool overlaps_itself(const TensorBody& tensor, std::uint32_t first = 0) noexcept {
  const std::int64_t *sizes = tensor.sizes(), *strides = tensor.strides();
  for (std::uint32_t d = first; d < tensor.rank; ++d) {
    std::int64_t reach = 0;
    for (std::uint32_t i = first; i < tensor.rank; ++i) {
      const bool further_in = strides[i] < strides[d] || (strides[i] == strides[d] && i > d);
      if (further_in && sizes[i] > 1) reach += (sizes[i] - 1) * strides[i];
    }
    if (sizes[d] > 1 && strides[d] <= reach) return true;
  }
  return false;
}

/// Sizes and strides for oneDNN.
struct Shape {
  int rank = 0;
  dnnl_dims_t sizes = {};
  dnnl_dims_t strides = {};

  Shape() noexcept = default;
  /// For a tensor with at most DNNL_MAX_NDIMS dimensions; sizes of 1, whose strides do not matter,
  /// get their row-major stride.
  explicit Shape(const TensorBody& tensor) noexcept : rank{static_cast<int>(tensor.rank)} {
    for (int d = 0; d < rank; ++d) {
      sizes[d] = tensor.sizes()[d];
      strides[d] = tensor.strides()[d];
    }
    normalise();
  }
  /// A row-major matrix.
  static Shape matrix(std::int64_t rows, std::int64_t columns) noexcept {
    Shape shape;
    shape.rank = 2;
    shape.sizes[0] = rows;
    shape.sizes[1] = columns;
    shape.row_major();
    return shape;
  }
  void normalise() noexcept {
    for (int d = rank; d-- > 0;) {
      if (sizes[d] == 1) strides[d] = d + 1 < rank ? strides[d + 1] * sizes[d + 1] : 1;
    }
  }
  void row_major() noexcept {
    std::int64_t step = 1;
    for (int d = rank; d-- > 0; step *= sizes[d]) strides[d] = step;
  }
  /// Makes the second dimension the innermost.
  void channels_last() noexcept {
    strides[1] = 1;
    std::int64_t step = sizes[1];
    for (int d = rank; d-- > 2; step *= sizes[d]) strides[d] = step;
    strides[0] = step;
  }
  /// Whether the elements have the same places.
  friend bool operator==(const Shape& a, const Shape& b) noexcept {
    for (int d = 0; d < a.rank; ++d) {
      if (a.sizes[d] != b.sizes[d] || (a.sizes[d] != 1 && a.strides[d] != b.strides[d])) {
        return false;
      }
    }
    return a.rank == b.rank;
  }
};

/// A memory layout for oneDNN. Null if it was not made, which also stands for an absent argument.
class Layout {
 public:
  Layout() noexcept = default;
  /// @param free whether oneDNN chooses the strides
  Layout(dnnl_data_type_t type, const Shape& shape, bool free = false) noexcept {
    make(type, shape, free ? nullptr : shape.strides);
  }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;

#if DNNL_VERSION_MAJOR >= 3
  ~Layout() {
    if (made_ != nullptr) dnnl_memory_desc_destroy(made_);
  }
  Description get() const noexcept { return made_; }

 private:
  void make(dnnl_data_type_t type, const Shape& shape, const dnnl_dim_t* strides) noexcept {
    if (made_ != nullptr) dnnl_memory_desc_destroy(made_);
    const dnnl_status_t status =
        strides != nullptr
            ? dnnl_memory_desc_create_with_strides(&made_, shape.rank, shape.sizes, type, strides)
            : dnnl_memory_desc_create_with_tag(&made_, shape.rank, shape.sizes, type,
                                               dnnl_format_tag_any);
    if (status != dnnl_success) made_ = nullptr;
  }

  dnnl_memory_desc_t made_ = nullptr;
#else
  Description get() const noexcept { return made_.ndims != 0 ? &made_ : nullptr; }

 private:
  void make(dnnl_data_type_t type, const Shape& shape, const dnnl_dim_t* strides) noexcept {
    const dnnl_status_t status =
        strides != nullptr
            ? dnnl_memory_desc_init_by_strides(&made_, shape.rank, shape.sizes, type, strides)
            : dnnl_memory_desc_init_by_tag(&made_, shape.rank, shape.sizes, type,
                                           dnnl_format_tag_any);
    if (status != dnnl_success) made_.ndims = 0;
  }

  dnnl_memory_desc_t made_ = {};
#endif
};

/// A primitive's attributes: scratchpads come from the caller, and operations follow the
/// computation.
class Attributes {
 public:
  Attributes() noexcept {
    if (dnnl_primitive_attr_create(&attributes_) != dnnl_success ||
        dnnl_primitive_attr_set_scratchpad_mode(attributes_, dnnl_scratchpad_mode_user) !=
            dnnl_success ||
        dnnl_post_ops_create(&operations_) != dnnl_success) {
      status_ = dnnl_out_of_memory;
    }
  }
  ~Attributes() {
    if (operations_ != nullptr) dnnl_post_ops_destroy(operations_);
    if (attributes_ != nullptr) dnnl_primitive_attr_destroy(attributes_);
  }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;

  void eltwise(dnnl_alg_kind_t algorithm, float alpha, float beta) noexcept {
    if (status_ != dnnl_success) return;
#if DNNL_VERSION_MAJOR >= 3
    status_ = dnnl_post_ops_append_eltwise(operations_, algorithm, alpha, beta);
#else
    status_ = dnnl_post_ops_append_eltwise(operations_, 1.0f, algorithm, alpha, beta);
#endif
  }
  /// Adds `scale` times the previous contents of the result's memory.
  void sum(float scale) noexcept {
    if (status_ != dnnl_success) return;
#if DNNL_VERSION_MAJOR >= 3
    status_ = dnnl_post_ops_append_sum(operations_, scale, 0, dnnl_data_type_undef);
#else
    status_ = dnnl_post_ops_append_sum(operations_, scale);
#endif
  }

  /// Null if something has failed.
  const_dnnl_primitive_attr_t get() noexcept {
    if (status_ == dnnl_success) {
      status_ = dnnl_primitive_attr_set_post_ops(attributes_, operations_);
    }
    return status_ == dnnl_success ? attributes_ : nullptr;
  }

 private:
  dnnl_primitive_attr_t attributes_ = nullptr;
  dnnl_post_ops_t operations_ = nullptr;
  dnnl_status_t status_ = dnnl_success;
};

/// A product of matrices, or of batches of them.
inline dnnl_status_t describe_product(dnnl_primitive_desc_t* description, const Layout& source,
                                      const Layout& weights, const Layout& target,
                                      const_dnnl_primitive_attr_t attributes,
                                      Description bias = nullptr) noexcept {
#if DNNL_VERSION_MAJOR >= 3
  return dnnl_matmul_primitive_desc_create(description, engine(), source.get(), weights.get(), bias,
                                           target.get(), attributes);
#else
  dnnl_matmul_desc_t operation;
  const dnnl_status_t status =
      dnnl_matmul_desc_init(&operation, source.get(), weights.get(), bias, target.get());
  if (status != dnnl_success) return status;
  return dnnl_primitive_desc_create(description, &operation, attributes, engine(), nullptr);
#endif
}

/// The type that operators compute in for a given type: float32 for a narrow one for which oneDNN
/// has no products on this processor, else the same.
inline DType computed_as(DType dtype) noexcept {
  const auto has_products = [](dnnl_data_type_t type) {
    Shape one;
    one.rank = 2;
    one.sizes[0] = one.sizes[1] = 1;
    one.row_major();
    const Layout layout{type, one};
    Attributes attributes;
    dnnl_primitive_desc_t description = nullptr;
    const bool found =
        describe_product(&description, layout, layout, layout, attributes.get()) == dnnl_success;
    if (found) dnnl_primitive_desc_destroy(description);
    return found;
  };
  if (dtype == DType::bfloat16) {
    static const bool found = has_products(dnnl_bf16);
    return found ? dtype : DType::float32;
  }
  if (dtype == DType::float16) {
    static const bool found = has_products(dnnl_f16);
    return found ? dtype : DType::float32;
  }
  return dtype;
}

}  // namespace aoti::inline AOTI_ABI::detail::onednn
