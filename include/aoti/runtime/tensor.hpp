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

#include "aoti/abi/handles.hpp"
#include "aoti/abi/types.hpp"
#include "aoti/result.hpp"
#include "aoti/runtime/pool.hpp"

namespace aoti {

namespace detail {

/// The memory that tensors share. What the library owns follows this header in the same block.
struct alignas(64) Storage : Block {
  void* data;
  std::int64_t bytes;
  void (*release)(void* context);  ///< Called with `context` when the last tensor is gone; or null.
  void* context;
};
static_assert(sizeof(Storage) == 64);

struct TensorBody;

}  // namespace detail

/// The element type of a C++ type.
template <class T>
inline constexpr DType dtype_of = [] {
  using U = std::remove_cv_t<T>;
  if constexpr (std::same_as<U, bool>) {
    return DType::boolean;
  } else if constexpr (std::same_as<U, float>) {
    return DType::float32;
  } else if constexpr (std::same_as<U, double>) {
    return DType::float64;
  } else {
    static_assert(std::integral<U> && sizeof(U) <= 8, "there is no element type for this C++ type");
    constexpr DType signed_types[] = {DType::int8, DType::int16, DType::int32, DType::int64};
    constexpr DType unsigned_types[] = {DType::uint8, DType::uint16, DType::uint32, DType::uint64};
    constexpr int log = sizeof(U) == 1 ? 0 : sizeof(U) == 2 ? 1 : sizeof(U) == 4 ? 2 : 3;
    return std::is_signed_v<U> ? signed_types[log] : unsigned_types[log];
  }
}();

/// Something that describes its memory as std::mdspan does.
template <class M>
concept StridedSpan = requires(const M& m, typename M::rank_type dimension) {
  { m.data_handle() } -> std::convertible_to<const typename M::element_type*>;
  { m.extent(dimension) } -> std::convertible_to<std::int64_t>;
  { m.stride(dimension) } -> std::convertible_to<std::int64_t>;
  { M::rank() } -> std::convertible_to<std::size_t>;
};

/// A tensor in host memory. Copies share the memory; default-constructed it is undefined, and so is
/// one that was moved from. Different tensors may be used on different threads, also where they
/// share memory. Making one takes memory from a pool of the calling thread, which asks the system
/// only for what it has not had before; any thread may destroy it.
class Tensor {
 public:
  using Sizes = std::span<const std::int64_t>;
  using List = std::initializer_list<std::int64_t>;

  /// The most dimensions, as torch has it.
  static constexpr std::size_t max_rank = 64;

  Tensor() noexcept = default;
  Tensor(const Tensor& other) noexcept : body_{other.body_} { retain(); }
  Tensor(Tensor&& other) noexcept : body_{std::exchange(other.body_, nullptr)} {}
  Tensor& operator=(Tensor other) noexcept {
    std::swap(body_, other.body_);
    return *this;
  }
  ~Tensor() { drop(); }

  /// Owns memory that is not initialised, aligned to 64 bytes.
  /// @param strides in elements; where it is empty, row-major
  /// @errors invalid_argument (a negative size or stride, too many dimensions, too many bytes, as
  ///         many strides as there are not sizes, an unknown dtype), out_of_memory
  static Result<Tensor> empty(DType dtype, Sizes sizes, Sizes strides = {});
  static Result<Tensor> empty(DType dtype, List sizes) { return empty(dtype, span(sizes)); }

  /// Uses memory of the caller's, which must stay as long as any tensor that shares it, those that
  /// a model holds and returns among them.
  /// @errors as for empty, and invalid_argument for null memory of a tensor that has elements
  static Result<Tensor> borrow(DType dtype, void* data, Sizes sizes, Sizes strides = {}) {
    return adopt(dtype, data, sizes, strides, nullptr, nullptr);
  }
  /// The same by C++ type, of which bool, float, double and integers are known:
  /// `Tensor::borrow(prices.data(), {8})`. A model writes to its inputs only where the exported
  /// program does, so memory may be const.
  template <class T> static Result<Tensor> borrow(T* data, List sizes) {
    return borrow(dtype_of<T>, writable(data), span(sizes));
  }
  /// The same, row-major, of a span with as many elements as the sizes tell.
  template <class T, std::size_t N> static Result<Tensor> borrow(std::span<T, N> data, List sizes) {
    std::int64_t count = 1;
    for (const std::int64_t size : sizes) count *= size;
    if (count != static_cast<std::int64_t>(data.size())) {
      return Error{Errc::invalid_argument, "Tensor::borrow",
                   detail::concat({"found a span of ", data.size(), " elements, expected ", count,
                                   " for sizes ", detail::join(sizes)})};
    }
    return borrow(data.data(), sizes);
  }
  /// The same of a std::mdspan, or what looks like one.
  template <StridedSpan M> static Result<Tensor> borrow(const M& span) {
    std::int64_t sizes[M::rank() + 1], strides[M::rank() + 1];
    for (std::size_t d = 0; d < M::rank(); ++d) {
      sizes[d] = static_cast<std::int64_t>(span.extent(static_cast<typename M::rank_type>(d)));
      strides[d] = static_cast<std::int64_t>(span.stride(static_cast<typename M::rank_type>(d)));
    }
    return borrow(dtype_of<typename M::element_type>, writable(span.data_handle()),
                  {sizes, M::rank()}, {strides, M::rank()});
  }

  /// Uses memory that `release(context)` gives back when the last tensor that shares it is gone, on
  /// whichever thread that is; it must not throw. On an error the memory is still the caller's.
  /// @errors as for borrow
  static Result<Tensor> adopt(DType dtype, void* data, Sizes sizes, Sizes strides,
                              void (*release)(void*), void* context);

  /// A copy of the elements in memory of its own, row-major.
  /// @errors out_of_memory, undefined_tensor
  Result<Tensor> clone() const;

  bool defined() const noexcept;
  explicit operator bool() const noexcept { return defined(); }

  // What follows asks for a defined tensor, but for sizes and strides, which an undefined one has
  // none of.
  DType dtype() const noexcept;
  std::size_t rank() const noexcept { return sizes().size(); }
  Sizes sizes() const noexcept;
  Sizes strides() const noexcept;      ///< In elements.
  std::int64_t size() const noexcept;  ///< The number of elements.
  /// Whether the elements lie one after the other in row-major order; so do none.
  bool is_row_major() const noexcept;

  /// The first element; null for an undefined tensor.
  void* data() const noexcept;

  /// The elements, where they are of that type and row-major.
  /// @errors undefined_tensor, invalid_argument
  template <class T> Result<std::span<T>> elements() const {
    if (const char* reason = unfit(dtype_of<T>)) return refuse(dtype_of<T>, reason);
    return std::span<T>{static_cast<T*>(data()), static_cast<std::size_t>(size())};
  }

 private:
  friend struct detail::TensorBody;

  explicit Tensor(detail::TensorBody* body) noexcept : body_{body} {}

  static Sizes span(List list) noexcept { return {list.begin(), list.size()}; }
  template <class T> static void* writable(T* data) noexcept {
    return const_cast<void*>(static_cast<const void*>(data));
  }
  void retain() const noexcept;
  void drop() noexcept;
  static Result<void> check(Sizes sizes, Sizes strides);
  const char* unfit(DType wanted) const noexcept;
  [[gnu::cold]] Error refuse(DType wanted, const char* reason) const;

  detail::TensorBody* body_ = nullptr;
};

namespace detail {

/// What a tensor is. A handle points to one, and never two to the same; tensors of the user's may
/// share one.
struct TensorBody : Block {
  Tensor self;  ///< Stands for this body where a reference to a Tensor is asked for; never counted.
  Storage* storage;     ///< Null where the tensor behind a handle is undefined.
  std::byte* data;      ///< The first element.
  std::int64_t offset;  ///< Of it in the storage, in elements.
  std::int64_t count;   ///< Of elements.
  DType dtype;
  std::uint32_t rank;
  std::int64_t numbers[2];  ///< The sizes, then the strides; there is room for 2 * rank.

  std::int64_t* sizes() noexcept { return numbers; }
  std::int64_t* strides() noexcept { return numbers + rank; }
  const std::int64_t* sizes() const noexcept { return numbers; }
  const std::int64_t* strides() const noexcept { return numbers + rank; }

  static TensorBody* of(AtenTensorHandle handle) noexcept {
    return reinterpret_cast<TensorBody*>(handle);
  }
  static TensorBody* of(const Tensor& tensor) noexcept { return tensor.body_; }
  /// Null for null.
  static AtenTensorHandle handle(TensorBody* body) noexcept {
    return reinterpret_cast<AtenTensorHandle>(body);
  }

  /// A tensor that takes a reference to the body over, and the body that a tensor leaves behind.
  static Tensor owner_of(TensorBody* body) noexcept { return Tensor{body}; }
  static TensorBody* leave(Tensor&& tensor) noexcept {
    return std::exchange(tensor.body_, nullptr);
  }

  /// A new body whose sizes and strides are not set; null where there is no memory.
  [[gnu::always_inline]] static TensorBody* make(std::size_t rank) noexcept {
    const std::size_t room = rank == 0 ? 2 : 2 * rank;
    auto* body =
        static_cast<TensorBody*>(Pool::allocate(offsetof_numbers() + room * sizeof(std::int64_t)));
    if (body == nullptr) [[unlikely]]
      return nullptr;
    body->self.body_ = body;
    body->rank = static_cast<std::uint32_t>(rank);
    return body;
  }

  /// A new body of an undefined tensor, into which any other can be assigned.
  static TensorBody* make_undefined() noexcept {
    TensorBody* body = make(Tensor::max_rank);
    if (body == nullptr) return nullptr;
    body->rank = 0;
    body->storage = nullptr;
    body->data = nullptr;
    body->offset = body->count = 0;
    body->dtype = DType::float32;
    return body;
  }

  /// Makes the body one for the same elements as another; false where it has no room for that one's
  /// sizes.
  bool assign(const TensorBody& other) noexcept {
    const std::size_t room = Pool::class_size(size_class) - offsetof_numbers();
    if (2 * other.rank * sizeof(std::int64_t) > room) return false;
    if (this == &other) return true;
    Storage* old = storage;
    rank = other.rank;
    copy_from(other);
    if (old != nullptr) release(old);
    return true;
  }

  /// A new body for the same elements; null where there is no memory.
  [[gnu::always_inline]] TensorBody* share() const noexcept {
    TensorBody* body = make(rank);
    if (body == nullptr) [[unlikely]]
      return nullptr;
    body->copy_from(*this);
    return body;
  }

  /// Gives up one reference to the body.
  [[gnu::always_inline]] void drop() noexcept {
    if (references.load() != 1 && references.decrement() != 0) return;
    if (storage != nullptr) release(storage);
    Pool::free(this);
  }

  [[gnu::always_inline]] static void release(Storage* storage) noexcept {
    if (storage->references.load() != 1 && storage->references.decrement() != 0) return;
    if (storage->release != nullptr) [[unlikely]]
      storage->release(storage->context);
    Pool::free(storage);
  }

  bool is_row_major() const noexcept {
    if (count == 0) return true;
    std::int64_t step = 1;
    for (std::uint32_t d = rank; d-- > 0;) {
      if (sizes()[d] != 1 && strides()[d] != step) return false;
      step *= sizes()[d];
    }
    return true;
  }

  /// Sets sizes, strides and count, and tells the bytes from the first element to the last.
  /// @param strides null for row-major
  /// @return why they cannot be; null where they can
  [[gnu::always_inline]] const char* shape(const std::int64_t* size, const std::int64_t* stride,
                                           DType type, std::int64_t& bytes) noexcept {
    const auto element = static_cast<std::int64_t>(element_size(type));
    if (element == 0) [[unlikely]]
      return "the dtype is unknown";
    dtype = type;
    std::int64_t elements = 1, last = 0, step = 1;
    bool overflow = false;
    for (std::uint32_t d = rank; d-- > 0;) {
      const std::int64_t apart = stride != nullptr ? stride[d] : step;
      if (size[d] < 0 || apart < 0) [[unlikely]]
        return "a size or stride is negative";
      sizes()[d] = size[d];
      strides()[d] = apart;
      overflow |= __builtin_mul_overflow(elements, size[d], &elements);
      overflow |= __builtin_mul_overflow(step, size[d] != 0 ? size[d] : 1, &step);
      std::int64_t reach = 0;
      overflow |= __builtin_mul_overflow(size[d] - 1, apart, &reach);
      overflow |= size[d] != 0 && __builtin_add_overflow(last, reach, &last);
    }
    count = elements;
    overflow |= __builtin_mul_overflow(last + 1, element, &bytes);
    if (elements == 0) bytes = 0;
    return overflow && elements != 0 ? "there are more bytes than can be counted" : nullptr;
  }

  /// A new body with memory of its own, or with the caller's; null with a reason where that fails.
  static constexpr const char* no_memory = "out of memory";
  [[gnu::always_inline]] static TensorBody* make_owning(const std::int64_t* sizes,
                                                        const std::int64_t* strides,
                                                        std::size_t rank, DType dtype,
                                                        const char*& reason) noexcept {
    reason = no_memory;
    TensorBody* body = make(rank);
    if (body == nullptr) [[unlikely]]
      return nullptr;
    std::int64_t bytes = 0;
    if (const char* wrong = body->shape(sizes, strides, dtype, bytes)) [[unlikely]] {
      reason = wrong;
      return discard(body);
    }
    auto* storage =
        static_cast<Storage*>(Pool::allocate(sizeof(Storage) + static_cast<std::size_t>(bytes)));
    if (storage == nullptr) [[unlikely]]
      return discard(body);
    storage->data = storage + 1;
    storage->bytes = bytes;
    storage->release = nullptr;
    body->point_at(storage, 0);
    return body;
  }
  static TensorBody* make_using(void* data, const std::int64_t* sizes, const std::int64_t* strides,
                                std::size_t rank, std::int64_t offset, DType dtype,
                                void (*release)(void*), void* context,
                                const char*& reason) noexcept {
    reason = no_memory;
    TensorBody* body = make(rank);
    if (body == nullptr) return nullptr;
    std::int64_t bytes = 0, skipped = 0;
    const char* wrong = body->shape(sizes, strides, dtype, bytes);
    if (wrong == nullptr && data == nullptr && bytes != 0) wrong = "the memory is null";
    const auto element = static_cast<std::int64_t>(element_size(dtype));
    if (wrong == nullptr && (offset < 0 || __builtin_mul_overflow(offset, element, &skipped) ||
                             __builtin_add_overflow(skipped, bytes, &bytes))) {
      wrong = "the offset cannot be";
    }
    if (wrong != nullptr) {
      reason = wrong;
      return discard(body);
    }
    auto* storage = static_cast<Storage*>(Pool::allocate(sizeof(Storage)));
    if (storage == nullptr) return discard(body);
    storage->data = data;
    storage->bytes = bytes;
    storage->release = release;
    storage->context = context;
    body->point_at(storage, offset);
    return body;
  }

  /// Takes over a reference to the storage.
  void point_at(Storage* to, std::int64_t first) noexcept {
    storage = to;
    offset = first;
    data =
        static_cast<std::byte*>(to->data) + first * static_cast<std::int64_t>(element_size(dtype));
  }

 private:
  static constexpr std::size_t offsetof_numbers() noexcept {
    return sizeof(TensorBody) - sizeof numbers;
  }
  [[gnu::always_inline]] void copy_from(const TensorBody& other) noexcept {
    storage = other.storage;
    if (storage != nullptr) storage->references.increment();
    data = other.data;
    offset = other.offset;
    count = other.count;
    dtype = other.dtype;
    for (std::uint32_t i = 0; i < 2 * rank; ++i) numbers[i] = other.numbers[i];
  }
  [[gnu::cold]] static TensorBody* discard(TensorBody* body) noexcept {
    Pool::free(body);
    return nullptr;
  }
};

[[gnu::cold]] inline Error not_made(const char* operation, const char* reason) {
  const bool memory = reason == TensorBody::no_memory;
  return {memory ? Errc::out_of_memory : Errc::invalid_argument, operation, reason};
}

}  // namespace detail

inline void Tensor::retain() const noexcept {
  if (body_ != nullptr) body_->references.increment();
}
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
inline std::int64_t Tensor::size() const noexcept { return body_->count; }
inline bool Tensor::is_row_major() const noexcept { return body_->is_row_major(); }
inline void* Tensor::data() const noexcept { return body_ != nullptr ? body_->data : nullptr; }

inline Result<Tensor> Tensor::empty(DType dtype, Sizes sizes, Sizes strides) {
  if (auto done = check(sizes, strides); !done) return std::move(done).error();
  const char* reason = nullptr;
  detail::TensorBody* body = detail::TensorBody::make_owning(
      sizes.data(), strides.empty() ? nullptr : strides.data(), sizes.size(), dtype, reason);
  if (body == nullptr) return detail::not_made("Tensor::empty", reason);
  return Tensor{body};
}

inline Result<Tensor> Tensor::adopt(DType dtype, void* data, Sizes sizes, Sizes strides,
                                    void (*release)(void*), void* context) {
  if (auto done = check(sizes, strides); !done) return std::move(done).error();
  const char* reason = nullptr;
  detail::TensorBody* body =
      detail::TensorBody::make_using(data, sizes.data(), strides.empty() ? nullptr : strides.data(),
                                     sizes.size(), 0, dtype, release, context, reason);
  if (body == nullptr) return detail::not_made("Tensor::borrow", reason);
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
  return body_->is_row_major() ? nullptr : "the elements do not lie in row-major order";
}

inline Error Tensor::refuse(DType wanted, const char* reason) const {
  if (!defined()) return {Errc::undefined_tensor, "Tensor::elements", reason};
  return {Errc::invalid_argument, "Tensor::elements",
          detail::concat({reason, ": found ", to_string(dtype()), " of strides ",
                          detail::join(strides()), ", expected ", to_string(wanted)})};
}

}  // namespace aoti
