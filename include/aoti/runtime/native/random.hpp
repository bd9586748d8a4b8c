// SPDX-License-Identifier: BSD-3-Clause
// Random numbers on the native runtime: those of torch's generator for the CPU.
#pragma once

#include <pthread.h>
#if defined(__APPLE__)
#include <sys/random.h>
#endif
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "aoti/runtime/native/functions.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail {

/// The Mersenne Twister MT19937. Unless it is seeded, it takes a seed from the system.
class RandomNumbers {
 public:
  constexpr RandomNumbers() noexcept = default;
  RandomNumbers(const RandomNumbers&) = delete;
  RandomNumbers& operator=(const RandomNumbers&) = delete;

  /// Uses only the lower 32 bits, as in torch.
  void seed(std::uint64_t seed) noexcept {
    const Lock lock{mutex_};
    set(static_cast<std::uint32_t>(seed));
  }

  /// Calls `use(next)`, where next() returns 32 random bits, while no other thread gets numbers.
  template <class Use> void take(Use use) noexcept {
    const Lock lock{mutex_};
    if (!seeded_) {
      std::uint32_t seed = 5489;  // the twister's default, if the system has none
      static_cast<void>(::getentropy(&seed, sizeof seed));
      set(seed);
    }
    use([this] { return next(); });
  }

 private:
  static constexpr std::size_t size = 624, middle = 397;

  struct Lock {
    explicit Lock(pthread_mutex_t& locked) noexcept : mutex{locked} {
      ::pthread_mutex_lock(&mutex);
    }
    Lock(const Lock&) = delete;
    ~Lock() { ::pthread_mutex_unlock(&mutex); }
    pthread_mutex_t& mutex;
  };

  void set(std::uint32_t seed) noexcept {
    for (std::size_t i = 0; i < size; ++i) {
      state_[i] = seed;
      seed = 1812433253u * (seed ^ seed >> 30) + static_cast<std::uint32_t>(i + 1);
    }
    at_ = size;
    seeded_ = true;
  }
  std::uint32_t next() noexcept {
    if (at_ == size) {
      for (std::size_t i = 0; i < size; ++i) {
        const std::uint32_t bits =
            (state_[i] & 0x80000000u) | (state_[(i + 1) % size] & 0x7fffffffu);
        state_[i] = state_[(i + middle) % size] ^ bits >> 1 ^ ((bits & 1) != 0 ? 0x9908b0dfu : 0u);
      }
      at_ = 0;
    }
    std::uint32_t bits = state_[at_++];
    bits ^= bits >> 11;
    bits ^= bits << 7 & 0x9d2c5680u;
    bits ^= bits << 15 & 0xefc60000u;
    return bits ^ bits >> 18;
  }

  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  std::uint32_t state_[size] = {};
  std::size_t at_ = 0;
  bool seeded_ = false;
};
inline constinit RandomNumbers random_numbers;

}  // namespace detail

/// Operators that return random numbers. Compiled models use just one: they take a seed from it,
/// and compute everything else that is random (dropout, rand, normal, bernoulli) from that.
struct RandomOperators {
  /// Fills `out` with integers from `low` up to, but not including, `high`.
  static AOTITorchError randint_low_out(AtenTensorHandle out, std::int64_t low, std::int64_t high,
                                        const std::int64_t* sizes, std::int64_t rank) noexcept {
    constexpr const char* name = abi::imported::cpu_randint_low_out::symbol;
    detail::TensorBody& to = *detail::TensorBody::of(out);
    bool same = rank == to.rank;
    for (std::uint32_t d = 0; same && d < to.rank; ++d) same = sizes[d] == to.sizes()[d];
    if (!same) return NativeFunctions::fail(name, "the output has other sizes");
    if (low >= high) return NativeFunctions::fail(name, "there is no number in the range");
    const detail::Number least = detail::number_of(low), most = detail::number_of(high - 1);
    if (!detail::is_real(to.dtype) || !holds(to.dtype, least) || !holds(to.dtype, most)) {
      return NativeFunctions::fail(name, "not for this dtype, or a number does not fit it");
    }
    // In the order of the elements in memory.
    std::uint32_t inner_to_outer[Tensor::max_rank];
    detail::order_by_stride(to, inner_to_outer);
    std::int64_t outer_sizes[Tensor::max_rank], outer_strides[Tensor::max_rank];
    for (std::uint32_t d = 0; d < to.rank; ++d) {
      outer_sizes[d] = to.sizes()[inner_to_outer[to.rank - 1 - d]];
      outer_strides[d] = to.strides()[inner_to_outer[to.rank - 1 - d]];
    }
    const auto element = static_cast<std::int64_t>(element_size(to.dtype));
    const std::uint64_t range = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
    detail::random_numbers.take([&](auto next) {
      detail::for_each_index(outer_sizes, to.rank, [&](const std::int64_t* index) {
        std::uint64_t bits = next();
        if (range >= 1u << 28) bits = bits << 32 | next();
        const auto number =
            static_cast<std::int64_t>(bits % range + static_cast<std::uint64_t>(low));
        std::byte* at = to.data + detail::offset_of(index, outer_strides, to.rank) * element;
        detail::write_number(to.dtype, at, detail::number_of(number));
      });
    });
    return 0;
  }

 private:
  /// Whether a dtype can represent a number exactly.
  static bool holds(DType dtype, const detail::Number& number) noexcept {
    std::byte bytes[16];
    detail::write_number(dtype, bytes, number);
    const detail::Number found = detail::read_number(dtype, bytes);
    return detail::fits<std::int64_t>(found) &&
           detail::to<std::int64_t>(found) == static_cast<std::int64_t>(number.integer);
  }
};

}  // namespace aoti::inline AOTI_ABI
