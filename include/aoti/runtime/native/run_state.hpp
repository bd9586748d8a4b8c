// SPDX-License-Identifier: BSD-3-Clause
// A thread's state for the model that it runs: why it failed, and where its results are placed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "aoti/abi/types.hpp"

namespace aoti::inline AOTI_ABI::detail {

struct TensorBody;

/// Watches the tensors that imported functions return during a run, and places some in given
/// memory.
struct Placement {
  /// The tensor to be used instead of a new one, or null.
  virtual TensorBody* place(std::size_t rank, const std::int64_t* sizes,
                            const std::int64_t* strides, DType dtype) noexcept = 0;
  /// Called for each tensor that was made.
  virtual void made(const TensorBody& body) noexcept = 0;

  std::uint32_t depth =
      0;  ///< How many nested runs the thread is in; the outermost one is watched.

 protected:
  ~Placement() = default;
};

/// A thread's state for its run.
struct RunState {
  Placement* placement = nullptr;         ///< May be null.
  const char* failed_function = nullptr;  ///< The imported function that failed last, and why,
  const char* failure = nullptr;          ///< a string literal; or null.
};
inline constinit thread_local RunState run_state;

/// Lives while a model runs: earlier failures must not explain its failures, and its tensors must
/// not be placed for an enclosing run.
class Running {
 public:
  [[gnu::always_inline]] Running() noexcept {
    run_state.failure = nullptr;
    placement_ = run_state.placement;
    if (placement_ != nullptr) [[unlikely]]
      ++placement_->depth;
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  [[gnu::always_inline]] ~Running() {
    if (placement_ != nullptr) [[unlikely]]
      --placement_->depth;
  }

 private:
  Placement* placement_;
};

}  // namespace aoti::inline AOTI_ABI::detail
