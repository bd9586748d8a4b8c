// SPDX-License-Identifier: BSD-3-Clause
// The rows of an attention's scores, one for each query: what happens to them before and after
// softmax.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "aoti/runtime/native/tensor_body.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

struct AttentionRows {
  using Body = TensorBody;

  struct Call {
    const Body *query, *key, *value, *mask;
    bool causal;
    double scale = 0;
    Body *out = nullptr, *logsumexp = nullptr;

    std::int64_t keys() const noexcept { return key->sizes()[2]; }
    std::int64_t heads() const noexcept { return query->sizes()[1]; }
  };
  /// Some batches and some queries of each, with their scores.
  struct Block {
    std::int64_t first_batch, batches, first_query, queries;
    std::int64_t keys;         ///< The queries may attend only to the first ones, this many.
    float* scores;             ///< [batches, heads, queries, keys]
    std::int32_t* references;  ///< For each row, the key that serves to find its sum; -1 for none.
  };

  static constexpr float nothing = -std::numeric_limits<float>::infinity();

  /// The step from one key's element of the mask to the next.
  static std::int64_t mask_step(const Body& mask) noexcept {
    return mask.sizes()[mask.rank - 1] != 1 ? mask.strides()[mask.rank - 1] : 0;
  }
  template <class T>
  static const T* mask_row(const Body& mask, std::int64_t batch, std::int64_t head,
                           std::int64_t query) noexcept {
    const std::int64_t index[] = {batch, head, query};
    const std::int64_t *sizes = mask.sizes(), *strides = mask.strides();
    const std::uint32_t added = 4 - mask.rank;
    std::int64_t offset = 0;
    for (std::uint32_t d = 0; d + 1 < mask.rank; ++d) {
      if (sizes[d] != 1) offset += index[d + added] * strides[d];
    }
    return reinterpret_cast<const T*>(mask.data) + offset;
  }

  /// Adds the mask, and saves one score of each row, the first that is not masked, from which
  /// finish_rows() computes the sum.
  static void prepare_rows(const Call& call, const Block& block) noexcept {
    const std::int64_t keys = block.keys;
    const Body* mask = call.mask;
    const std::int64_t step = mask != nullptr ? mask_step(*mask) : 0;
    for_rows(call, block,
             [&](std::int64_t row, std::int64_t b, std::int64_t h, std::int64_t q, float* scores) {
               if (mask != nullptr) add(scores, mask_row<float>(*mask, b, h, q), step, keys);
               if (call.causal && q + 1 < keys) std::fill(scores + q + 1, scores + keys, nothing);
               const float *const begin = scores, *const end = scores + keys;
               const float* first = std::find_if(begin, end, [](float x) { return !(x < -1e30f); });
               if (first == end)
                 first = std::find_if(begin, end, [](float x) { return x != nothing; });
               block.references[row] =
                   first == end ? -1
                                : static_cast<std::int32_t>(std::min<std::int64_t>(
                                      first - begin, std::numeric_limits<std::int32_t>::max()));
               sum_of(call, b, h, q) = first == end ? 0 : *first;
             });
  }

  /// Each row now holds its softmax, p = exp(score - logsumexp).
  static void finish_rows(const Call& call, const Block& block) noexcept {
    const std::int64_t keys = block.keys;
    for_rows(call, block,
             [&](std::int64_t row, std::int64_t b, std::int64_t h, std::int64_t q, float* shares) {
               float& sum = sum_of(call, b, h, q);
               std::int64_t key = block.references[row];
               if (key < 0) {
                 std::fill(shares, shares + keys, 0.0f);
                 return;
               }
               if (shares[key] <
                   1e-30f) {  // too small to divide by: uses the largest, whose score is lost
                 key = std::max_element(shares, shares + keys) - shares;
                 sum = score(call, b, h, q, key);
               }
               sum -= std::log(shares[key]);
             });
  }

 private:
  /// Calls `each(row, batch, head, query, scores)` for each row of scores.
  template <class Each>
  static void for_rows(const Call& call, const Block& block, Each each) noexcept {
    std::int64_t row = 0;
    for (std::int64_t b = block.first_batch; b < block.first_batch + block.batches; ++b) {
      for (std::int64_t h = 0; h < call.heads(); ++h) {
        for (std::int64_t q = block.first_query; q < block.first_query + block.queries; ++q) {
          each(row, b, h, q, block.scores + row * block.keys);
          ++row;
        }
      }
    }
  }

  static void add(float* to, const float* from, std::int64_t step, std::int64_t count) noexcept {
    typedef float Lanes __attribute__((vector_size(32)));
    constexpr std::int64_t width = 8;
    std::int64_t i = 0;
    if (step == 1) {
      for (; i + width <= count; i += width) {
        Lanes a, b;
        std::memcpy(&a, to + i, sizeof a);
        std::memcpy(&b, from + i, sizeof b);
        a += b;
        std::memcpy(to + i, &a, sizeof a);
      }
    }
    for (; i < count; ++i) to[i] += from[i * step];
  }

  static float score(const Call& call, std::int64_t b, std::int64_t h, std::int64_t q,
                     std::int64_t key) noexcept {
    const Body &a = *call.query, &c = *call.key;
    const std::int64_t shared = call.heads() / c.sizes()[1];
    const auto row = [](const Body& tensor, std::int64_t i, std::int64_t j, std::int64_t k) {
      const std::int64_t* strides = tensor.strides();
      return reinterpret_cast<const float*>(tensor.data) + i * strides[0] + j * strides[1] +
             k * strides[2];
    };
    const float *left = row(a, b, h, q), *right = row(c, b, h / shared, key);
    double sum = 0;
    for (std::int64_t i = 0; i < a.sizes()[3]; ++i) sum += double{left[i]} * double{right[i]};
    sum *= call.scale;
    if (const Body* mask = call.mask) {
      sum += double{mask_row<float>(*mask, b, h, q)[key * mask_step(*mask)]};
    }
    return static_cast<float>(sum);
  }

  static float& sum_of(const Call& call, std::int64_t b, std::int64_t h, std::int64_t q) noexcept {
    const std::int64_t* strides = call.logsumexp->strides();
    return reinterpret_cast<float*>(
        call.logsumexp->data)[b * strides[0] + h * strides[1] + q * strides[2]];
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
