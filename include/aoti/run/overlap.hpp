// SPDX-License-Identifier: BSD-3-Clause
// Inputs in the same memory, of which the model writes to one: what it computes then depends on the
// order of what it does, which is not the exported program's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "aoti/run/spec.hpp"

namespace aoti::detail {

/// The bytes from the first to the last of a tensor; at null, which meets nothing, without
/// elements.
struct ByteRange {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;

  template <class Runtime> static ByteRange of(const typename Runtime::Tensor& tensor) {
    const auto sizes = Runtime::sizes(tensor), strides = Runtime::strides(tensor);
    const auto begin = reinterpret_cast<std::uintptr_t>(Runtime::data(tensor));
    std::int64_t last = 0;
    for (std::size_t d = 0; d < sizes.size(); ++d) {
      if (sizes[d] == 0) return {};
      last += (sizes[d] - 1) * strides[d];
    }
    return {begin,
            begin + static_cast<std::uintptr_t>(last + 1) * element_size(Runtime::dtype(tensor))};
  }
  bool meets(const ByteRange& other) const noexcept {
    return begin < other.end && other.begin < end;
  }
};

/// The elements of a tensor that has some, as blocks of blocks of bytes, the farthest apart first.
class ByteBlocks {
 public:
  template <class Runtime> static ByteBlocks of(const typename Runtime::Tensor& tensor) {
    const auto sizes = Runtime::sizes(tensor), strides = Runtime::strides(tensor);
    const auto element = static_cast<std::int64_t>(element_size(Runtime::dtype(tensor)));
    ByteBlocks blocks;
    for (std::size_t d = 0; d < sizes.size(); ++d) {
      if (sizes[d] == 1 || strides[d] == 0) continue;
      std::size_t at = blocks.count_++;
      for (; at > 0 && blocks.levels_[at - 1].step < strides[d] * element; --at) {
        blocks.levels_[at] = blocks.levels_[at - 1];
      }
      blocks.levels_[at] = {sizes[d], strides[d] * element, 0};
    }
    std::int64_t size = element;
    for (std::size_t i = blocks.count_ + 1; i-- > 0;) {
      if (i < blocks.count_) size += (blocks.levels_[i].count - 1) * blocks.levels_[i].step;
      blocks.levels_[i].size = size;
    }
    return blocks;
  }

  /// Whether a byte is of both, where this one's first is `distance` behind the other's.
  bool meet(const ByteBlocks& other, std::int64_t distance) const {
    return meet(0, other, 0, distance);
  }

 private:
  struct Level {
    std::int64_t count = 1;  ///< Of blocks.
    std::int64_t step = 0;   ///< From one to the next, in bytes.
    std::int64_t size = 0;   ///< From the first byte of the first to the last of the last.
  };

  bool meet(std::size_t i, const ByteBlocks& other, std::size_t k, std::int64_t distance) const {
    const Level &mine = levels_[i], &theirs = other.levels_[k];
    if (distance >= theirs.size || distance + mine.size <= 0) return false;
    if (i == count_ && k == other.count_) return true;
    if (k < other.count_ && (i == count_ || mine.step < theirs.step)) {
      return other.meet(k, *this, i, -distance);
    }
    const std::int64_t step = mine.step, block = levels_[i + 1].size;
    // Blocks at the same steps lie to each other as some one of them to one of the others.
    const bool aligned = k < other.count_ && theirs.step == step;
    const std::size_t next = aligned ? k + 1 : k;
    const std::int64_t reach = aligned ? other.levels_[next].size : theirs.size;
    const std::int64_t first = aligned ? 1 - theirs.count : 0;
    // Those whose range meets the other's: -block < distance + n * step < reach.
    std::int64_t n = -(distance + block) / step - 2;
    if (n < first) n = first;
    for (; n < mine.count && distance + n * step < reach; ++n) {
      if (meet(i + 1, other, next, distance + n * step)) return true;
    }
    return false;
  }

  std::array<Level, 65> levels_;  // the last one is of single elements
  std::size_t count_ = 0;
};

/// Finds two inputs that share memory and to one of which the model writes; false where there are
/// none, and for runtimes that do not tell where memory is. `at(i)` gives input i.
template <class Runtime, class At>
[[gnu::noinline]] bool find_overlap(const ModelSpec& spec, At&& at,
                                    std::pair<std::size_t, std::size_t>& found) {
  if constexpr (requires { Runtime::data(at(0)); }) {
    std::array<ByteRange, 64> known;
    const std::size_t count = spec.inputs.size();
    for (std::size_t i = 0; i < count && i < known.size(); ++i) {
      known[i] = ByteRange::of<Runtime>(at(i));
    }
    const auto range = [&](std::size_t i) {
      return i < known.size() ? known[i] : ByteRange::of<Runtime>(at(i));
    };
    for (std::size_t i = 0; i < count; ++i) {
      if (!spec.inputs[i].mutated) continue;
      const ByteRange mine = range(i);
      for (std::size_t k = 0; k < count; ++k) {
        if (k == i || !mine.meets(range(k))) continue;
        const std::int64_t distance = static_cast<std::int64_t>(mine.begin - range(k).begin);
        if (!ByteBlocks::of<Runtime>(at(i)).meet(ByteBlocks::of<Runtime>(at(k)), distance)) {
          continue;
        }
        found = {i, k};
        return true;
      }
    }
  }
  return false;
}

/// Says which inputs share memory; called where two do.
[[gnu::cold]] inline Error describe_overlap(const ModelSpec& spec,
                                            std::pair<std::size_t, std::size_t> found) {
  const auto [i, k] = found;
  return {Errc::input_layout, concat({"input ", i, " '", spec.inputs[i].name, "'"}),
          concat({"found memory that is also that of input ", k, " '", spec.inputs[k].name,
                  "', expected memory of its own, since the model writes to it; pass a copy"})};
}

}  // namespace aoti::detail
