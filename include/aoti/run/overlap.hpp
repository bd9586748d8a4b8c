// SPDX-License-Identifier: BSD-3-Clause
// Tensors that share memory while the model writes to one of them: the results then depend on the
// order of the compiled operations, which is not that of the exported program.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aoti/abi/handles.hpp"
#include "aoti/package/constants.hpp"
#include "aoti/package/spec.hpp"
#include "aoti/runtime/refinements.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// The bytes from a tensor's first to its last. A tensor without elements has none, and overlaps
/// nothing.
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

/// The elements of a non-empty tensor as nested blocks of bytes, outermost (largest step) first.
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

  /// Whether they share a byte, if this one begins `distance` bytes after the other.
  bool meet(const ByteBlocks& other, std::int64_t distance) const {
    return meet(0, other, 0, distance);
  }

 private:
  struct Level {
    std::int64_t count = 1;  ///< Number of blocks.
    std::int64_t step = 0;   ///< From one to the next, in bytes.
    std::int64_t size =
        0;  ///< From the first byte of the first block to the last byte of the last.
  };

  bool meet(std::size_t i, const ByteBlocks& other, std::size_t k, std::int64_t distance) const {
    const Level &mine = levels_[i], &theirs = other.levels_[k];
    if (distance >= theirs.size || distance + mine.size <= 0) return false;
    if (i == count_ && k == other.count_) return true;
    if (k < other.count_ && (i == count_ || mine.step < theirs.step)) {
      return other.meet(k, *this, i, -distance);
    }
    const std::int64_t step = mine.step, block = levels_[i + 1].size;
    // With equal steps, only the difference between two blocks' positions matters.
    const bool aligned = k < other.count_ && theirs.step == step;
    const std::size_t next = aligned ? k + 1 : k;
    const std::int64_t reach = aligned ? other.levels_[next].size : theirs.size;
    const std::int64_t first = aligned ? 1 - theirs.count : 0;
    // Blocks whose range overlaps the other's: -block < distance + n * step < reach.
    std::int64_t n = -(distance + block) / step - 2;
    if (n < first) n = first;
    for (; n < mine.count && distance + n * step < reach; ++n) {
      if (meet(i + 1, other, next, distance + n * step)) return true;
    }
    return false;
  }

  std::array<Level, 65> levels_;  // the last one is for single elements
  std::size_t count_ = 0;
};

/// The weights that a model runs on, as far as it lists them, and where they lie.
struct WeightsInUse {
  struct Weight {
    std::size_t constant;
    bool mutated;
    AtenTensorHandle tensor;  // owned by the model
    ByteRange range;
  };
  std::vector<Weight> list;
  ByteRange all{};  // covers all of them

  /// @param tensors of the active set, by constant
  template <class Runtime>
  static WeightsInUse of(const std::vector<Constant>& constants,
                         const std::vector<AtenTensorHandle>& tensors) {
    WeightsInUse weights;
    if constexpr (TellsAddress<Runtime>) {
      weights.list.reserve(tensors.size());
      for (std::size_t i = 0; i < tensors.size(); ++i) {
        if (tensors[i] == nullptr || !Runtime::is_strided(Runtime::peek(tensors[i]))) continue;
        const ByteRange range = ByteRange::of<Runtime>(Runtime::peek(tensors[i]));
        if (range.begin == range.end) continue;
        ByteRange& all = weights.all;
        all.begin = weights.list.empty() || range.begin < all.begin ? range.begin : all.begin;
        all.end = range.end > all.end ? range.end : all.end;
        weights.list.push_back({i, constants[i].mutated, tensors[i], range});
      }
    }
    return weights;
  }
};

/// Finds two weights that share memory, where the model writes to the first, and one of them is
/// among `given`; false if there are none.
template <class Runtime>
bool find_overlap(const WeightsInUse& weights, const std::vector<AtenTensorHandle>& given,
                  std::pair<std::size_t, std::size_t>& found) {
  using Weight = WeightsInUse::Weight;
  for (const Weight& a : weights.list) {
    for (const Weight& b : weights.list) {
      if (!a.mutated || &a == &b || !a.range.meets(b.range) ||
          (given[a.constant] == nullptr && given[b.constant] == nullptr) ||
          !ByteBlocks::of<Runtime>(Runtime::peek(a.tensor))
               .meet(ByteBlocks::of<Runtime>(Runtime::peek(b.tensor)),
                     static_cast<std::int64_t>(a.range.begin - b.range.begin))) {
        continue;
      }
      found = {a.constant, b.constant};
      return true;
    }
  }
  return false;
}

/// An input in the memory of another input or of a weight, while the model writes to one of them.
struct Overlap {
  std::size_t input;
  std::size_t other;    ///< The index of an input or of a constant.
  bool weight;          ///< Whether it is a constant.
  bool written = true;  ///< Whether the model writes to the input.
};

/// Finds an overlap; false if there is none, or if the runtime does not tell addresses.
/// @tparam Views reads the elements of `inputs`
template <class Views, class Runtime, class Inputs>
[[gnu::noinline]] bool find_overlap(const ModelSpec& spec, const WeightsInUse& weights,
                                    Inputs inputs, Overlap& found) {
  if constexpr (TellsAddress<Views>) {
    std::array<ByteRange, 64> known;
    const std::size_t count = spec.inputs.size();
    for (std::size_t i = 0; i < count && i < known.size(); ++i) {
      known[i] = ByteRange::of<Views>(inputs[i]);
    }
    const auto range = [&](std::size_t i) {
      return i < known.size() ? known[i] : ByteRange::of<Views>(inputs[i]);
    };
    const auto meet = [&](std::size_t i, const ByteRange& other, auto&& blocks_of_other) {
      const ByteRange mine = range(i);
      return mine.meets(other) &&
             ByteBlocks::of<Views>(inputs[i]).meet(
                 blocks_of_other(), static_cast<std::int64_t>(mine.begin - other.begin));
    };
    for (std::size_t i = 0; i < count; ++i) {
      const bool written = spec.inputs[i].mutated;
      for (std::size_t k = 0; written && k < count; ++k) {
        if (k == i || !meet(i, range(k), [&] { return ByteBlocks::of<Views>(inputs[k]); }))
          continue;
        found = {.input = i, .other = k, .weight = false};
        return true;
      }
      if (!range(i).meets(weights.all)) continue;
      for (const WeightsInUse::Weight& weight : weights.list) {
        if (!written && !weight.mutated) continue;
        const auto blocks = [&] { return ByteBlocks::of<Runtime>(Runtime::peek(weight.tensor)); };
        if (!meet(i, weight.range, blocks)) continue;
        found = {.input = i, .other = weight.constant, .weight = true, .written = written};
        return true;
      }
    }
  }
  return false;
}

/// Says which tensors share memory.
[[gnu::cold]] inline Error describe_overlap(const ModelSpec& spec,
                                            const std::vector<Constant>& constants,
                                            const Overlap& found) {
  const std::string other =
      found.weight ? concat({"weight '", constants[found.other].fqn, "'"})
                   : concat({"input ", found.other, " '", spec.inputs[found.other].name, "'"});
  return {Errc::input_layout,
          concat({"input ", found.input, " '", spec.inputs[found.input].name, "'"}),
          concat({"found memory that is also that of ", other,
                  ", expected memory of its own, since the model writes to ",
                  found.written ? "it" : "that weight", "; pass a copy"})};
}

}  // namespace aoti::inline AOTI_ABI::detail
