// SPDX-License-Identifier: BSD-3-Clause
// Tensor handles on their way into and out of a model, and the mark that a runner is in use.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "aoti/abi/handles.hpp"
#include "aoti/atomic.hpp"
#include "aoti/runtime/refinements.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// An input argument: a tensor, by reference or by std::move.
template <class T, class Tensor>
concept InputOf = std::same_as<std::remove_cvref_t<T>, Tensor>;

/// Whether a run with counts known at compile time takes these: inputs, perhaps after a stream.
template <class Tensor, class Stream, class First, class... Rest>
inline constexpr bool are_arguments = (InputOf<Rest, Tensor> && ... &&
                                       (InputOf<First, Tensor> ||
                                        std::convertible_to<First, Stream>));

/// Calls `f(i)` for each i below `count` until it returns false; returns the number of calls that
/// returned true. If the count is known at compile time, i is a constant.
template <std::size_t extent, class F>
[[gnu::always_inline]] inline std::size_t count_while(std::size_t count, F&& f) {
  std::size_t done = 0;
  if constexpr (extent == std::dynamic_extent) {
    while (done < count && f(done)) ++done;
  } else {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      static_cast<void>(((f(std::integral_constant<std::size_t, i>{}) && ++done) && ...));
    }
    (std::make_index_sequence<extent>{});
  }
  return done;
}

/// Destroys the handles in the slots, each once: a model may have written one into several slots.
template <class Runtime>
[[gnu::cold, gnu::noinline]] void destroy_all(std::span<AtenTensorHandle> slots) noexcept {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    AtenTensorHandle handle = slots[i];
    if (handle == nullptr) continue;
    for (AtenTensorHandle& slot : slots.subspan(i)) {
      if (slot == handle) slot = nullptr;
    }
    Runtime::destroy(handle);
  }
}

/// Slots for handles on the stack. Handles that are left in them are destroyed.
/// @tparam N the number of slots; dynamic_extent if it is known only at run time
template <class Runtime, std::size_t N> class Handles {
 public:
  /// The most slots if their number is known only at run time.
  static constexpr std::size_t capacity = N == std::dynamic_extent ? 1024 : N;

  explicit Handles(std::size_t size = N) noexcept : size_{size} {
    for (std::size_t i = 0; i < this->size(); ++i) slots_[i] = nullptr;
  }
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;
  ~Handles() {
    for (std::size_t i = 0; i < size(); ++i) {
      if (slots_[i] != nullptr) [[unlikely]] {
        destroy_all<Runtime>({slots_, size()});
        return;
      }
    }
  }

  std::span<AtenTensorHandle, N> slots() noexcept {
    return std::span<AtenTensorHandle, N>{slots_, size()};
  }

  AtenTensorHandle operator[](std::size_t i) const noexcept { return slots_[i]; }
  AtenTensorHandle& operator[](std::size_t i) noexcept { return slots_[i]; }

  /// The tensor in a slot, which is emptied; an undefined tensor if the slot is empty.
  typename Runtime::Tensor take(std::size_t i) noexcept {
    AtenTensorHandle handle = std::exchange(slots_[i], nullptr);
    if (handle == nullptr) [[unlikely]]
      return {};
    return Runtime::take(handle);
  }

 private:
  constexpr std::size_t size() const noexcept { return N == std::dynamic_extent ? size_ : N; }

  std::size_t size_;
  AtenTensorHandle slots_[capacity == 0 ? 1 : capacity];
};

/// The input tensors of a call: those of a span; kept if they are const, else given.
template <class Tensor> struct Listed {
  static constexpr std::size_t extent = std::dynamic_extent;
  std::span<Tensor> tensors;

  std::size_t size() const noexcept { return tensors.size(); }
  static constexpr bool gives(std::size_t) noexcept { return !std::is_const_v<Tensor>; }
  const Tensor& operator[](std::size_t i) const noexcept { return tensors[i]; }
  auto& given(std::size_t i) const noexcept {
    return const_cast<std::remove_const_t<Tensor>&>(tensors[i]);
  }
};

/// The same for pointers to tensors, some of which are given.
template <class Tensor> struct PointedTo {
  static constexpr std::size_t extent = std::dynamic_extent;
  std::span<const Tensor* const> tensors;
  std::span<const bool> taken;

  std::size_t size() const noexcept { return tensors.size(); }
  bool gives(std::size_t i) const noexcept { return taken[i]; }
  const Tensor& operator[](std::size_t i) const noexcept { return *tensors[i]; }
  Tensor& given(std::size_t i) const noexcept { return const_cast<Tensor&>(*tensors[i]); }
};

/// The same if their number, and which of them are given, are known at compile time.
template <class Tensor, bool... taken> struct Arguments {
  static constexpr std::size_t extent = sizeof...(taken);
  std::array<const Tensor*, extent> tensors;

  static constexpr std::size_t size() noexcept { return extent; }
  static constexpr bool gives(std::size_t i) noexcept {
    constexpr std::array<bool, extent> all{taken...};
    return all[i];
  }
  const Tensor& operator[](std::size_t i) const noexcept { return *tensors[i]; }
  Tensor& given(std::size_t i) const noexcept { return const_cast<Tensor&>(*tensors[i]); }
};

/// The inputs of one call as handles, from when they are made until the call ends. Given tensors go
/// back to the caller unless the model accepted them; handles that the model left are destroyed.
template <class Runtime, class Source> class Inputs {
 public:
  static constexpr std::size_t extent = Source::extent;
  static constexpr bool are_bound = false;

  explicit Inputs(const Source& source) noexcept : source_{source}, slots_{source.size()} {}
  Inputs(const Inputs&) = delete;
  Inputs& operator=(const Inputs&) = delete;
  ~Inputs() {
    if (accepted_) [[likely]]
      return;
    // Backwards: of a tensor that was given twice, the first has the data.
    for (std::size_t i = size(); i-- > 0;) {
      if (source_.gives(i) && slots_[i] != nullptr) source_.given(i) = slots_.take(i);
    }
  }

  std::size_t size() const noexcept { return source_.size(); }
  std::span<AtenTensorHandle, extent> slots() noexcept { return slots_.slots(); }

  /// Makes all handles; false if memory runs out.
  [[gnu::always_inline]] bool make() {
    const auto one = [&](auto i) __attribute__((always_inline)) {
      AtenTensorHandle& slot = slots_[i];
      if (source_.gives(i)) {
        slot = Runtime::give(std::move(source_.given(i)));
      } else {
        slot = i < rooms ? lend<Runtime>(source_[i], rooms_[i]) : Runtime::share(source_[i]);
      }
      return slot != nullptr;
    };
    return count_while<extent>(size(), one) == size();
  }
  /// From here on the model owns them.
  void accept() noexcept { accepted_ = true; }

 private:
  static constexpr std::size_t rooms = extent != std::dynamic_extent ? extent : 8;

  Source source_;
  std::array<RoomOf<Runtime>, rooms> rooms_;
  Handles<Runtime, extent> slots_;  // destroyed before the rooms that they may lie in
  bool accepted_ = false;
};

/// The caller's own handles as inputs.
template <class Runtime> class GivenHandles {
 public:
  static constexpr std::size_t extent = std::dynamic_extent;
  static constexpr bool are_bound = false;

  explicit GivenHandles(std::span<AtenTensorHandle> handles) noexcept : handles_{handles} {}
  GivenHandles(const GivenHandles&) = delete;
  GivenHandles& operator=(const GivenHandles&) = delete;
  ~GivenHandles() {
    if (accepted_) destroy_all<Runtime>(handles_);
  }

  std::size_t size() const noexcept { return handles_.size(); }
  std::span<AtenTensorHandle> slots() const noexcept { return handles_; }
  static constexpr bool make() noexcept { return true; }
  void accept() noexcept { accepted_ = true; }

 private:
  std::span<AtenTensorHandle> handles_;
  bool accepted_ = false;
};

/// The tensors behind handles; passed by value.
template <class Runtime> struct Behind {
  std::span<const AtenTensorHandle> handles;

  std::size_t size() const noexcept { return handles.size(); }
  const typename Runtime::Tensor& operator[](std::size_t i) const {
    return Runtime::peek(handles[i]);
  }
};

/// Handles that this owns and destroys; null ones are skipped.
template <class Runtime> struct OwnedHandles {
  std::vector<AtenTensorHandle> handles;

  explicit OwnedHandles(std::size_t count) : handles(count, nullptr) {}
  OwnedHandles(OwnedHandles&& other) noexcept : handles{std::move(other.handles)} {
    other.handles.clear();
  }
  OwnedHandles& operator=(OwnedHandles&&) = delete;
  ~OwnedHandles() { clear(); }

  void clear() noexcept {
    for (AtenTensorHandle handle : handles) {
      if (handle != nullptr) Runtime::destroy(handle);
    }
    handles.clear();
  }
};

/// Marks a runner as in use during its lifetime; `entered` tells whether the runner was free.
class Occupancy {
 public:
  /// @param busy the mark, or null if nobody checks it
  explicit Occupancy(Atomic<bool>* busy) noexcept
      : busy_{busy != nullptr && busy->exchange(true) ? nullptr : busy}, entered_{busy_ == busy} {}
  Occupancy(const Occupancy&) = delete;
  Occupancy& operator=(const Occupancy&) = delete;
  ~Occupancy() {
    if (busy_ != nullptr) busy_->store(false);
  }
  bool entered() const noexcept { return entered_; }

 private:
  Atomic<bool>* busy_;
  bool entered_;
};

}  // namespace aoti::inline AOTI_ABI::detail
