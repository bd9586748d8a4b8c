// SPDX-License-Identifier: BSD-3-Clause
// The tensors of the native runtime: memory with a type and a shape, owned or borrowed.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "aoti/abi/types.hpp"
#include "aoti/result.hpp"
#include "aoti/runtime/native/tensor_body.hpp"
#include "aoti/runtime/native/tensor_copy.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail {
struct TensorAccess;
}  // namespace detail

namespace detail {

/// The number of elements of a tensor with such sizes; -1 if a size is negative or the number
/// overflows.
constexpr std::int64_t count_elements(std::span<const std::int64_t> sizes) noexcept {
  std::int64_t count = 1;
  bool empty = false, overflow = false;
  for (const std::int64_t size : sizes) {
    if (size < 0) return -1;
    empty |= size == 0;
    overflow |= __builtin_mul_overflow(count, size, &count);
  }
  return empty ? 0 : overflow ? -1 : count;
}

}  // namespace detail

/// A type that describes its memory as std::mdspan does.
template <class M>
concept StridedSpan = requires(const M& m, typename M::rank_type dimension) {
  { m.data_handle() } -> std::convertible_to<const typename M::element_type*>;
  { m.extent(dimension) } -> std::convertible_to<std::int64_t>;
  { m.stride(dimension) } -> std::convertible_to<std::int64_t>;
  { M::rank() } -> std::convertible_to<std::size_t>;
};

/// A tensor in host memory. Copies share the memory; a default-constructed or moved-from tensor is
/// undefined. Different tensors may be used on different threads, even if they share memory. Memory
/// comes from a pool of the calling thread, which asks the system only for what it has not had
/// before; any thread may destroy a tensor.
class Tensor {
 public:
  using Sizes = std::span<const std::int64_t>;
  using List = std::initializer_list<std::int64_t>;

  /// The most dimensions, as in torch.
  static constexpr std::size_t max_rank = detail::TensorBody::max_rank;

  Tensor() noexcept = default;
  Tensor(const Tensor& other) noexcept : body_{other.body_} {
    if (body_ != nullptr) body_ = body_->keep();
  }
  Tensor(Tensor&& other) noexcept : body_{std::exchange(other.body_, nullptr)} {}
  Tensor& operator=(Tensor other) noexcept {
    std::swap(body_, other.body_);
    return *this;
  }
  ~Tensor() { drop(); }

  /// Owns uninitialised memory, aligned to 64 bytes.
  /// @param strides in elements; row-major if empty
  /// @errors invalid_argument (a negative size or stride, too many dimensions or bytes, different
  ///         numbers of sizes and strides, an unknown dtype), out_of_memory
  static Result<Tensor> empty(DType dtype, Sizes sizes, Sizes strides = {});
  static Result<Tensor> empty(DType dtype, List sizes) { return empty(dtype, span(sizes)); }

  /// Uses the caller's memory, which must outlive every tensor that shares it, including those that
  /// a model holds and returns.
  /// @errors as for empty, and invalid_argument for null memory of a tensor that has elements
  static Result<Tensor> borrow(DType dtype, void* data, Sizes sizes, Sizes strides = {}) {
    return adopt(dtype, data, sizes, strides, nullptr, nullptr);
  }
  /// The same by C++ type: bool, float, double or an integer type: `Tensor::borrow(prices.data(),
  /// {8})`. A model writes to its inputs only if the exported program does, so memory may be const.
  template <class T> static Result<Tensor> borrow(T* data, Sizes sizes, Sizes strides = {}) {
    return borrow(dtype_of<T>, writable(data), sizes, strides);
  }
  template <class T> static Result<Tensor> borrow(T* data, List sizes) {
    return borrow(data, span(sizes));
  }
  /// The same, row-major, for a span whose length matches the sizes.
  template <class T, std::size_t N>
  static Result<Tensor> borrow(std::span<T, N> data, Sizes sizes) {
    const std::int64_t count = detail::count_elements(sizes);
    if (count >= 0 && count != static_cast<std::int64_t>(data.size())) {
      return Error{Errc::invalid_argument, "Tensor::borrow",
                   detail::concat({"found a span of ", data.size(), " elements, expected ", count,
                                   " for sizes ", detail::join(sizes)})};
    }
    return borrow(data.data(), sizes);
  }
  template <class T, std::size_t N> static Result<Tensor> borrow(std::span<T, N> data, List sizes) {
    return borrow(data, span(sizes));
  }
  /// The same for a std::mdspan, or a type like it.
  template <StridedSpan M> static Result<Tensor> borrow(const M& span) {
    std::int64_t sizes[M::rank() + 1], strides[M::rank() + 1];
    for (std::size_t d = 0; d < M::rank(); ++d) {
      sizes[d] = static_cast<std::int64_t>(span.extent(static_cast<typename M::rank_type>(d)));
      strides[d] = static_cast<std::int64_t>(span.stride(static_cast<typename M::rank_type>(d)));
    }
    return borrow(dtype_of<typename M::element_type>, writable(span.data_handle()),
                  {sizes, M::rank()}, {strides, M::rank()});
  }

  /// Uses memory that `release(context)` frees when the last tensor that shares it is destroyed, on
  /// any thread; it must not throw. On an error the memory still belongs to the caller.
  /// @errors as for borrow
  static Result<Tensor> adopt(DType dtype, void* data, Sizes sizes, Sizes strides,
                              void (*release)(void*), void* context);

  /// A copy of the elements in new memory, row-major.
  /// @errors out_of_memory, undefined_tensor
  Result<Tensor> clone() const;

  bool defined() const noexcept;
  explicit operator bool() const noexcept { return defined(); }

  // The rest requires a defined tensor, except sizes and strides, which are empty for an undefined
  // one.
  DType dtype() const noexcept;
  std::size_t rank() const noexcept { return sizes().size(); }
  Sizes sizes() const noexcept;
  Sizes strides() const noexcept;       ///< In elements.
  std::int64_t numel() const noexcept;  ///< The number of elements.
  /// Whether the elements lie one after the other in row-major order; true without elements.
  bool is_row_major() const noexcept;

  /// The first element; null for an undefined tensor.
  void* data() const noexcept;

  /// The elements, if they are of that type and row-major.
  /// @errors undefined_tensor, invalid_argument
  template <class T> Result<std::span<T>> elements() const {
    if (const char* reason = unfit(dtype_of<T>)) return refuse(dtype_of<T>, reason);
    return std::span<T>{static_cast<T*>(data()), static_cast<std::size_t>(numel())};
  }

 private:
  friend struct detail::TensorAccess;

  explicit Tensor(detail::TensorBody* body) noexcept : body_{body} {}

  static Sizes span(List list) noexcept { return {list.begin(), list.size()}; }
  template <class T> static void* writable(T* data) noexcept {
    return const_cast<void*>(static_cast<const void*>(data));
  }
  void drop() noexcept;
  static Result<void> check(Sizes sizes, Sizes strides);
  const char* unfit(DType wanted) const noexcept;
  [[gnu::cold]] Error refuse(DType wanted, const char* reason) const;

  detail::TensorBody* body_ = nullptr;
};

namespace detail {

/// Access to what is behind tensors.
struct TensorAccess {
  static TensorBody* body_of(const Tensor& tensor) noexcept { return tensor.body_; }
  /// A tensor that takes over a reference to the body.
  static Tensor owner_of(TensorBody* body) noexcept { return Tensor{body}; }
  /// The body with its reference, which the tensor gives up.
  static TensorBody* leave(Tensor&& tensor) noexcept {
    return std::exchange(tensor.body_, nullptr);
  }
  static const Tensor& peek(const TensorBody* body) noexcept {
    static_assert(sizeof(Tensor) == sizeof body->self && alignof(Tensor) == alignof(void*));
    return reinterpret_cast<const Tensor&>(body->self);
  }
};

[[gnu::cold]] inline Error not_made(const char* operation, const char* reason) {
  const bool memory = reason == TensorBody::no_memory;
  return {memory ? Errc::out_of_memory : Errc::invalid_argument, operation, reason};
}

}  // namespace detail

inline void Tensor::drop() noexcept {
  if (body_ != nullptr) body_->drop();
}
inline bool Tensor::defined() const noexcept {
  return body_ != nullptr && body_->storage != nullptr;
}
inline DType Tensor::dtype() const noexcept { return body_->dtype; }
inline Tensor::Sizes Tensor::sizes() const noexcept {
  return body_ != nullptr ? Sizes{body_->sizes(), body_->rank} : Sizes{};
}
inline Tensor::Sizes Tensor::strides() const noexcept {
  return body_ != nullptr ? Sizes{body_->strides(), body_->rank} : Sizes{};
}
inline std::int64_t Tensor::numel() const noexcept { return body_->count; }
inline bool Tensor::is_row_major() const noexcept { return body_->row_major; }
inline void* Tensor::data() const noexcept { return body_ != nullptr ? body_->data : nullptr; }

inline Result<Tensor> Tensor::empty(DType dtype, Sizes sizes, Sizes strides) {
  AOTI_TRYV(check(sizes, strides));
  const char* reason = nullptr;
  detail::TensorBody* body = detail::TensorBody::make_owning(
      sizes.size(), sizes.data(), strides.empty() ? nullptr : strides.data(), dtype, reason);
  if (body == nullptr) return detail::not_made("Tensor::empty", reason);
  return Tensor{body};
}

inline Result<Tensor> Tensor::adopt(DType dtype, void* data, Sizes sizes, Sizes strides,
                                    void (*release)(void*), void* context) {
  AOTI_TRYV(check(sizes, strides));
  const char* reason = nullptr;
  detail::TensorBody* body = detail::TensorBody::make_using(
      data, sizes.size(), sizes.data(), strides.empty() ? nullptr : strides.data(), 0, dtype,
      release, context, reason);
  if (body == nullptr) {
    return detail::not_made(release != nullptr ? "Tensor::adopt" : "Tensor::borrow", reason);
  }
  return Tensor{body};
}

inline Result<Tensor> Tensor::clone() const {
  if (!defined()) return Error{Errc::undefined_tensor, "Tensor::clone", "the tensor is undefined"};
  detail::TensorBody* body = detail::reordered(*body_, {});
  if (body == nullptr) return detail::not_made("Tensor::clone", detail::TensorBody::no_memory);
  return Tensor{body};
}

inline Result<void> Tensor::check(Sizes sizes, Sizes strides) {
  if (sizes.size() > max_rank) {
    return Error{Errc::invalid_argument, "Tensor",
                 detail::concat({"found ", sizes.size(), " sizes, expected at most ", max_rank})};
  }
  if (!strides.empty() && strides.size() != sizes.size()) {
    return Error{Errc::invalid_argument, "Tensor",
                 detail::concat({"found ", strides.size(), " strides, expected ", sizes.size()})};
  }
  return success();
}

inline const char* Tensor::unfit(DType wanted) const noexcept {
  if (!defined()) return "the tensor is undefined";
  if (body_->dtype != wanted) return "the elements are of another type";
  return body_->row_major ? nullptr : "the elements do not lie in row-major order";
}

inline Error Tensor::refuse(DType wanted, const char* reason) const {
  if (!defined()) return {Errc::undefined_tensor, "Tensor::elements", reason};
  return {Errc::invalid_argument, "Tensor::elements",
          detail::concat({reason, ": found ", to_string(dtype()), " of strides ",
                          detail::join(strides()), ", expected ", to_string(wanted)})};
}

}  // namespace aoti::inline AOTI_ABI
