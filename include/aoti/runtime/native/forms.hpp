// SPDX-License-Identifier: BSD-3-Clause
// What operators keep with a weight: its elements in other orders, each made once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "aoti/atomic.hpp"
#include "aoti/runtime/native/pool.hpp"
#include "aoti/runtime/native/tensor_body.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// A form of a tensor's elements, for example packed by an operator, at the beginning of a block.
struct Form : Block {
  struct Kind {
    void (*end)(Form&) noexcept;  ///< Called before the block is freed.
    /// The same form of elements that lie `distance` bytes further; null if that fails.
    Form* (*again)(const Form&, std::ptrdiff_t distance) noexcept;
  };

  Form* following;  ///< The form that was kept before it; or null.
  const Kind* kind;
};

/// The forms of a storage whose elements do not change. They are dropped with the storage; any
/// threads may look for them at once, and one at a time adds some.
class Forms : Block {
 public:
  /// Lets operators keep forms of a tensor, which nobody may write to from now on. Has no effect on
  /// tensors that do not own their memory, nor if memory runs out. May not be called while others
  /// use the tensor.
  static void allow(TensorBody& body) noexcept {
    if (body.storage == nullptr || !body.owns_memory() || of(*body.storage) != nullptr) return;
    auto* forms = static_cast<Forms*>(Pool::allocate(sizeof(Forms)));
    if (forms == nullptr) return;
    Storage& storage = *body.storage;
    forms->first_.store(nullptr);
    forms->adding_.store(false);
    forms->allowed_.store(true);
    forms->release_ = storage.release;
    forms->context_ = storage.context;
    storage.release = &Forms::release;
    storage.context = forms;
  }

  /// Lets somebody write to the tensor: operators no longer use its forms. Calls that have begun
  /// may still do so.
  static void forbid(const TensorBody& body) noexcept {
    if (body.storage == nullptr) return;
    if (Forms* forms = of(*body.storage)) forms->allowed_.store(false);
  }

  /// Makes the forms of one tensor for another that lies alike, if it may have some and has none.
  /// May not be called while others use the second tensor. Has no effect if memory runs out.
  static void repeat(const TensorBody& from, const TensorBody& to) noexcept {
    if (from.storage == nullptr || to.storage == nullptr || from.storage == to.storage) return;
    Forms *const kept = allowed(*from.storage), *const made = allowed(*to.storage);
    const bool alike =
        from.dtype == to.dtype && from.rank == to.rank && from.offset == to.offset &&
        std::memcmp(from.sizes(), to.sizes(), 2 * from.rank * sizeof(std::int64_t)) == 0;
    if (kept == nullptr || made == nullptr || !alike || made->first() != nullptr) return;
    for (const Form* form = kept->first(); form != nullptr; form = form->following) {
      Form* again = form->kind->again(*form, to.data - from.data);
      if (again != nullptr) Adding{*made}.add(*again);
    }
  }

  /// Those of a storage whose elements do not change; null for others.
  static Forms* allowed(const Storage& storage) noexcept {
    Forms* forms = of(storage);
    return forms != nullptr && forms->allowed_.load() ? forms : nullptr;
  }

  Form* first() const noexcept { return first_.load(); }

  /// While it lives, no other thread adds forms; false if another one does so already.
  class Adding {
   public:
    explicit Adding(Forms& forms) noexcept : forms_{forms}, mine_{!forms.adding_.exchange(true)} {}
    ~Adding() {
      if (mine_) forms_.adding_.store(false);
    }
    Adding(const Adding&) = delete;
    Adding& operator=(const Adding&) = delete;
    explicit operator bool() const noexcept { return mine_; }

    /// Takes over a form.
    void add(Form& form) noexcept {
      form.following = forms_.first_.load();
      forms_.first_.store(&form);
    }

   private:
    Forms& forms_;
    const bool mine_;
  };

 private:
  static Forms* of(const Storage& storage) noexcept {
    return storage.release == &Forms::release ? static_cast<Forms*>(storage.context) : nullptr;
  }

  static void release(void* context) {
    auto* forms = static_cast<Forms*>(context);
    for (Form* form = forms->first(); form != nullptr;) {
      Form* const following = form->following;
      form->kind->end(*form);
      Pool::free(form);
      form = following;
    }
    if (forms->release_ != nullptr) forms->release_(forms->context_);
    Pool::free(forms);
  }

  Atomic<Form*> first_;
  Atomic<bool> adding_, allowed_;
  void (*release_)(void*);  ///< The storage's own.
  void* context_;
};

}  // namespace aoti::inline AOTI_ABI::detail
