// SPDX-License-Identifier: BSD-3-Clause
// Relations that an exported program requires between the sizes of its inputs, such as x.size(0) *
// x.size(1) == y.size(0): compiled once to programs that run at each call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI {

namespace detail {

// The machine has a current value, and a stack of others. An operation's left operand is the
// current value, and its right operand a constant or a size; or else the left operand comes from
// the stack, and the right one is the current value.
enum class GuardOp : std::uint8_t {
  none,
  load,
  push,
  end_if_false,
  end_if_true,
  invert,
  add,
  subtract,
  multiply,
  divide,
  modulo,
  bit_and,
  bit_or,
  bit_xor,
  maximum,
  minimum,
  equal,
  unequal,
  less,
  less_equal,
  greater,
  greater_equal,
  to_real,  // from here on, of real numbers
  to_integer,
  floor,
  ceil,
  round,
  root,
  real_add,
  real_subtract,
  real_multiply,
  real_divide,
  real_power,
  real_maximum,
  real_minimum,
  real_equal,
  real_unequal,
  real_less,
  real_less_equal,
  real_greater,
  real_greater_equal,
};

union GuardValue {
  std::int64_t integer;
  double real;
};

struct GuardInstruction {
  enum class From : std::uint8_t { constant, size, stack };

  GuardOp op{};
  From from{};
  std::uint32_t input = 0;
  GuardValue value{};  ///< A constant; for a size, the dimension; for a jump, the target.
};

constexpr std::size_t guard_stack_size = 64;

}  // namespace detail

/// A relation between sizes of inputs.
struct Guard {
  struct Size {
    std::uint32_t input, dimension;
    friend bool operator==(const Size&, const Size&) = default;
  };

  std::string text{};         ///< The relation as text.
  std::vector<Size> sizes{};  ///< The sizes that occur in it, each once.
  std::vector<detail::GuardInstruction> program{};
  /// If the program is two or three instructions that need no stack: the accepted outcomes of its
  /// last one, a comparison, one bit each for equal, greater and less. Else 0.
  std::uint8_t accepted = 0;
};

namespace detail {

/// Whether Guard::accepted includes the outcome of this comparison.
inline bool accepts(std::uint8_t accepted, std::int64_t a, std::int64_t b) noexcept {
  return (accepted & (a == b ? 0b001 : a > b ? 0b010 : 0b100)) != 0;
}
constexpr std::uint8_t accepted_by(GuardOp comparison) noexcept {
  constexpr std::uint8_t masks[] = {0b001, 0b110, 0b100, 0b101, 0b010, 0b011};  // from equal on
  const auto i = static_cast<std::size_t>(comparison) - static_cast<std::size_t>(GuardOp::equal);
  return i < sizeof masks ? masks[i] : std::uint8_t{0};
}

/// Whether both are in [0, 2^32), where division takes half the time.
inline bool are_narrow(std::int64_t a, std::int64_t b) noexcept {
  return ((static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b)) >> 32) == 0;
}
/// Python's `//` or, if `remainder`, `%`. @return false if there is no result
template <bool remainder> inline bool floor_divide(std::int64_t& a, std::int64_t b) noexcept {
  if (b == 0) return false;
  if (are_narrow(a, b)) {
    const auto x = static_cast<std::uint32_t>(a), y = static_cast<std::uint32_t>(b);
    a = remainder ? x % y : x / y;
    return true;
  }
  if (b == -1 && a == std::numeric_limits<std::int64_t>::min()) return false;
  const std::int64_t rest = a % b;
  const bool rounds_down = rest != 0 && (a < 0) != (b < 0);
  a = remainder ? rest + (rounds_down ? b : 0) : a / b - rounds_down;
  return true;
}

/// Applies an operation to two integers. @return false if there is no result
[[gnu::always_inline]] inline bool calculate(GuardOp op, std::int64_t& a, std::int64_t b) noexcept {
  switch (op) {
    case GuardOp::multiply:
      return !__builtin_mul_overflow(a, b, &a);
    case GuardOp::add:
      return !__builtin_add_overflow(a, b, &a);
    case GuardOp::subtract:
      return !__builtin_sub_overflow(a, b, &a);
    case GuardOp::divide:
      return floor_divide<false>(a, b);
    case GuardOp::modulo:
      return floor_divide<true>(a, b);
    case GuardOp::bit_and:
      a &= b;
      return true;
    case GuardOp::bit_or:
      a |= b;
      return true;
    case GuardOp::bit_xor:
      a ^= b;
      return true;
    case GuardOp::maximum:
      a = a < b ? b : a;
      return true;
    case GuardOp::minimum:
      a = b < a ? b : a;
      return true;
    default:
      a = accepts(accepted_by(op), a, b);
      return true;
  }
}

/// Applies an operation to real numbers. @return false if there is no result
inline bool calculate(GuardOp op, GuardValue& left, double y) noexcept {
  constexpr double limit = 9223372036854775808.0;
  double& x = left.real;
  std::int64_t& a = left.integer;
  switch (op) {
    case GuardOp::to_real:
      x = static_cast<double>(a);
      return true;
    case GuardOp::to_integer:
      if (!(x >= -limit && x < limit)) return false;
      a = static_cast<std::int64_t>(x);
      return true;
    case GuardOp::floor:
      x = __builtin_floor(x);
      return true;
    case GuardOp::ceil:
      x = __builtin_ceil(x);
      return true;
    case GuardOp::round:
      x = __builtin_nearbyint(x);
      return true;
    case GuardOp::root:
      if (!(x >= 0)) return false;
      x = __builtin_sqrt(x);
      return true;
    case GuardOp::real_add:
      x += y;
      return true;
    case GuardOp::real_subtract:
      x -= y;
      return true;
    case GuardOp::real_multiply:
      x *= y;
      return true;
    case GuardOp::real_divide:
      if (y == 0) return false;
      x /= y;
      return true;
    case GuardOp::real_power:
      if (x < 0 || (x == 0 && y < 0)) return false;
      x = __builtin_pow(x, y);
      return true;
    case GuardOp::real_maximum:
      x = x < y ? y : x;
      return true;
    case GuardOp::real_minimum:
      x = y < x ? y : x;
      return true;
    case GuardOp::real_equal:
      a = x == y;
      return true;
    case GuardOp::real_unequal:
      a = x != y;
      return true;
    case GuardOp::real_less:
      a = x < y;
      return true;
    case GuardOp::real_less_equal:
      a = x <= y;
      return true;
    case GuardOp::real_greater:
      a = x > y;
      return true;
    case GuardOp::real_greater_equal:
      a = x >= y;
      return true;
    default:
      return false;
  }
}

/// Runs a guard's program, with sizes from `size(input, dimension)`. A guard that cannot be
/// computed, because of a zero divisor or an overflow, does not hold.
template <class Load> [[gnu::always_inline]] inline bool holds(const Guard& guard, Load&& size) {
  using From = GuardInstruction::From;
  const GuardInstruction* const begin = guard.program.data();
  const auto right_of = [&](const GuardInstruction& at) -> std::int64_t {
    return at.from == From::size ? size(at.input, static_cast<std::size_t>(at.value.integer))
                                 : at.value.integer;
  };
  if (guard.accepted != 0) [[likely]] {
    std::int64_t a = right_of(begin[0]);
    const GuardInstruction* last = &guard.program.back();
    const std::int64_t b = right_of(*last);
    if (last != begin + 1) {
      const std::int64_t middle = right_of(begin[1]);
      if (begin[1].op == GuardOp::multiply) [[likely]] {
        if (__builtin_mul_overflow(a, middle, &a)) return false;
      } else if (!calculate(begin[1].op, a, middle)) {
        return false;
      }
    }
    return accepts(guard.accepted, a, b);
  }
  const std::size_t count = guard.program.size();
  GuardValue stack[guard_stack_size], left{};
  GuardValue* top = stack;
  for (std::size_t k = 0; k < count; ++k) {
    const GuardInstruction& at = begin[k];
    GuardValue right{right_of(at)};
    if (at.from == From::stack) {
      right = left;
      left = *--top;
    }
    const std::size_t target = static_cast<std::size_t>(right.integer) - 1;
    switch (at.op) {
      case GuardOp::load:
        left = right;
        break;
      case GuardOp::push:
        *top++ = left;
        break;
      case GuardOp::invert:
        left.integer = left.integer == 0;
        break;
      case GuardOp::end_if_false:
        k = left.integer == 0 ? target : k;
        break;
      case GuardOp::end_if_true:
        k = left.integer != 0 ? target : k;
        break;
      default:
        if (!(at.op < GuardOp::to_real ? calculate(at.op, left.integer, right.integer)
                                       : calculate(at.op, left, right.real))) {
          return false;
        }
    }
  }
  return left.integer != 0;
}

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
