// SPDX-License-Identifier: BSD-3-Clause
// Distances between rows, and sums of products, in plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "aoti/runtime/native/operands.hpp"

namespace aoti::inline AOTI_ABI::detail::plain {

struct Distances {
  /// The p-norm distance of each row of one tensor from each row of the other; batches broadcast.
  static const char* cdist(Body& a, Body& b, double p, const std::int64_t*, Handle* out) noexcept {
    if (!is_floating(a.dtype) || a.dtype != b.dtype) return not_for_dtype;
    if (a.rank < 2 || b.rank < 2) return sizes_differ;
    if (!(p >= 0)) return "the norm is negative";
    const std::int64_t width = a.sizes()[a.rank - 1];
    if (b.sizes()[b.rank - 1] != width) return sizes_differ;
    // Only the batches' strides.
    const std::uint32_t rank = std::max(a.rank, b.rank);
    std::int64_t sizes[Body::max_rank] = {}, wide[2][Body::max_rank] = {};
    for (std::uint32_t i = 0; i < rank - 2u; ++i) {
      const auto size = [&](const Body& tensor) {
        return i + tensor.rank < rank ? 1 : tensor.sizes()[i + tensor.rank - rank];
      };
      const std::int64_t first = size(a), second = size(b);
      if (first != second && first != 1 && second != 1) return sizes_differ;
      sizes[i] = first == 1 ? second : first;
    }
    const std::int64_t rows[] = {a.sizes()[a.rank - 2], b.sizes()[b.rank - 2]};
    Temporary rooms[2];
    Elements read[2];
    const DType type = computing(a.dtype);
    for (int i = 0; i < 2; ++i) {
      for (std::uint32_t d = 0; d + 2 < rank; ++d) wide[i][d] = sizes[d];
      wide[i][rank - 2] = rows[i];
      wide[i][rank - 1] = width;
      Body* all = rooms[i].make(type, wide[i], rank);
      if (all == nullptr) return Body::no_memory;
      if (const char* wrong = copy_elements(*all, i == 0 ? a : b)) return wrong;
      if (const char* wrong = read[i].read(*all)) return wrong;
    }
    sizes[rank - 2] = rows[0];
    sizes[rank - 1] = rows[1];
    Output result;
    Target to;
    if (const char* wrong = result.make(a.dtype, sizes, rank)) return wrong;
    if (const char* wrong = to.begin(*result, type)) return wrong;
    with_floating(type, [&]<class T>(T) {
      for (std::int64_t i = 0; i < result->count; ++i) {
        const std::int64_t row = i / rows[1], batch = row / rows[0];
        to.data<T>()[i] = distance(read[0].data<T>() + row * width,
                                   read[1].data<T>() + (batch * rows[1] + i % rows[1]) * width,
                                   width, static_cast<T>(p));
      }
    });
    if (const char* wrong = to.finish()) return wrong;
    result.give(out);
    return nullptr;
  }

  /// The distance of each row from each row after it.
  static const char* pdist(Body& self, double p, Handle* out) noexcept {
    if (!is_floating(self.dtype)) return not_for_dtype;
    if (self.rank != 2) return sizes_differ;
    if (!(p >= 0)) return "the norm is negative";
    const std::int64_t rows = self.sizes()[0], width = self.sizes()[1];
    const std::int64_t count = rows > 1 ? rows * (rows - 1) / 2 : 0;
    Elements from;
    Target to;
    Output result;
    const DType type = computing(self.dtype);
    if (const char* wrong = from.read(self, type)) return wrong;
    if (const char* wrong = result.make(self.dtype, &count, 1)) return wrong;
    if (const char* wrong = to.begin(*result, type)) return wrong;
    with_floating(type, [&]<class T>(T) {
      T* next = to.data<T>();
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t k = i + 1; k < rows; ++k) {
          *next++ = distance(from.data<T>() + i * width, from.data<T>() + k * width, width,
                             static_cast<T>(p));
        }
      }
    });
    if (const char* wrong = to.finish()) return wrong;
    result.give(out);
    return nullptr;
  }

  /// The sums, over some dimensions, of the products of three tensors' elements.
  /// @param added1 for each tensor, the dimensions that it lacks and is broadcast along
  static const char* trilinear(Body& one, Body& two, Body& three, const std::int64_t* added1,
                               std::int64_t count1, const std::int64_t* added2, std::int64_t count2,
                               const std::int64_t* added3, std::int64_t count3,
                               const std::int64_t* summed, std::int64_t sums, std::int64_t,
                               Handle* out) noexcept {
    if (!is_floating(one.dtype) || two.dtype != one.dtype || three.dtype != one.dtype) {
      return not_for_dtype;
    }
    const std::int64_t rank = one.rank + count1;
    if (rank > static_cast<std::int64_t>(Body::max_rank)) return "there are too many dimensions";
    const Body* const tensors[] = {&one, &two, &three};
    const std::int64_t* const added[] = {added1, added2, added3};
    const std::int64_t counts[] = {count1, count2, count3};
    Elements read[3];
    const DType type = computing(one.dtype);
    std::int64_t sizes[Body::max_rank] = {}, steps[3][Body::max_rank] = {};
    for (std::int64_t d = 0; d < rank; ++d) sizes[d] = 1;
    for (int i = 0; i < 3; ++i) {
      if (tensors[i]->rank + counts[i] != rank) return sizes_differ;
      if (const char* wrong = read[i].read(*tensors[i], type)) return wrong;
      for (std::int64_t d = 0, mine = 0; d < rank; ++d) {
        if (contains(added[i], counts[i], d, rank)) continue;
        if (mine == tensors[i]->rank) return no_dimension;
        const std::int64_t size = (*read[i]).sizes()[mine];
        if (size != 1 && sizes[d] != 1 && sizes[d] != size) return sizes_differ;
        if (size != 1) sizes[d] = size;
        steps[i][d] = size != 1 ? (*read[i]).strides()[mine] : 0;
        ++mine;
      }
    }
    // The dimensions that are kept, followed by those that are summed over.
    std::int64_t order[Body::max_rank] = {}, shape[Body::max_rank] = {};
    std::uint32_t kept = 0, all = 0;
    for (const bool inner : {false, true}) {
      for (std::int64_t d = 0; d < rank; ++d) {
        if (contains(summed, sums, d, rank) != inner) continue;
        shape[all] = sizes[d];
        order[all++] = d;
      }
      if (!inner) kept = all;
    }
    Output result;
    Target to;
    if (const char* wrong = result.make(one.dtype, shape, kept)) return wrong;
    if (const char* wrong = to.begin(*result, type)) return wrong;
    with_floating(type, [&]<class T>(T) {
      T* next = to.data<T>();
      const auto add = [&](const std::int64_t* at, std::int64_t(&offsets)[3], std::uint32_t from,
                           std::uint32_t end) {
        for (std::uint32_t d = from; d < end; ++d) {
          for (int i = 0; i < 3; ++i) offsets[i] += at[d - from] * steps[i][order[d]];
        }
      };
      for_each_index(shape, kept, [&](const std::int64_t* outer) {
        std::int64_t base[3] = {};
        add(outer, base, 0, kept);
        T sum = 0;
        for_each_index(shape + kept, all - kept, [&](const std::int64_t* inner) {
          std::int64_t at[3] = {base[0], base[1], base[2]};
          add(inner, at, kept, all);
          sum += read[0].data<T>()[at[0]] * read[1].data<T>()[at[1]] * read[2].data<T>()[at[2]];
        });
        *next++ = sum;
      });
    });
    if (const char* wrong = to.finish()) return wrong;
    result.give(out);
    return nullptr;
  }

  /// beta * self + alpha times the sum of the matrix products of a batch.
  static const char* addbmm(Body& self, Body& a, Body& b, double beta, double alpha,
                            Handle* out) noexcept {
    if (!is_real(self.dtype) || a.dtype != self.dtype || b.dtype != self.dtype)
      return not_for_dtype;
    if (a.rank != 3 || b.rank != 3 || a.sizes()[0] != b.sizes()[0] ||
        a.sizes()[2] != b.sizes()[1]) {
      return sizes_differ;
    }
    const std::int64_t batch = a.sizes()[0], rows = a.sizes()[1], inner = a.sizes()[2],
                       columns = b.sizes()[2], sizes[] = {rows, columns};
    Elements left, right;
    Target to;
    Output result;
    const DType type = computing(self.dtype);
    if (const char* wrong = left.read(a, type)) return wrong;
    if (const char* wrong = right.read(b, type)) return wrong;
    if (const char* wrong = result.make(self.dtype, sizes, 2)) return wrong;
    if (const char* wrong = copy_elements(*result, self)) return wrong;
    if (const char* wrong = to.begin(*result, type, true)) return wrong;
    with_real(type, [&]<class Number>(Number) {
      using T = std::conditional_t<std::is_integral_v<Number>, std::uint64_t, Number>;  // wraps
      const T scale = static_cast<T>(static_cast<Number>(alpha)),
              kept = static_cast<T>(static_cast<Number>(beta));
      for (std::int64_t i = 0; i < rows; ++i) {
        T* const row = to.data<T>() + i * columns;
        for (std::int64_t k = 0; k < columns; ++k) row[k] = beta != 0 ? row[k] * kept : T{0};
        for (std::int64_t n = 0; n < batch * inner; ++n) {
          const std::int64_t m = n / inner, j = n % inner;
          const T factor = left.data<T>()[(m * rows + i) * inner + j] * scale;
          const T* const next = right.data<T>() + n * columns;
          for (std::int64_t k = 0; k < columns; ++k) row[k] += factor * next[k];
        }
      }
    });
    if (const char* wrong = to.finish()) return wrong;
    result.give(out);
    return nullptr;
  }

  /// The product of two matrices of int8, in int32.
  static const char* int_mm_out(Body& out, Body& a, Body& b) noexcept {
    if (a.dtype != DType::int8 || b.dtype != DType::int8 || out.dtype != DType::int32) {
      return not_for_dtype;
    }
    if (a.rank != 2 || b.rank != 2 || out.rank != 2) return sizes_differ;
    const std::int64_t rows = a.sizes()[0], inner = a.sizes()[1], columns = b.sizes()[1];
    if (b.sizes()[0] != inner || out.sizes()[0] != rows || out.sizes()[1] != columns) {
      return sizes_differ;
    }
    Elements left, right;
    Target to;
    if (const char* wrong = left.read(a)) return wrong;
    if (const char* wrong = right.read(b)) return wrong;
    if (const char* wrong = to.begin(out, DType::int32)) return wrong;
    for (std::int64_t i = 0; i < rows; ++i) {
      std::uint32_t* const row = to.data<std::uint32_t>() + i * columns;
      for (std::int64_t k = 0; k < columns; ++k) row[k] = 0;
      for (std::int64_t j = 0; j < inner; ++j) {
        const std::int32_t factor = left.data<std::int8_t>()[i * inner + j];
        const std::int8_t* const next = right.data<std::int8_t>() + j * columns;
        for (std::int64_t k = 0; k < columns; ++k) {
          row[k] += static_cast<std::uint32_t>(factor * next[k]);
        }
      }
    }
    return to.finish();
  }

 private:
  static bool contains(const std::int64_t* list, std::int64_t count, std::int64_t wanted,
                       std::int64_t rank) noexcept {
    for (std::int64_t i = 0; i < count; ++i) {
      if ((list[i] < 0 ? list[i] + rank : list[i]) == wanted) return true;
    }
    return false;
  }

  template <class T> static T distance(const T* a, const T* b, std::int64_t count, T p) noexcept {
    T sum = 0;
    const auto all = [&](auto step) {
      for (std::int64_t i = 0; i < count; ++i) step(std::fabs(a[i] - b[i]));
    };
    if (p == 0) {
      all([&](T apart) { sum += apart != 0 ? T{1} : T{0}; });
    } else if (p == 1) {
      all([&](T apart) { sum += apart; });
    } else if (p == 2) {
      all([&](T apart) { sum += apart * apart; });
      sum = std::sqrt(sum);
    } else if (std::isinf(p)) {
      all([&](T apart) { sum = apart > sum || apart != apart ? apart : sum; });
    } else {
      all([&](T apart) { sum += std::pow(apart, p); });
      sum = std::pow(sum, 1 / p);
    }
    return sum;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::plain
