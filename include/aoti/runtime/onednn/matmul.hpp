// SPDX-License-Identifier: BSD-3-Clause
// Products of matrices, on oneDNN.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "aoti/runtime/onednn/fused.hpp"
#include "aoti/runtime/onednn/matrix.hpp"
#include "aoti/runtime/onednn/plans.hpp"
#include "aoti/runtime/onednn/primitives.hpp"
#include "aoti/runtime/onednn/product.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

struct Matmul {
  using Handle = AtenTensorHandle;
  using Code = AOTITorchError;
  using Body = TensorBody;

  static Code addmm_out(Handle out, Handle self, Handle a, Handle b, double beta,
                        double alpha) noexcept {
    return product(abi::imported::cpu_addmm_out::symbol, 2, out, self, a, b, beta, alpha);
  }
  static Code mm_out(Handle out, Handle a, Handle b) noexcept {
    return product(abi::imported::cpu_mm_out::symbol, 2, out, nullptr, a, b, 0, 1);
  }
  static Code baddbmm_out(Handle out, Handle self, Handle a, Handle b, double beta,
                          double alpha) noexcept {
    return product(abi::imported::cpu_baddbmm_out::symbol, 3, out, self, a, b, beta, alpha);
  }
  static Code bmm_out(Handle out, Handle a, Handle b) noexcept {
    return product(abi::imported::cpu_bmm_out::symbol, 3, out, nullptr, a, b, 0, 1);
  }
  /// out = a @ b + c @ d
  static Code mm_plus_mm_out(Handle out, Handle a, Handle b, Handle c, Handle d) noexcept {
    constexpr const char* name = abi::imported::_mm_plus_mm_out::symbol;
    const Code failed = product(name, 2, out, nullptr, a, b, 0, 1);
    return failed != 0 ? failed : product(name, 2, out, out, c, d, 1, 1);
  }

  /// x @ weight.T + bias, followed by a function of each element.
  /// @param x [..., channels]
  /// @param weight [results, channels]
  /// @param bias null or [results]
  /// @param out a new tensor [..., results], row-major
  static Code linear_pointwise(Handle x, Handle weight, Handle* bias, const char* function,
                               const double** scalars, std::int64_t count, const char** algorithm,
                               Handle* out) noexcept {
    constexpr const char* name = abi::imported::cpu__linear_pointwise::symbol;
    Fused fused;
    if (!Fused::parse(function, scalars, count, algorithm, fused)) {
      return NativeFunctions::fail(name, "the fused function is not known");
    }
    return linear(name, *Body::of(x), *Body::of(weight), bias, {}, fused, out);
  }
  /// x @ weight.T + bias + other, or - other, where other is broadcast to the result's sizes.
  static Code linear_pointwise_binary(Handle x, Handle other, Handle weight, Handle* bias,
                                      const char* operation, Handle* out) noexcept {
    constexpr const char* name = abi::imported::cpu__linear_pointwise_binary::symbol;
    const float sign = sign_of(operation);
    if (sign == 0) return NativeFunctions::fail(name, "the fused function is not known");
    return linear(name, *Body::of(x), *Body::of(weight), bias, {Body::of(other), sign}, {}, out);
  }

  /// out = beta * self + alpha * a @ b for matrices, or batches of them; self is broadcast to out,
  /// and is not read if beta is 0. It may share memory with out, but a and b may not.
  static Code product(const char* function, std::uint32_t rank, Handle out_handle,
                      Handle self_handle, Handle a_handle, Handle b_handle, double beta,
                      double alpha) noexcept {
    Body &out = *Body::of(out_handle), &a = *Body::of(a_handle), &b = *Body::of(b_handle);
    if (const char* wrong = refused(rank, out, a, b)) [[unlikely]]
      return NativeFunctions::fail(function, wrong);
    if (out.count == 0) return 0;

    const DType dtype = computed_as(out.dtype);
    Temporary a_room, b_room, out_room;
    // oneDNN can repeat one of the two for the batch, but not both.
    const bool repeated = rank == 3 && a.strides()[0] == 0 && b.strides()[0] == 0;
    const Body* left = repeated ? a_room.copy(a, dtype) : plain(a, dtype, a_room);
    const Body* right = plain(b, dtype, b_room);
    const bool in_place = out.dtype == dtype && Matrix{out}.is_plain();
    Body* target = in_place ? &out : out_room.make(dtype, out.sizes(), rank);
    if (left == nullptr || right == nullptr || target == nullptr) {
      return NativeFunctions::fail(function, Body::no_memory);
    }
    const Body* bias = nullptr;
    if (beta != 0) {
      const Body& self = *Body::of(self_handle);
      const bool is_row = self.storage != target->storage && self.rank == 1 && self.row_major &&
                          self.dtype == dtype && self.sizes()[0] == out.sizes()[rank - 1];
      if (is_row && beta == 1 && alpha == 1 && is_primitive(*target, *right)) {
        bias = &self;
        beta = 0;
      } else if (const char* wrong = copy_overlapping(*target, self)) {
        return NativeFunctions::fail(function, wrong);
      }
    }
    if (const Code failed = compute(function, *target, *left, *right, bias, beta, alpha)) {
      return failed;
    }
    if (target != &out) copy_elements(out, *target);
    return 0;
  }

 private:
  static Code linear(const char* name, const Body& given, const Body& weight, const Handle* bias,
                     const Added& added, const Fused& fused, Handle* out) noexcept {
    const Body* b = bias != nullptr ? Body::of(*bias) : nullptr;
    if (b != nullptr && b->storage == nullptr) b = nullptr;
    const DType dtype = computed_as(given.dtype);
    const dnnl_data_type_t type = type_of(dtype);
    if (type == dnnl_data_type_undef || weight.dtype != given.dtype ||
        (b != nullptr && b->dtype != given.dtype)) {
      return NativeFunctions::fail(name, "not for these dtypes on oneDNN");
    }
    const std::uint32_t rank = given.rank;
    if (rank == 0 || weight.rank != 2 || given.sizes()[rank - 1] != weight.sizes()[1] ||
        (b != nullptr && (b->rank != 1 || b->sizes()[0] != weight.sizes()[0]))) {
      return NativeFunctions::fail(name, "the sizes do not match");
    }
    std::int64_t sizes[Tensor::max_rank], rows = 1;
    std::copy_n(given.sizes(), rank, sizes);
    for (std::uint32_t d = 0; d + 1 < rank; ++d) rows *= sizes[d];
    const std::int64_t results = sizes[rank - 1] = weight.sizes()[0];
    Temporary x_room, weight_room, bias_room, target_room;
    const Body *x = &given, *by = &weight;
    if (weight.sizes()[1] == 0) {  // as if it had one channel of zeros
      x = zeros(x_room, dtype, rows);
      by = zeros(weight_room, dtype, results);
    } else {
      if (!x->row_major || x->dtype != dtype) x = x_room.copy(given, dtype);
      by = plain(weight, dtype, weight_room);
    }
    if (b != nullptr && (!b->row_major || b->dtype != dtype)) {
      b = bias_room.copy(*b, dtype);
      if (b == nullptr) by = nullptr;
    }
    if (x == nullptr || by == nullptr) return NativeFunctions::fail(name, Body::no_memory);
    const std::int64_t channels = by->sizes()[1];
    const char* reason = nullptr;
    Body* result = Body::make_result(rank, sizes, nullptr, given.dtype, reason);
    if (result == nullptr) return NativeFunctions::fail(name, reason);
    Body* target = dtype == result->dtype ? result : target_room.make(dtype, sizes, rank);
    reason = target == nullptr         ? Body::no_memory
             : added.tensor != nullptr ? copy_elements(*target, *added.tensor)
                                       : nullptr;
    Code failed = reason != nullptr ? NativeFunctions::fail(name, reason) : 0;
    const bool plain_row = rows == 1 && dtype == DType::float32 && added.tensor == nullptr &&
                           fused.algorithm == dnnl_alg_kind_undef && !fused.clipped;
    if (failed == 0 && result->count != 0 && plain_row) {
      failed = row_product(name, *x, *by, b, *target);
    } else if (failed == 0 && result->count != 0) {
      Shape transposed{*by};
      std::swap(transposed.sizes[0], transposed.sizes[1]);
      std::swap(transposed.strides[0], transposed.strides[1]);
      transposed.normalise();
      failed = Product{.type = type_of(dtype),
                       .a = Shape::matrix(rows, channels),
                       .b = transposed,
                       .out = Shape::matrix(rows, results),
                       .left = x->data,
                       .right = *by,
                       .result = target->data,
                       .bias = b != nullptr ? b->data : nullptr,
                       .sum = added.tensor != nullptr ? added.scale : 0,
                       .fused = fused}
                   .run(name);
    }
    if (failed == 0 && target != result) copy_elements(*result, *target);
    if (failed != 0) {
      result->drop();
      return failed;
    }
    *out = Body::handle(result);
    return 0;
  }

  /// out = x @ weight.T + bias, for one row: faster than a primitive.
  static Code row_product(const char* name, const Body& x, const Body& weight, const Body* bias,
                          Body& out) noexcept {
    if (bias != nullptr) std::memcpy(out.data, bias->data, out.count * sizeof(float));
    const dnnl_status_t status =
        sgemm(Matrix::row(out.data, weight.sizes()[0]), Matrix::row(x.data, weight.sizes()[1]),
              Matrix{weight}.transposed(), bias != nullptr ? 1 : 0, 1);
    return status == dnnl_success ? 0 : NativeFunctions::fail(name, reason_of(status));
  }

  /// [rows, 1]; null if memory runs out.
  static const Body* zeros(Temporary& room, DType dtype, std::int64_t rows) noexcept {
    const std::int64_t sizes[] = {rows, 1};
    Body* made = room.make(dtype, sizes, 2);
    if (made != nullptr) NativeFunctions::zero_(Body::handle(made));
    return made;
  }

  static const char* refused(std::uint32_t rank, const Body& out, const Body& a,
                             const Body& b) noexcept {
    if (out.rank != rank || a.rank != rank || b.rank != rank) {
      return "the tensors have another number of dimensions";
    }
    const std::int64_t *o = out.sizes() + rank - 2, *l = a.sizes() + rank - 2,
                       *r = b.sizes() + rank - 2;
    const bool batches = rank == 2 || (out.sizes()[0] == a.sizes()[0] && a.sizes()[0] == r[-1]);
    if (!batches || o[0] != l[0] || o[1] != r[1] || l[1] != r[0]) return "the sizes do not match";
    return out.dtype == a.dtype && a.dtype == b.dtype ? nullptr : "the dtypes differ";
  }

  static const Body* plain(const Body& tensor, DType dtype, Temporary& room) noexcept {
    // Overlapping matrices are not a batch for oneDNN, but it can repeat one matrix.
    const std::uint32_t first = tensor.rank == 3 && tensor.strides()[0] == 0 ? 1 : 0;
    const bool fits =
        tensor.dtype == dtype && Matrix{tensor}.is_plain() && !overlaps_itself(tensor, first);
    return fits ? &tensor : room.copy(tensor, dtype);
  }

  /// Whether a primitive computes the product of two matrices, rather than sgemm, which is faster
  /// for single rows and channels. This does not depend on whether weights may be packed, so that
  /// results do not.
  static bool is_primitive(const Body& out, const Body& b) noexcept {
    return out.rank == 2 && out.sizes()[0] > 1 && b.sizes()[0] > 1 &&
           type_of(out.dtype) != dnnl_data_type_undef && Matrix{out}.has_whole_rows();
  }

  /// out = bias + beta * out + alpha * a @ b
  /// @param bias null or a row, where a primitive computes the product
  static Code compute(const char* function, Body& out, const Body& a, const Body& b,
                      const Body* bias, double beta, double alpha) noexcept {
    const std::int64_t batches = out.rank == 3 ? out.sizes()[0] : 1;
    if (a.sizes()[a.rank - 1] == 0 && beta == 0) return NativeFunctions::zero_(Body::handle(&out));
    if (a.sizes()[a.rank - 1] == 0) {
      scale(out, beta);
      return 0;
    }
    // Scaling before adding makes oneDNN's primitives slow without AVX-512.
    const bool by_primitive = is_primitive(out, b) && (alpha == 1 || beta == 0);
    if (out.dtype == DType::float32 && batches == 1 && !by_primitive) {
      const dnnl_status_t status = sgemm(Matrix{out}, Matrix{a}, Matrix{b},
                                         static_cast<float>(beta), static_cast<float>(alpha));
      return status == dnnl_success ? 0 : NativeFunctions::fail(function, reason_of(status));
    }
    switch (out.dtype) {
      case DType::float64:
        return each<double>(out, a, b, beta, alpha);
      case DType::int64:
        return each<std::uint64_t>(out, a, b, beta, alpha);
      case DType::int32:
        return each<std::uint32_t>(out, a, b, beta, alpha);
      case DType::int16:
        return each<std::uint16_t>(out, a, b, beta, alpha);
      case DType::int8:
      case DType::uint8:
        return each<std::uint8_t>(out, a, b, beta, alpha);
      case DType::complex64:
        return each<std::complex<float>>(out, a, b, beta, alpha);
      case DType::complex128:
        return each<std::complex<double>>(out, a, b, beta, alpha);
      default:
        return primitive(function, out, a, b, bias, beta, alpha);
    }
  }

  static void scale(Body& out, double factor) noexcept {
    if (factor == 1) return;
    walk_rows(out, [&](std::byte* at, std::int64_t count, std::int64_t step) {
      for (; count > 0; --count, at += step) {
        const Number number = read_number(out.dtype, at);
        Number scaled = number_of(factor * to<double>(number));
        scaled.imaginary = factor * number.imaginary;
        write_number(out.dtype, at, scaled);
      }
    });
  }

  template <class T>
  static Code each(Body& out, const Body& a, const Body& b, double beta, double alpha) noexcept {
    Matrix o{out}, l{a}, r{b};
    const auto step = [](const Body& tensor) {
      return tensor.rank == 3 ? tensor.strides()[0] * static_cast<std::int64_t>(sizeof(T)) : 0;
    };
    for (std::int64_t i = out.rank == 3 ? out.sizes()[0] : 1; i > 0; --i) {
      plain_product<T>(o, l, r, beta, alpha);
      o.data += step(out);
      l.data += step(a);
      r.data += step(b);
    }
    return 0;
  }

  static Code primitive(const char* function, const Body& out, const Body& a, const Body& b,
                        const Body* bias, double beta, double alpha) noexcept {
    const dnnl_data_type_t type = type_of(out.dtype);
    if (type == dnnl_data_type_undef) {
      return NativeFunctions::fail(function, "not for this dtype on oneDNN");
    }
    return Product{.type = type,
                   .a = shape_of(a),
                   .b = shape_of(b),
                   .out = Shape{out},
                   .left = a.data,
                   .right = b,
                   .result = out.data,
                   .bias = bias != nullptr ? bias->data : nullptr,
                   .alpha = alpha,
                   .sum = beta}
        .run(function);
  }

  /// A matrix that is repeated for the whole batch counts as one.
  static Shape shape_of(const Body& tensor) noexcept {
    Shape shape{tensor};
    if (shape.rank == 3 && shape.strides[0] == 0) shape.sizes[0] = 1;
    shape.normalise();
    return shape;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
