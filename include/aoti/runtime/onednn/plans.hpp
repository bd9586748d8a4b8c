// SPDX-License-Identifier: BSD-3-Clause
// Everything that calls of oneDNN's primitives need, made once for each thread and call signature.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>

#include "aoti/runtime/native/functions.hpp"
#include "aoti/runtime/onednn/primitives.hpp"
#include "aoti/runtime/tensor.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

/// Distinguishes kinds of calls.
class Signature {
 public:
  /// Starts with the caller's number for the kind of operator.
  explicit Signature(std::int64_t kind) noexcept { add(kind); }

  void add(std::int64_t number) noexcept {
    if (count_ == capacity) {
      fits_ = false;
      return;
    }
    numbers_[count_++] = number;
    hash_ = std::rotl(hash_ ^ static_cast<std::uint64_t>(number) * 0x9e3779b97f4a7c15u, 29) *
            0xbf58476d1ce4e5b9u;
  }
  void add(double number) noexcept { add(std::bit_cast<std::int64_t>(number)); }
  void add(const std::int64_t* numbers, std::size_t count) noexcept {
    add(static_cast<std::int64_t>(count));
    for (std::size_t i = 0; i < count; ++i) add(numbers[i]);
  }
  void add(const TensorBody& tensor) noexcept {
    add(static_cast<std::int64_t>(tensor.dtype));
    add(tensor.sizes(), 2u * tensor.rank);
  }

  /// Whether there was room for everything that was added.
  bool fits() const noexcept { return fits_; }
  std::uint64_t hash() const noexcept { return hash_ ^ hash_ >> 32; }
  friend bool operator==(const Signature& a, const Signature& b) noexcept {
    return a.hash_ == b.hash_ && a.count_ == b.count_ &&
           std::equal(a.numbers_.begin(), a.numbers_.begin() + a.count_, b.numbers_.begin());
  }
  Signature(const Signature& other) noexcept
      : hash_{other.hash_}, count_{other.count_}, fits_{other.fits_} {
    std::copy_n(other.numbers_.begin(), count_, numbers_.begin());
  }
  Signature& operator=(const Signature&) = delete;

 private:
  static constexpr std::uint32_t capacity = 96;

  std::uint64_t hash_ = 0;
  std::uint32_t count_ = 0;
  bool fits_ = true;
  std::array<std::int64_t, capacity> numbers_;
};

/// The primitives that calls of one signature run, in order, and their memory: what each call
/// passes, in the order of the calls of given(), and intermediate results.
class Plan {
 public:
  explicit Plan(const Signature& of) noexcept : signature{of} {}
  ~Plan() {
    for (int i = 0; i < steps_count_; ++i) dnnl_primitive_destroy(steps_[i].primitive);
    for (int i = 0; i < memories_count_; ++i) dnnl_memory_destroy(memories_[i].memory);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  const Signature signature;

  struct Argument {
    int kind;    ///< DNNL_ARG_…
    int memory;  ///< From given() or between(); negative for none.
  };

  int given(Description description) noexcept { return remember(description, given_index); }
  int between(Description description) noexcept {
    if (status_ != dnnl_success) return -1;
    const std::size_t offset = bytes_;
    bytes_ += (dnnl_memory_desc_get_size(description) + 63) / 64 * 64;
    return remember(description, static_cast<std::int64_t>(offset));
  }

  /// Takes over the description, or a status that says why there is none.
  void add(dnnl_primitive_desc_t description, dnnl_status_t status,
           std::initializer_list<Argument> arguments) noexcept {
    if (status_ == dnnl_success) status_ = status;
    if (status != dnnl_success) return;
    if (status_ == dnnl_success) {
      Step& step = steps_[steps_count_];
      step.count = 0;
      for (const Argument& argument : arguments) argue(step, argument);
      const Description scratch =
          dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
      if (scratch != nullptr && dnnl_memory_desc_get_size(scratch) != 0) {
        argue(step, {DNNL_ARG_SCRATCHPAD, between(scratch)});
      }
      if (status_ == dnnl_success) status_ = dnnl_primitive_create(&step.primitive, description);
      if (status_ == dnnl_success) ++steps_count_;
    }
    dnnl_primitive_desc_destroy(description);
  }

  /// Memory in the layout that a step wants: the same memory, or a copy made by another step.
  int arranged(int memory, Description wanted) noexcept {
    if (status_ != dnnl_success || same(description_of(memory), wanted)) return memory;
    const int copy = between(wanted);
    reorder(memory, copy);
    return copy;
  }
  /// Adds a step that copies memory into another layout.
  void reorder(int from, int to) noexcept {
    if (status_ != dnnl_success) return;
    dnnl_primitive_desc_t description = nullptr;
    Attributes attributes;
    const dnnl_status_t status =
        dnnl_reorder_primitive_desc_create(&description, description_of(from), engine(),
                                           description_of(to), engine(), attributes.get());
    add(description, status, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
  }

  bool is(int memory, Description wanted) const noexcept {
    return status_ != dnnl_success || same(description_of(memory), wanted);
  }

  const char* failure() const noexcept { return reason_of(status_); }

  /// @return why it failed, or null
  const char* run(dnnl_stream_t stream, std::initializer_list<const void*> pointers) noexcept {
    Block* block = nullptr;
    std::byte* room = nullptr;
    if (bytes_ != 0) {
      block = Pool::allocate(Pool::alignment + bytes_);
      if (block == nullptr) return TensorBody::no_memory;
      room = reinterpret_cast<std::byte*>(block) + Pool::alignment;
    }
    const void* const* next = pointers.begin();
    for (int i = 0; i < memories_count_; ++i) {
      const Memory& memory = memories_[i];
      void* data = memory.place == given_index ? const_cast<void*>(*next++) : room + memory.place;
      dnnl_memory_set_data_handle(memory.memory, data);
    }
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < steps_count_ && status == dnnl_success; ++i) {
      const Step& step = steps_[i];
      status = dnnl_primitive_execute(step.primitive, stream, step.count, step.arguments);
    }
    if (status == dnnl_success) status = dnnl_stream_wait(stream);
    if (block != nullptr) Pool::free(block);
    return reason_of(status);
  }

 private:
  static constexpr int max_memories = 16, max_steps = 6, max_arguments = 14;
  static constexpr std::int64_t given_index = -1;

  struct Memory {
    dnnl_memory_t memory;
    std::int64_t place;  ///< given_index, or the offset of an intermediate result.
  };
  struct Step {
    dnnl_primitive_t primitive;
    int count;
    dnnl_exec_arg_t arguments[max_arguments];
  };

  int remember(Description description, std::int64_t place) noexcept {
    if (status_ == dnnl_success && memories_count_ == max_memories) status_ = dnnl_runtime_error;
    if (status_ != dnnl_success) return -1;
    Memory& made = memories_[memories_count_];
    made.place = place;
    status_ = dnnl_memory_create(&made.memory, description, engine(), DNNL_MEMORY_NONE);
    return status_ == dnnl_success ? memories_count_++ : -1;
  }
  Description description_of(int memory) const noexcept {
    Description result = nullptr;
    dnnl_memory_get_memory_desc(memories_[memory].memory, &result);
    return result;
  }
  void argue(Step& step, const Argument& argument) noexcept {
    if (argument.memory < 0) return;
    step.arguments[step.count++] = {argument.kind, memories_[argument.memory].memory};
  }

  dnnl_status_t status_ = engine() != nullptr ? dnnl_success : dnnl_runtime_error;
  int memories_count_ = 0, steps_count_ = 0;
  std::size_t bytes_ = 0;
  Memory memories_[max_memories];
  Step steps_[max_steps];
};

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
                                                 std::initializer_list<const void*> pointers,
                                                 Build&& build) noexcept {
  const char* reason = nullptr;
  Plan* plan = Plans::find(signature, reason, build);
  if (plan != nullptr) reason = plan->run(Plans::stream(), pointers);
  return reason == nullptr ? 0 : NativeFunctions::fail(function, reason);
}

}  // namespace aoti::inline AOTI_ABI::detail::onednn
