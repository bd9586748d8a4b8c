// SPDX-License-Identifier: BSD-3-Clause
// The oneDNN primitives that calls of one kind run, and their memory.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>

#include "aoti/runtime/native/forms.hpp"
#include "aoti/runtime/native/pool.hpp"
#include "aoti/runtime/native/tensor_body.hpp"
#include "aoti/runtime/onednn/packed_weight.hpp"
#include "aoti/runtime/onednn/primitives.hpp"

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

/// What a call passes for a plan's memory.
struct Given {
  const void* data;
  const Storage* storage = nullptr;  ///< Where forms of it may be kept, see Plan::packed.

  Given(const void* memory) noexcept : data{memory} {}
  /// Of a weight.
  Given(const TensorBody& weight) noexcept : data{weight.data}, storage{weight.storage} {}

  /// Those that may be kept; null if none may.
  Forms* forms() const noexcept { return storage != nullptr ? Forms::allowed(*storage) : nullptr; }
};

/// The primitives that calls of one signature run, in order, and their memory: what each call
/// passes, in the order of the calls of given(), and intermediate results.
class Plan {
 public:
  explicit Plan(const Signature& of) noexcept : signature{of} {}
  ~Plan() {
    for (int i = 0; i < steps_count_; ++i) {
      if (steps_[i].primitive != nullptr) dnnl_primitive_destroy(steps_[i].primitive);
    }
    for (int i = 0; i < packings_count_; ++i) delete packings_[i].reorder;
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
    bytes_ += room_for(description);
    return remember(description, static_cast<std::int64_t>(offset));
  }

  /// An intermediate result's memory under another description.
  int seen_as(int between, Description description) noexcept {
    return status_ == dnnl_success ? remember(description, memories_[between].place) : -1;
  }

  /// Takes over the description, or a status that says why there is none.
  void add(dnnl_primitive_desc_t description, dnnl_status_t status,
           std::initializer_list<Argument> arguments) noexcept {
    if (status_ == dnnl_success) status_ = status;
    if (status != dnnl_success) return;
    if (status_ == dnnl_success) {
      Step& step = steps_[steps_count_];
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

  /// A step that is not oneDNN's: is called with the addresses of its memories, and with `numbers`.
  using Own = void (*)(void* const* memories, const std::int64_t* numbers) noexcept;
  void add(Own own, std::initializer_list<int> memories,
           std::array<std::int64_t, 3> numbers) noexcept {
    if (status_ != dnnl_success) return;
    Step& step = steps_[steps_count_++];
    step.own = own;
    step.numbers = numbers;
    for (const int memory : memories) argue(step, {0, memory});
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

  /// As arranged(), for a weight. If its elements do not change, the copy is made by the first call
  /// on any thread, and kept with the weight; else by each call.
  int packed(int weight, Description wanted) noexcept {
    if (status_ != dnnl_success || same(description_of(weight), wanted)) return weight;
    if (packings_count_ == max_packings) status_ = dnnl_runtime_error;
    const int copy = remember(wanted, packed_index);
    if (status_ != dnnl_success) return -1;
    Plan* reorder = new (std::nothrow) Plan{signature};
    if (reorder == nullptr) {
      status_ = dnnl_out_of_memory;
      return -1;
    }
    const int from = reorder->given(description_of(weight)), to = reorder->given(wanted);
    reorder->reorder(from, to);
    status_ = reorder->status_;
    std::size_t number = 0;
    for (int i = 0; i < weight; ++i) number += memories_[i].place == given_index;
    packings_[packings_count_++] = {reorder, number, copy};
    return copy;
  }

  /// As packed(), in the layout that a primitive wants, if there is one.
  int packed_for(dnnl_primitive_desc_t description, dnnl_status_t status, int weight) noexcept {
    if (status != dnnl_success) return weight;
    return packed(weight, dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0));
  }

  bool is(int memory, Description wanted) const noexcept {
    return status_ != dnnl_success || same(description_of(memory), wanted);
  }

  const char* failure() const noexcept { return reason_of(status_); }

  /// @return why it failed, or null
  const char* run(dnnl_stream_t stream, std::initializer_list<Given> given) noexcept {
    const PackedWeight* kept[max_packings];
    std::size_t bytes = bytes_;
    for (int i = 0; i < packings_count_; ++i) {
      kept[i] = kept_form(packings_[i], given.begin()[packings_[i].given]);
      if (kept[i] == nullptr) bytes += room_for(description_of(packings_[i].copy));
    }
    Block* block = nullptr;
    std::byte* room = nullptr;
    if (bytes != 0) {
      block = Pool::allocate(Pool::alignment + bytes);
      if (block == nullptr) return TensorBody::no_memory;
      room = reinterpret_cast<std::byte*>(block) + Pool::alignment;
    }
    const Given* next = given.begin();
    for (int i = 0; i < memories_count_; ++i) {
      const Memory& memory = memories_[i];
      if (memory.place == packed_index) continue;
      void* data =
          memory.place == given_index ? const_cast<void*>((next++)->data) : room + memory.place;
      dnnl_memory_set_data_handle(memory.memory, data);
    }
    const char* reason = nullptr;
    std::byte* copy = room + bytes_;
    for (int i = 0; i < packings_count_ && reason == nullptr; ++i) {
      const Packing& packing = packings_[i];
      void* data = copy;
      if (kept[i] != nullptr) {
        data = kept[i]->data();
      } else {
        reason = packing.reorder->run(stream, {given.begin()[packing.given].data, copy});
        copy += room_for(description_of(packing.copy));
      }
      dnnl_memory_set_data_handle(memories_[packing.copy].memory, data);
    }
    if (reason == nullptr) {
      dnnl_status_t status = dnnl_success;
      for (int i = 0; i < steps_count_ && status == dnnl_success; ++i) {
        const Step& step = steps_[i];
        status = step.own == nullptr
                     ? dnnl_primitive_execute(step.primitive, stream, step.count, step.arguments)
                     : run_own(step, stream);
      }
      if (status == dnnl_success) status = dnnl_stream_wait(stream);
      reason = reason_of(status);
    }
    if (block != nullptr) Pool::free(block);
    return reason;
  }

 private:
  static constexpr int max_memories = 16, max_steps = 6, max_arguments = 14, max_packings = 2;
  static constexpr std::int64_t given_index = -1, packed_index = -2;

  struct Memory {
    dnnl_memory_t memory;
    std::int64_t place;  ///< given_index, packed_index, or the offset of an intermediate result.
  };
  /// A copy of a weight, in `copy`, made by a plan that is given both.
  struct Packing {
    Plan* reorder;
    std::size_t given;  ///< The weight's position among what calls pass.
    int copy;
  };
  struct Step {
    dnnl_primitive_t primitive = nullptr;
    Own own = nullptr;
    int count = 0;
    std::array<std::int64_t, 3> numbers;  ///< For `own`.
    dnnl_exec_arg_t arguments[max_arguments];
  };

  static dnnl_status_t run_own(const Step& step, dnnl_stream_t stream) noexcept {
    dnnl_status_t status = dnnl_stream_wait(stream);
    void* memories[max_arguments];
    for (int i = 0; i < step.count && status == dnnl_success; ++i) {
      status = dnnl_memory_get_data_handle(step.arguments[i].memory, &memories[i]);
    }
    if (status == dnnl_success) step.own(memories, step.numbers.data());
    return status;
  }

  int remember(Description description, std::int64_t place) noexcept {
    if (status_ == dnnl_success && memories_count_ == max_memories) status_ = dnnl_runtime_error;
    if (status_ != dnnl_success) return -1;
    Memory& made = memories_[memories_count_];
    made.place = place;
    status_ = dnnl_memory_create(&made.memory, description, engine(), DNNL_MEMORY_NONE);
    return status_ == dnnl_success ? memories_count_++ : -1;
  }
  Description description_of(int memory) const noexcept {
    return onednn::description_of(memories_[memory].memory);
  }
  static std::size_t room_for(Description description) noexcept {
    return (dnnl_memory_desc_get_size(description) + 63) / 64 * 64;
  }

  /// A weight's kept form, made if there is none; null if none may be kept, another thread is just
  /// making one, or that fails.
  const PackedWeight* kept_form(const Packing& packing, const Given& weight) const noexcept {
    Forms* const forms = weight.forms();
    if (forms == nullptr) return nullptr;
    const Description from = packing.reorder->description_of(0), to = description_of(packing.copy);
    if (const auto* found = PackedWeight::find(*forms, weight.data, from, to)) return found;
    Forms::Adding adding{*forms};
    if (!adding) return nullptr;
    if (const auto* found = PackedWeight::find(*forms, weight.data, from, to)) return found;
    PackedWeight* packed = PackedWeight::pack(weight.data, from, to);
    if (packed != nullptr) adding.add(*packed);
    return packed;
  }
  void argue(Step& step, const Argument& argument) noexcept {
    if (argument.memory < 0) return;
    step.arguments[step.count++] = {argument.kind, memories_[argument.memory].memory};
  }

  dnnl_status_t status_ = engine() != nullptr ? dnnl_success : dnnl_runtime_error;
  int memories_count_ = 0, steps_count_ = 0, packings_count_ = 0;
  std::size_t bytes_ = 0;
  Memory memories_[max_memories];
  Step steps_[max_steps];
  Packing packings_[max_packings];
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
