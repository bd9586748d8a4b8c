// SPDX-License-Identifier: BSD-3-Clause
// The two sets of weights that a model's container has room for: which one it runs on, what the
// other one holds, and who owns their memory.
//
// The active set:     none ─load─▶ loaded ─fold─▶ folded;  none ─swap─▶ folded
// The inactive set:   none ─begin─▶ unfinished ─stage─▶ staged ─swap─▶ previous ─swap─▶ previous
//                     staged, previous ─begin, abandon─▶ unfinished
//                     unfinished, staged, previous ─release─▶ none, or unfinished while it is lent
//
// A container allocates one block of memory, for the weights that it copies itself; at each swap,
// that block changes sides with its set. All other tensors are reference-counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "aoti/abi/handles.hpp"

namespace aoti::inline AOTI_ABI {

/// Which weights a model has.
enum class WeightsState : std::uint8_t {
  none,    ///< None, or not all: the model cannot run.
  loaded,  ///< All but the folded ones. Opening never leaves a runner so.
  folded,  ///< All, folded ones included, if there are any. The model can run.
};

/// A model has room for two sets of weights: the one that it runs on, and one that can take its
/// place.
enum class WeightSet : bool { active, inactive };

namespace detail {

/// What a container holds. The functions are the transitions: they record what calls of the model
/// have done, and call nothing themselves. Used by one thread at a time.
class WeightSets {
 public:
  WeightSets() noexcept = default;
  WeightSets(WeightSets&&) noexcept = default;
  WeightSets& operator=(WeightSets&&) noexcept = default;
  ~WeightSets() = default;

  /// The state of the active set; any thread may ask.
  WeightsState state() const noexcept {
    WeightsState state;
    __atomic_load(&state_, &state, __ATOMIC_ACQUIRE);
    return state;
  }
  /// Whether the inactive set is complete, so that the sets can be swapped.
  bool has_second() const noexcept {
    return second_ == Second::staged || second_ == Second::previous;
  }
  /// Whether the inactive set is complete and was never swapped in.
  bool is_staged() const noexcept { return second_ == Second::staged; }
  /// Whether the inactive set holds anything, complete or not.
  bool has_remains() const noexcept { return second_ != Second::none; }
  /// Whether the folded constants of the inactive set were freed with it; models read them all the
  /// same when they are given other weights.
  bool lacks_folded() const noexcept { return lacks_folded_; }
  /// Whether the container has its own memory for weights.
  bool has_block() const noexcept { return block_ != Block::none; }
  /// Whether a constant of a set lies in the container's block.
  bool is_in_block(WeightSet set, std::size_t constant) const noexcept {
    return at(set).in_block[constant] != 0;
  }

  /// The container was created.
  /// @param own whether the weights, once loaded, lie in its block
  void create(std::size_t constants, bool own) {
    sets_[0].in_block.assign(constants, own);
    block_ = own ? Block::active : Block::none;
  }
  /// The active set has its weights.
  void load() noexcept { become(WeightsState::loaded); }
  /// The active set's folded constants were computed.
  void fold() noexcept { become(WeightsState::folded); }

  /// The inactive set is about to be written.
  /// @param in_block which of its constants lie in the container's block
  void begin(std::vector<char> in_block) noexcept {
    second_ = Second::unfinished;
    at(WeightSet::inactive).in_block = std::move(in_block);
  }
  /// The inactive set was written and folded.
  void stage() noexcept { second_ = Second::staged; }
  /// Writing or folding the inactive set failed.
  void abandon() noexcept {
    if (second_ != Second::none) second_ = Second::unfinished;
  }
  /// The sets were swapped. @return whether these are the first weights that the model has
  bool swap() noexcept {
    active_ = !active_;
    if (block_ != Block::none) block_ = block_ == Block::active ? Block::inactive : Block::active;
    const bool first = state() == WeightsState::none;
    second_ = first ? Second::none : Second::previous;
    if (first) become(WeightsState::folded);
    return first;
  }
  /// The inactive set is released.
  /// @return whether the memory that the container allocated for it can be freed, too: not its
  ///         block while that is lent, or while an active constant lies in it
  bool release() noexcept {
    bool used = lent_;
    for (const char in_block : at(WeightSet::active).in_block) used |= in_block != 0;
    const bool stays = block_ == Block::inactive && used;
    second_ = stays && lent_ ? Second::unfinished : Second::none;  // to be released once more
    return !stays;
  }
  /// The memory that the container had allocated for the inactive set was freed.
  void freed() noexcept {
    if (block_ == Block::inactive) block_ = Block::none;
    lacks_folded_ = true;
  }
  /// The inactive set's folded constants were computed again.
  void refold() noexcept { lacks_folded_ = false; }

  /// Others now use tensors in the container's block, or no longer do.
  void lend(bool lent) noexcept { lent_ = lent; }

  /// Keeps handles of a set that the model will never destroy, to destroy them in its place, and
  /// destroys those that were kept before. Null ones are skipped.
  void keep(WeightSet set, std::vector<AtenTensorHandle> handles,
            void (*destroy)(AtenTensorHandle)) noexcept {
    destroy_ = destroy;
    std::swap(at(set).kept, handles);
    destroy_all(handles);
  }
  /// Destroys all kept handles; the container is gone.
  void clear() noexcept {
    for (Set& set : sets_) destroy_all(std::exchange(set.kept, {}));
  }

 private:
  enum class Second : std::uint8_t { none, unfinished, staged, previous };
  enum class Block : std::uint8_t { none, active, inactive };

  struct Set {
    std::vector<char> in_block;
    std::vector<AtenTensorHandle> kept;
  };

  void become(WeightsState state) noexcept { __atomic_store(&state_, &state, __ATOMIC_RELEASE); }

  Set& at(WeightSet set) noexcept { return sets_[(set == WeightSet::inactive) != active_]; }
  const Set& at(WeightSet set) const noexcept {
    return sets_[(set == WeightSet::inactive) != active_];
  }

  void destroy_all(const std::vector<AtenTensorHandle>& handles) const noexcept {
    for (AtenTensorHandle handle : handles) {
      if (handle != nullptr) destroy_(handle);
    }
  }

  WeightsState state_ = WeightsState::none;
  Second second_ = Second::none;
  Block block_ = Block::none;
  bool active_ = false;  // which of the two is the active one
  bool lacks_folded_ = false;
  bool lent_ = false;
  Set sets_[2];
  void (*destroy_)(AtenTensorHandle) = nullptr;
};

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
