// SPDX-License-Identifier: BSD-3-Clause
// The plans of a thread, each made once for a call signature.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>

#include "aoti/runtime/native/functions.hpp"
#include "aoti/runtime/onednn/plan.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

/// The plans of a thread: at most ways * sets; a new plan replaces the oldest in its set.
class Plans {
 public:
  /// The calling thread's plan for a signature, made by `build(plan)` the first time; null with a
  /// reason if that fails.
  template <class Build>
  [[gnu::always_inline]] static Plan* find(const Signature& signature, const char*& reason,
                                           Build&& build) noexcept {
    Plans* plans = current_;
    if (plans == nullptr) [[unlikely]] {
      plans = enter();
      if (plans == nullptr) {
        reason = left_ ? "the thread is ending" : TensorBody::no_memory;
        return nullptr;
      }
    }
    if (Plan* found = plans->find(signature)) [[likely]]
      return found;
    return plans->make(signature, reason, build);
  }

  /// The calling thread's stream, which exists once it has a plan.
  static dnnl_stream_t stream() noexcept { return current_->stream_; }

  /// How many plans the calling thread has made in its lifetime.
  static std::uint64_t made() noexcept { return current_ != nullptr ? current_->made_ : 0; }

  Plans(const Plans&) = delete;
  Plans& operator=(const Plans&) = delete;

 private:
  static constexpr std::size_t sets = 64, ways = 8;
  struct Set {
    Plan* plans[ways];
    std::uint32_t next;
  };

  Plans() noexcept {
    if (engine() != nullptr &&
        dnnl_stream_create(&stream_, engine(), dnnl_stream_default_flags) != dnnl_success) {
      stream_ = nullptr;
    }
  }
  ~Plans() {
    for (Set& set : sets_) {
      for (Plan* plan : set.plans) delete plan;
    }
    if (stream_ != nullptr) dnnl_stream_destroy(stream_);
  }

  Plan* find(const Signature& signature) const noexcept {
    for (Plan* plan : sets_[signature.hash() % sets].plans) {
      if (plan == nullptr) return nullptr;
      if (plan->signature == signature) return plan;
    }
    return nullptr;
  }

  template <class Build>
  [[gnu::noinline]] Plan* make(const Signature& signature, const char*& reason,
                               Build& build) noexcept {
    if (!signature.fits() || stream_ == nullptr) {
      reason = stream_ == nullptr ? "oneDNN has no CPU" : "the tensors have too many dimensions";
      return nullptr;
    }
    Plan* plan = new (std::nothrow) Plan{signature};
    if (plan == nullptr) {
      reason = TensorBody::no_memory;
      return nullptr;
    }
    build(*plan);
    reason = plan->failure();
    if (reason != nullptr) {
      delete plan;
      return nullptr;
    }
    ++made_;
    Set& set = sets_[signature.hash() % sets];
    delete set.plans[set.next];
    set.plans[set.next] = plan;
    set.next = (set.next + 1) % ways;
    return plan;
  }

  static Plans* enter() noexcept {
    if (left_) return nullptr;
    current_ = new (std::nothrow) Plans;
    static thread_local Leave leave;
    static_cast<void>(leave);
    return current_;
  }
  struct Leave {
    Leave() noexcept {}
    ~Leave() {
      left_ = true;
      delete current_;
      current_ = nullptr;
    }
  };

  inline static constinit thread_local Plans* current_ = nullptr;
  inline static constinit thread_local bool left_ = false;

  dnnl_stream_t stream_ = nullptr;
  std::uint64_t made_ = 0;
  Set sets_[sets] = {};
};

/// Runs the calling thread's plan for a signature on the memory of a call.
template <class Build>
[[gnu::always_inline]] inline AOTITorchError run(const char* function, const Signature& signature,
                                                 std::initializer_list<Given> given,
                                                 Build&& build) noexcept {
  const char* reason = nullptr;
  Plan* plan = Plans::find(signature, reason, build);
  if (plan != nullptr) reason = plan->run(Plans::stream(), given);
  return reason == nullptr ? 0 : NativeFunctions::fail(function, reason);
}

}  // namespace aoti::inline AOTI_ABI::detail::onednn
