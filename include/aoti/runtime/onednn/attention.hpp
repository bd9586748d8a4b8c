// SPDX-License-Identifier: BSD-3-Clause
// Scaled dot-product attention, on oneDNN.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "aoti/runtime/onednn/attention_rows.hpp"
#include "aoti/runtime/onednn/plans.hpp"
#include "aoti/runtime/onednn/primitives.hpp"
#include "aoti/runtime/onednn/product.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

/// For float32; narrower types are converted, and float64 runs in plain loops. Products and softmax
/// are oneDNN's, for as many queries at once as have their scores in a few megabytes.
struct Attention {
  using Handle = AtenTensorHandle;
  using Code = AOTITorchError;
  using Body = TensorBody;

  /// query [batch, heads, queries, size]; key and value [batch, h, keys, size], where h divides
  /// heads, and each of their heads serves heads / h consecutive ones of the query.
  /// @param mask null, or added to the scores: with two or four dimensions, of which those of size
  ///        1 broadcast; of the query's type, or float32 for narrower ones
  /// @param scale null for 1 / sqrt(size)
  /// @param out the size of the query, with its strides if it is dense
  /// @param logsumexp [batch, heads, queries] with strides {queries * heads, 1, heads}, float32 or,
  ///        for float64, float64; 0 for a query that may attend to no key, as are its results
  static Code flash(Handle query, Handle key, Handle value, double dropout, std::int32_t causal,
                    Handle* mask, double* scale, Handle* out, Handle* logsumexp) noexcept {
    constexpr const char* name =
        abi::imported::cpu__scaled_dot_product_flash_attention_for_cpu::symbol;
    const Body &q = *Body::of(query), &k = *Body::of(key), &v = *Body::of(value);
    const Body* m = mask != nullptr ? Body::of(*mask) : nullptr;
    if (m != nullptr && m->storage == nullptr) m = nullptr;
    if (const char* wrong = refused(q, k, v, m, dropout)) return NativeFunctions::fail(name, wrong);

    const DType dtype = q.dtype == DType::float64 ? q.dtype : DType::float32;
    Temporary rooms[5];
    Call call{lean(q, dtype, rooms[0]), lean(k, dtype, rooms[1]), lean(v, dtype, rooms[2]),
              m == nullptr || m->dtype == dtype ? m : rooms[3].copy(*m, dtype), causal != 0};
    const char* reason = Body::no_memory;
    if (call.query == nullptr || call.key == nullptr || call.value == nullptr ||
        (m != nullptr && call.mask == nullptr)) {
      return NativeFunctions::fail(name, reason);
    }
    const std::int64_t *sizes = q.sizes(), batch = sizes[0], heads = sizes[1], queries = sizes[2];
    call.scale = scale != nullptr ? *scale : 1 / std::sqrt(static_cast<double>(sizes[3]));
    std::int64_t strides[4];
    dense_strides(q, strides);
    if (std::equal(strides, strides + 4, q.strides(),
                   [d = 0, sizes](auto x, auto y) mutable { return sizes[d++] <= 1 || x == y; })) {
      std::copy_n(q.strides(), 4, strides);
    }
    // For a query with overlapping elements, torch's strides are row-major.
    bool repeats = false;
    for (std::uint32_t d = 0; d < 4; ++d) repeats |= q.strides()[d] == 0 && sizes[d] != 1;
    Body* result = Body::make_result(4, sizes, repeats ? nullptr : strides, q.dtype, reason);
    const std::int64_t apart[] = {queries * heads, 1, heads};
    call.logsumexp = Body::make_owning(3, sizes, apart, dtype, reason);
    call.out = result == nullptr || q.dtype == dtype
                   ? result
                   : rooms[4].make(dtype, sizes, 4, result->strides());
    if (call.out == nullptr || call.logsumexp == nullptr) {
      reason = Body::no_memory;
    } else if (q.count == 0) {
      reason = call.logsumexp->count != 0 ? "heads have no elements" : nullptr;
    } else {
      reason = dtype == DType::float64 ? run_plainly(call) : run_blocks(call, batch);
      if (reason == nullptr && call.out != result) reason = copy_elements(*result, *call.out);
    }
    if (reason != nullptr) {
      if (result != nullptr) result->drop();
      if (call.logsumexp != nullptr) call.logsumexp->drop();
      return NativeFunctions::fail(name, reason);
    }
    *out = Body::handle(result);
    *logsumexp = Body::handle(call.logsumexp);
    return 0;
  }

 private:
  using Rows = AttentionRows;
  using Call = Rows::Call;
  using Block = Rows::Block;

  static constexpr std::int64_t target_bytes = 2 << 20;

  static const char* refused(const Body& q, const Body& k, const Body& v, const Body* mask,
                             double dropout) noexcept {
    if (q.dtype != DType::float64 && type_of(q.dtype) == dnnl_data_type_undef) {
      return "not for this dtype on oneDNN";
    }
    const bool narrow = q.dtype != DType::float64;
    if (k.dtype != q.dtype || v.dtype != q.dtype ||
        (mask != nullptr && mask->dtype != q.dtype && !(narrow && mask->dtype == DType::float32))) {
      return "the dtypes differ";
    }
    if (dropout != 0) return "dropout is not supported";
    if (q.rank != 4 || k.rank != 4 || v.rank != 4) return "the tensors do not have four dimensions";
    const std::int64_t *a = q.sizes(), *b = k.sizes(), *c = v.sizes();
    if (!std::equal(b, b + 4, c) || a[0] != b[0] || a[3] != b[3] || b[1] == 0 || a[1] % b[1] != 0 ||
        b[2] == 0) {
      return "the sizes do not match";
    }
    if (mask == nullptr) return nullptr;
    if (mask->rank != 2 && mask->rank != 4) return "the mask does not have two or four dimensions";
    const std::int64_t scores[] = {a[0], a[1], a[2], b[2]};
    for (std::uint32_t d = 0; d < mask->rank; ++d) {
      const std::int64_t size = mask->sizes()[mask->rank - 1 - d];
      if (size != 1 && size != scores[3 - d]) return "the mask's sizes do not match";
    }
    return nullptr;
  }

  /// The tensor, or a copy, in a type, with the elements of a row contiguous and none overlapping.
  static const Body* lean(const Body& tensor, DType dtype, Temporary& room) noexcept {
    bool fits = tensor.dtype == dtype && (tensor.strides()[3] == 1 || tensor.sizes()[3] == 1);
    for (std::uint32_t d = 0; d < 4; ++d) {
      fits &= tensor.strides()[d] != 0 || tensor.sizes()[d] == 1;
    }
    return fits ? &tensor : room.copy(tensor, dtype);
  }

  /// For float64, without oneDNN.
  static const char* run_plainly(const Call& call) noexcept {
    const Body &q = *call.query, &k = *call.key, &v = *call.value, &out = *call.out;
    const std::int64_t shared = call.heads() / k.sizes()[1], size = q.sizes()[3],
                       keys = call.keys();
    Temporary room;
    const Body* row = room.make(DType::float64, &keys, 1);
    if (row == nullptr) return Body::no_memory;
    const auto at = [](const Body& tensor, const std::int64_t* index) {
      return reinterpret_cast<double*>(tensor.data) + offset_of(index, tensor.strides(), 3);
    };
    for_each_index(q.sizes(), 3, [&](const std::int64_t* index) {
      auto* const shares = reinterpret_cast<double*>(row->data);
      const double* const query = at(q, index);
      const Body* mask = call.mask;
      const double* added =
          mask != nullptr ? Rows::mask_row<double>(*mask, index[0], index[1], index[2]) : nullptr;
      const std::int64_t seen = call.causal ? std::min(index[2] + 1, keys) : keys;
      std::int64_t place[] = {index[0], index[1] / shared, 0};
      double most = Rows::nothing, sum = 0;
      for (std::int64_t& key = place[2]; key < seen; ++key) {
        const double* const other = at(k, place);
        double score = 0;
        for (std::int64_t c = 0; c < size; ++c) score += query[c] * other[c];
        score *= call.scale;
        if (mask != nullptr) score += added[key * Rows::mask_step(*mask)];
        shares[key] = score;
        if (!(score <= most)) most = score;
      }
      for (std::int64_t key = 0; key < seen; ++key) {
        sum += shares[key] = most == Rows::nothing ? 0 : std::exp(shares[key] - most);
      }
      double* const result = at(out, index);
      const std::int64_t step = out.strides()[3];
      for (std::int64_t c = 0; c < size; ++c) result[c * step] = 0;
      place[2] = 0;
      for (std::int64_t& key = place[2]; key < seen && sum != 0; ++key) {
        const double* const other = at(v, place);
        for (std::int64_t c = 0; c < size; ++c) result[c * step] += shares[key] / sum * other[c];
      }
      *at(*call.logsumexp, index) = sum == 0 ? 0 : most + std::log(sum);
    });
    return nullptr;
  }

  static const char* run_blocks(const Call& call, std::int64_t batch) noexcept {
    const std::int64_t queries = call.query->sizes()[2];
    const std::int64_t row = call.heads() * call.keys() * std::int64_t{sizeof(float)};
    const std::int64_t batches = std::clamp<std::int64_t>(
        target_bytes / (row * std::min<std::int64_t>(queries, 32)), 1, batch);
    std::int64_t at_once = std::clamp<std::int64_t>(target_bytes / (row * batches),
                                                    std::min<std::int64_t>(queries, 32), queries);
    if (at_once < queries) at_once = std::max<std::int64_t>(at_once / 16 * 16, 1);
    const std::int64_t rows = batches * call.heads() * at_once;
    const auto score_bytes = static_cast<std::size_t>(row * batches * at_once);
    detail::Block* memory = Pool::allocate(Pool::alignment + score_bytes +
                                           static_cast<std::size_t>(rows) * sizeof(std::int32_t));
    if (memory == nullptr) return Body::no_memory;
    auto* const room = reinterpret_cast<std::byte*>(memory) + Pool::alignment;
    const char* reason = nullptr;
    for (std::int64_t b = 0; b < batch && reason == nullptr; b += batches) {
      for (std::int64_t q = 0; q < queries && reason == nullptr; q += at_once) {
        const std::int64_t end = std::min(q + at_once, queries);
        reason = run_block(call, {b, std::min(batches, batch - b), q, end - q,
                                  call.causal ? std::min(end, call.keys()) : call.keys(),
                                  reinterpret_cast<float*>(room),
                                  reinterpret_cast<std::int32_t*>(room + score_bytes)});
      }
    }
    Pool::free(memory);
    return reason;
  }

  static const char* run_block(const Call& call, const Block& block) noexcept {
    const Body &q = *call.query, &k = *call.key, &v = *call.value, &out = *call.out;
    const auto from = [&](const Body& tensor, std::int64_t row) {
      return tensor.data + (block.first_batch * tensor.strides()[0] + row * tensor.strides()[2]) *
                               std::int64_t{sizeof(float)};
    };
    const std::int64_t size = q.sizes()[3], heads = k.sizes()[1], keys = block.keys;
    const std::int64_t shared = call.heads() / heads, batches = block.batches;
    const std::int64_t rows = batches * call.heads() * block.queries;
    Signature signature{'a'};
    for (const std::int64_t number : {batches, block.queries, heads, shared, keys, size}) {
      signature.add(number);
    }
    signature.add(call.scale);
    for (const Body* tensor : {&q, &k, &v, &out}) signature.add(tensor->strides(), 4);

    const char* reason = nullptr;
    const auto part = [&](std::int64_t number, auto build) {
      Signature of_part = signature;
      of_part.add(number);
      return Plans::find(of_part, reason, build);
    };
    // [batches, heads of keys, heads that share them, queries or keys, …]
    const auto shape_of = [&](const Body& tensor, std::int64_t repeated, std::int64_t count) {
      const std::int64_t* strides = tensor.strides();
      Shape shape;
      shape.rank = 5;
      const std::int64_t sizes[] = {batches, heads, repeated, count, size};
      const std::int64_t apart[] = {strides[0], repeated * strides[1], strides[1], strides[2],
                                    strides[3]};
      std::copy_n(sizes, 5, shape.sizes);
      std::copy_n(apart, 5, shape.strides);
      shape.normalise();
      return shape;
    };
    const auto scores_shape = [&] {
      Shape shape;
      shape.rank = 5;
      const std::int64_t sizes[] = {batches, heads, shared, block.queries, keys};
      std::copy_n(sizes, 5, shape.sizes);
      shape.row_major();
      return shape;
    };

    Plan* plan = part(0, [&](Plan& made) {
      Shape transposed = shape_of(k, 1, keys);
      std::swap(transposed.sizes[3], transposed.sizes[4]);
      std::swap(transposed.strides[3], transposed.strides[4]);
      Attributes attributes;
      attributes.eltwise(dnnl_eltwise_linear, static_cast<float>(call.scale), 0);
      add_product(made, shape_of(q, shared, block.queries), transposed, scores_shape(), attributes);
    });
    if (plan == nullptr) return reason;
    reason = plan->run(Plans::stream(), {from(q, block.first_query), from(k, 0), block.scores});
    if (reason != nullptr) return reason;

    Rows::prepare_rows(call, block);

    plan = part(1, [&](Plan& made) {
      const Layout layout{dnnl_f32, Shape::matrix(rows, keys)};
      const int scores = made.given(layout.get());
      Attributes attributes;
      dnnl_primitive_desc_t description = nullptr;
      const dnnl_status_t status = describe_softmax(&description, layout.get(), attributes.get());
      made.add(description, status, {{DNNL_ARG_SRC, scores}, {DNNL_ARG_DST, scores}});
    });
    if (plan == nullptr) return reason;
    reason = plan->run(Plans::stream(), {block.scores});
    if (reason != nullptr) return reason;

    Rows::finish_rows(call, block);

    plan = part(2, [&](Plan& made) {
      Attributes attributes;
      add_product(made, scores_shape(), shape_of(v, 1, keys), shape_of(out, shared, block.queries),
                  attributes);
    });
    if (plan == nullptr) return reason;
    return plan->run(Plans::stream(), {block.scores, from(v, 0), from(out, block.first_query)});
  }

  static void add_product(Plan& plan, const Shape& a, const Shape& b, const Shape& result,
                          Attributes& attributes) noexcept {
    onednn::add_product(plan, dnnl_f32, a, b, false, result, false, attributes,
                        [&](Description target) { return plan.given(target); });
  }

  static dnnl_status_t describe_softmax(dnnl_primitive_desc_t* description, Description rows,
                                        const_dnnl_primitive_attr_t attributes) noexcept {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_softmax_forward_primitive_desc_create(description, engine(), dnnl_forward_inference,
                                                      dnnl_softmax_accurate, rows, rows, 1,
                                                      attributes);
#else
    dnnl_softmax_desc_t operation;
    const dnnl_status_t status =
        dnnl_softmax_forward_desc_init(&operation, dnnl_forward_inference, rows, 1);
    if (status != dnnl_success) return status;
    return dnnl_primitive_desc_create(description, &operation, attributes, engine(), nullptr);
#endif
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
