// SPDX-License-Identifier: BSD-3-Clause
// What is behind a tensor of the native runtime: its shape, and memory that tensors share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "aoti/abi/handles.hpp"
#include "aoti/abi/types.hpp"
#include "aoti/runtime/native/extent.hpp"
#include "aoti/runtime/native/pool.hpp"
#include "aoti/runtime/native/run_state.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Memory that tensors share. Memory that the library owns follows this header in the same block.
struct alignas(64) Storage : Block {
  void* data;
  std::int64_t bytes;
  void (*release)(
      void* context);  ///< Called with `context` when the last tensor is destroyed; or null.
  void* context;
};
static_assert(sizeof(Storage) == 64);

/// How a body holds its storage, and who may destroy the body.
enum class Hold : std::uint8_t {
  counted,
  lent,    ///< Not counted, nor is the body, which lies in a room; the original outlives both.
  pinned,  ///< Counted; but the body belongs to a BoundRun, which alone may destroy it.
};

/// Room for a body that is lent for a call.
struct alignas(Pool::alignment) LentRoom {
  static constexpr std::size_t max_rank = 7;
  std::byte bytes[3 * Pool::alignment];
};

/// The contents of a tensor. Each handle points to a body of its own; the user's tensors may share
/// one. A body that was made together with its memory lies in the same block, see `home`.
struct TensorBody : Block {
  /// The address of this body, to be read as a Tensor, which is such a pointer, where a reference
  /// to a Tensor is needed. Written as bytes, so that compilers see that reading a Tensor there
  /// reads what was written.
  alignas(void*) std::byte self[sizeof(void*)];
  Storage* home;        ///< The block that this body lies in, and holds a reference to; or null.
  Storage* storage;     ///< Null if the tensor behind a handle is undefined.
  std::byte* data;      ///< The first element.
  std::int64_t offset;  ///< Its position in the storage, in elements.
  std::int64_t count;   ///< The number of elements.
  DType dtype;
  std::uint16_t rank;
  bool row_major;
  Hold hold;

  /// The sizes follow the body, and the strides follow them; there is room for at least 3 of each.
  std::int64_t* sizes() noexcept { return reinterpret_cast<std::int64_t*>(this + 1); }
  std::int64_t* strides() noexcept { return sizes() + rank; }
  const std::int64_t* sizes() const noexcept {
    return reinterpret_cast<const std::int64_t*>(this + 1);
  }
  const std::int64_t* strides() const noexcept { return sizes() + rank; }

  static TensorBody* of(AtenTensorHandle handle) noexcept {
    return reinterpret_cast<TensorBody*>(handle);
  }
  /// Null for null.
  static AtenTensorHandle handle(TensorBody* body) noexcept {
    return reinterpret_cast<AtenTensorHandle>(body);
  }

  /// The most dimensions, as in torch.
  static constexpr std::size_t max_rank = 64;
  static constexpr const char* no_memory = "out of memory";

  /// A new body with its own memory; null with a reason if that fails.
  /// @param strides null for row-major
  [[gnu::always_inline]] static TensorBody* make_owning(std::size_t rank, const std::int64_t* sizes,
                                                        const std::int64_t* strides, DType dtype,
                                                        const char*& reason) noexcept {
    const Extent extent{rank, sizes, strides, dtype};
    if (extent.wrong != nullptr) [[unlikely]] {
      reason = extent.wrong;
      return nullptr;
    }
    reason = no_memory;
    const std::size_t front = sizeof(Storage) + (size_of(rank) + 63) / 64 * 64;
    auto* home =
        static_cast<Storage*>(Pool::allocate(front + static_cast<std::size_t>(extent.bytes)));
    if (home == nullptr) [[unlikely]]
      return nullptr;
    home->data = reinterpret_cast<std::byte*>(home) + front;
    home->bytes = extent.bytes;
    home->release = nullptr;
    auto* body = reinterpret_cast<TensorBody*>(home + 1);
    body->references.store(1);
    body->begin(rank, home);
    body->describe(sizes, strides, dtype, extent);
    body->point_at(home, 0);
    return body;
  }

  /// The same for the result of an imported function: a BoundRun may have memory for it.
  [[gnu::always_inline]] static TensorBody* make_result(std::size_t rank, const std::int64_t* sizes,
                                                        const std::int64_t* strides, DType dtype,
                                                        const char*& reason) noexcept {
    Placement* const placement = run_state.placement;
    if (placement == nullptr || placement->depth != 1) [[likely]]
      return make_owning(rank, sizes, strides, dtype, reason);
    TensorBody* body = placement->place(rank, sizes, strides, dtype);
    if (body != nullptr) return body;
    body = make_owning(rank, sizes, strides, dtype, reason);
    if (body != nullptr) placement->made(*body);
    return body;
  }

  /// A new body on the caller's memory; null with a reason if that fails.
  static TensorBody* make_using(void* data, std::size_t rank, const std::int64_t* sizes,
                                const std::int64_t* strides, std::int64_t offset, DType dtype,
                                void (*release)(void*), void* context,
                                const char*& reason) noexcept {
    const Extent extent{rank, sizes, strides, dtype};
    std::int64_t bytes = extent.bytes;
    reason = extent.wrong;
    if (reason == nullptr && data == nullptr && bytes != 0) reason = "the memory is null";
    if (reason == nullptr && !extend(bytes, offset, dtype)) reason = "the offset cannot be";
    if (reason != nullptr) return nullptr;
    reason = no_memory;
    TensorBody* body = make(rank);
    if (body == nullptr) return nullptr;
    auto* storage = static_cast<Storage*>(Pool::allocate(sizeof(Storage)));
    if (storage == nullptr) {
      Pool::free(body);
      return nullptr;
    }
    storage->data = data;
    storage->bytes = bytes;
    storage->release = release;
    storage->context = context;
    body->describe(sizes, strides, dtype, extent);
    body->point_at(storage, offset);
    return body;
  }

  /// A new body for other elements of the same memory; null with a reason if that fails.
  TensorBody* make_view(std::int64_t wanted_rank, const std::int64_t* wanted_sizes,
                        const std::int64_t* wanted_strides, std::int64_t first, DType type,
                        const char*& reason) const noexcept {
    const auto view_rank = static_cast<std::size_t>(wanted_rank);
    reason = view_rank > max_rank ? "there are too many dimensions"
             : storage == nullptr ? "the tensor is undefined"
                                  : nullptr;
    if (reason != nullptr) return nullptr;
    const Extent extent{view_rank, wanted_sizes, wanted_strides, type};
    std::int64_t bytes = extent.bytes;
    reason = extent.wrong;
    // Without elements, it may begin anywhere, as in torch.
    if (reason == nullptr &&
        (!extend(bytes, first, type) || (extent.count != 0 && bytes > storage->bytes))) {
      reason = "the view reaches beyond the memory";
    }
    if (reason != nullptr) return nullptr;
    reason = no_memory;
    TensorBody* body = make(view_rank);
    if (body == nullptr) return nullptr;
    storage->references.increment();
    body->describe(wanted_sizes, wanted_strides, type, extent);
    body->point_at(storage, first);
    return body;
  }

  /// A new body of an undefined tensor, to which any other can be assigned.
  static TensorBody* make_undefined() noexcept {
    TensorBody* body = make(max_rank);
    if (body == nullptr) return nullptr;
    body->rank = 0;
    body->row_major = true;
    body->storage = nullptr;
    body->data = nullptr;
    body->offset = body->count = 0;
    body->dtype = DType::float32;
    return body;
  }

  /// Whether the memory lives as long as the body.
  bool owns_memory() const noexcept {
    return storage == nullptr || storage->release != nullptr ||
           Pool::class_size(storage->size_class) > sizeof(Storage);
  }

  /// A new body for the same elements; null if memory runs out.
  [[gnu::always_inline]] TensorBody* share() const noexcept {
    TensorBody* body = make(rank);
    if (body == nullptr) [[unlikely]]
      return nullptr;
    body->copy_from(*this);
    body->hold = Hold::counted;
    if (storage != nullptr) storage->references.increment();
    return body;
  }
  /// The same in the caller's room, without any counting: valid while this body and the room live.
  /// If the room is too small, it is a new body.
  [[gnu::always_inline]] TensorBody* lend(LentRoom& room) const noexcept {
    if (rank > LentRoom::max_rank) [[unlikely]]
      return share();
    auto* body = reinterpret_cast<TensorBody*>(&room);
    body->begin(rank, nullptr);
    body->copy_from(*this);
    body->hold = Hold::lent;
    return body;
  }

  /// Adds a reference to the body, or makes a new body if it is not counted; null if memory runs
  /// out.
  [[gnu::always_inline]] TensorBody* keep() noexcept {
    if (hold != Hold::counted) [[unlikely]]
      return share();
    references.increment();
    return this;
  }

  /// Makes the body refer to the same elements as another; false if it has no room for the other's
  /// sizes, or is not counted.
  bool assign(const TensorBody& other) noexcept {
    if (this == &other) return true;
    if (hold != Hold::counted) return false;
    const std::size_t room = home != nullptr ? size_of(rank) : Pool::class_size(size_class);
    if (size_of(other.rank) > room) return false;
    Storage* old = storage == home ? nullptr : storage;
    rank = other.rank;
    copy_from(other);
    hold = Hold::counted;
    if (storage != nullptr && storage != home) storage->references.increment();
    if (old != nullptr) release(old);
    return true;
  }

  /// Releases one reference to the body.
  [[gnu::always_inline]] void drop() noexcept {
    if (hold != Hold::counted) return;
    if (references.load() != 1 && references.decrement() != 0) return;
    if (storage != nullptr && storage != home) release(storage);
    if (home != nullptr) {
      release(home);
    } else {
      Pool::free(this);
    }
  }

 private:
  static constexpr std::size_t size_of(std::size_t rank) noexcept {
    return sizeof(TensorBody) + (rank > 3 ? rank : 3) * 2 * sizeof(std::int64_t);
  }

  /// Adds the bytes before an offset; false if they overflow.
  static bool extend(std::int64_t& bytes, std::int64_t offset, DType dtype) noexcept {
    std::int64_t skipped = 0;
    return offset >= 0 &&
           !__builtin_mul_overflow(offset, static_cast<std::int64_t>(element_size(dtype)),
                                   &skipped) &&
           !__builtin_add_overflow(skipped, bytes, &bytes);
  }

  /// A new body in its own block, whose sizes, strides and storage are not set.
  [[gnu::always_inline]] static TensorBody* make(std::size_t rank) noexcept {
    auto* body = static_cast<TensorBody*>(Pool::allocate(size_of(rank)));
    if (body != nullptr) [[likely]]
      body->begin(rank, nullptr);
    return body;
  }
  [[gnu::always_inline]] void begin(std::size_t dimensions, Storage* in) noexcept {
    const TensorBody* const here = this;
    std::memcpy(self, &here, sizeof self);
    home = in;
    rank = static_cast<std::uint16_t>(dimensions);
    hold = Hold::counted;
  }
  [[gnu::always_inline]] void describe(const std::int64_t* given_sizes,
                                       const std::int64_t* given_strides, DType type,
                                       const Extent& extent) noexcept {
    std::uint64_t step = 1;  // may overflow if there are no elements
    for (std::size_t d = rank; d-- > 0;) {
      sizes()[d] = given_sizes[d];
      strides()[d] = given_strides != nullptr ? given_strides[d] : static_cast<std::int64_t>(step);
      step *= given_sizes[d] != 0 ? static_cast<std::uint64_t>(given_sizes[d]) : 1;
    }
    count = extent.count;
    row_major = extent.row_major;
    dtype = type;
  }
  /// Takes over a reference to the storage.
  [[gnu::always_inline]] void point_at(Storage* to, std::int64_t first) noexcept {
    storage = to;
    offset = first;
    data = static_cast<std::byte*>(to->data);  // may be null if there are no elements
    if (count != 0) data += first * static_cast<std::int64_t>(element_size(dtype));
  }
  [[gnu::always_inline]] void copy_from(const TensorBody& other) noexcept {
    // The rest of the block after `home`, including the 3 sizes and strides that every body has
    // room for.
    constexpr std::size_t first = sizeof(Block) + sizeof self + sizeof home;
    std::memcpy(reinterpret_cast<std::byte*>(this) + first,
                reinterpret_cast<const std::byte*>(&other) + first,
                sizeof(TensorBody) - first + 6 * sizeof(std::int64_t));
    for (std::uint32_t i = 6; i < 2u * rank; ++i) sizes()[i] = other.sizes()[i];
  }
  [[gnu::always_inline]] static void release(Storage* storage) noexcept {
    if (storage->references.load() != 1 && storage->references.decrement() != 0) return;
    if (storage->release != nullptr) [[unlikely]]
      storage->release(storage->context);
    Pool::free(storage);
  }
};
static_assert(sizeof(TensorBody) == 80);  // so a block of 128 bytes holds 3 dimensions
static_assert(sizeof(TensorBody) + 2 * LentRoom::max_rank * sizeof(std::int64_t) <=
              sizeof(LentRoom));

}  // namespace aoti::inline AOTI_ABI::detail
