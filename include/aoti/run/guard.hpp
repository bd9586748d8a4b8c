// Relations that an exported program demands of the sizes of its inputs, such as
// x.size(0) * x.size(1) == y.size(0): programs that are made once and run at each call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "aoti/load/json.hpp"

namespace aoti {

namespace detail {

// There is a value at hand, and a stack of others. The left operand of an operation is the value at
// hand and the right one a constant or a size; or else the left one comes from the stack and the
// right one is the value at hand.
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
  to_real,  // from here on of real numbers
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
  GuardValue value{};  ///< A constant; of a size the dimension; of a jump where it goes.
};

constexpr std::size_t guard_stack_size = 64;
constexpr std::size_t longest_guard = 1 << 14;  // instructions

}  // namespace detail

/// A relation between sizes of inputs.
struct Guard {
  struct Size {
    std::uint32_t input, dimension;
    friend bool operator==(const Size&, const Size&) = default;
  };

  std::string text{};         ///< How it reads.
  std::vector<Size> sizes{};  ///< Those that occur in it, each once.
  std::vector<detail::GuardInstruction> program{};
  std::size_t brief = 0;  ///< Of how many instructions, two or three, where they need no stack.
};

namespace detail {

/// Python's `//`. @return false where there is no result
inline bool floor_divide(std::int64_t a, std::int64_t b, std::int64_t& quotient) noexcept {
  if (((static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b)) >> 32) == 0 && b != 0) {
    quotient = static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);  // twice as fast
    return true;
  }
  if (b == 0 || (b == -1 && a == std::numeric_limits<std::int64_t>::min())) return false;
  quotient = a / b - (a % b != 0 && (a < 0) != (b < 0));
  return true;
}

/// What an operation on integers makes of two. @return false where there is no result
[[gnu::always_inline]] inline bool calculate(GuardOp op, std::int64_t& a, std::int64_t b) noexcept {
  std::int64_t quotient = 0;
  switch (op) {
    case GuardOp::multiply:
      return !__builtin_mul_overflow(a, b, &a);
    case GuardOp::add:
      return !__builtin_add_overflow(a, b, &a);
    case GuardOp::subtract:
      return !__builtin_sub_overflow(a, b, &a);
    case GuardOp::divide:
      return floor_divide(a, b, a);
    case GuardOp::modulo:
      if (!floor_divide(a, b, quotient)) return false;
      a -= quotient * b;
      return true;
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
    case GuardOp::equal:
      a = a == b;
      return true;
    case GuardOp::unequal:
      a = a != b;
      return true;
    case GuardOp::less:
      a = a < b;
      return true;
    case GuardOp::less_equal:
      a = a <= b;
      return true;
    case GuardOp::greater:
      a = a > b;
      return true;
    case GuardOp::greater_equal:
      a = a >= b;
      return true;
    default:
      return false;
  }
}

/// What an operation makes of a real number and another. @return false where there is no result
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

/// Runs a guard's program, with sizes from `size(input, dimension)`. What cannot be computed, as a
/// divisor is zero or a number too large, does not hold.
template <class Load> [[gnu::always_inline]] inline bool holds(const Guard& guard, Load&& size) {
  using From = GuardInstruction::From;
  const GuardInstruction* const begin = guard.program.data();
  const auto right_of = [&](const GuardInstruction& at) -> std::int64_t {
    return at.from == From::size ? size(at.input, static_cast<std::size_t>(at.value.integer))
                                 : at.value.integer;
  };
  if (guard.brief != 0) [[likely]] {
    std::int64_t a = right_of(begin[0]);
    const GuardInstruction& last = begin[guard.brief - 1];
    const std::int64_t b = right_of(last);
    if (guard.brief == 3 && !calculate(begin[1].op, a, right_of(begin[1]))) return false;
    return last.op == GuardOp::equal ? a == b : calculate(last.op, a, b) && a != 0;
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

/// Makes the program of an expression in JSON: an integer, a real number, [input, dimension] for a
/// size, or ["operation", operand, …].
template <class Json, class HasSize> class GuardCompiler {
 public:
  /// @param has_size whether `has_size(Guard::Size)`: there is an input with such a dimension
  /// @return whether the expression is a relation of at least one size
  static bool compile(const Json& expression, Guard& guard, const HasSize& has_size) {
    GuardCompiler compiler{guard, has_size};
    if (!compiler.emit(expression, Kind::truth) || guard.sizes.empty()) return false;
    bool brief = guard.program.size() == 2 || guard.program.size() == 3;
    for (const GuardInstruction& at : guard.program) {
      const bool first = &at == guard.program.data();
      brief &= first ? at.op == Op::load : at.op > Op::invert && at.op < Op::to_real;
    }
    if (brief) guard.brief = guard.program.size();
    return true;
  }

 private:
  using Op = GuardOp;
  using From = GuardInstruction::From;
  enum class Kind : std::uint8_t { none, integer, real, truth };

  struct Operation {
    std::string_view name;
    Op integers, reals;  // none: operands become reals, or cannot be
    Kind result;         // none: that of the operands
    std::size_t most;    // operands
  };
  static constexpr std::size_t any = static_cast<std::size_t>(-1);
  static constexpr Operation operations[] = {
      {"+", Op::add, Op::real_add, Kind::none, any},
      {"-", Op::subtract, Op::real_subtract, Kind::none, 2},
      {"*", Op::multiply, Op::real_multiply, Kind::none, any},
      {"//", Op::divide, Op::none, Kind::integer, 2},
      {"%", Op::modulo, Op::none, Kind::integer, 2},
      {"&", Op::bit_and, Op::none, Kind::integer, 2},
      {"|", Op::bit_or, Op::none, Kind::integer, 2},
      {"^", Op::bit_xor, Op::none, Kind::integer, 2},
      {"/", Op::none, Op::real_divide, Kind::real, 2},
      {"**", Op::none, Op::real_power, Kind::real, 2},
      {"max", Op::maximum, Op::real_maximum, Kind::none, any},
      {"min", Op::minimum, Op::real_minimum, Kind::none, any},
      {"==", Op::equal, Op::real_equal, Kind::truth, 2},
      {"!=", Op::unequal, Op::real_unequal, Kind::truth, 2},
      {"<", Op::less, Op::real_less, Kind::truth, 2},
      {"<=", Op::less_equal, Op::real_less_equal, Kind::truth, 2},
      {">", Op::greater, Op::real_greater, Kind::truth, 2},
      {">=", Op::greater_equal, Op::real_greater_equal, Kind::truth, 2},
      {"and", Op::end_if_false, Op::none, Kind::truth, any},
      {"or", Op::end_if_true, Op::none, Kind::truth, any},
      {"not", Op::invert, Op::none, Kind::truth, 1},
      {"float", Op::none, Op::none, Kind::real, 1},
      {"sqrt", Op::none, Op::root, Kind::real, 1},
      {"trunc", Op::none, Op::to_integer, Kind::integer, 1},
      {"floor", Op::none, Op::floor, Kind::integer, 1},
      {"ceil", Op::none, Op::ceil, Kind::integer, 1},
      {"round", Op::none, Op::round, Kind::integer, 1},
  };

  GuardCompiler(Guard& guard, const HasSize& has_size) : guard_{guard}, has_size_{has_size} {}

  static const Operation* operation(const Json& json) {
    if (!json.is(JsonKind::array) || json.items.empty()) return nullptr;
    if (!json.items[0].is(JsonKind::string)) return nullptr;
    for (const Operation& known : operations) {
      const bool unary = known.most == 1;
      const std::size_t count = json.items.size() - 1;
      if (json.items[0].string == known.name && count <= known.most && count >= (unary ? 1 : 2)) {
        return &known;
      }
    }
    return nullptr;
  }
  static bool is_size(const Json& json) {
    return json.is(JsonKind::array) && json.items.size() == 2 &&
           json.items[0].is(JsonKind::integer) && json.items[1].is(JsonKind::integer);
  }

  static Kind kind_of(const Json& json) {
    if (json.is(JsonKind::integer) || is_size(json)) return Kind::integer;
    if (json.is(JsonKind::number)) return Kind::real;
    const Operation* known = operation(json);
    if (known == nullptr || known->result != Kind::none) {
      return known == nullptr ? Kind::none : known->result;
    }
    return operands_of(*known, json);
  }
  /// What operands are calculated as.
  static Kind operands_of(const Operation& known, const Json& json) {
    if (known.integers == Op::none) return Kind::real;
    if (known.reals == Op::none) return known.result;
    Kind kind = Kind::integer;
    for (std::size_t i = 1; i < json.items.size(); ++i) {
      const Kind found = kind_of(json.items[i]);
      if (found != Kind::integer && found != Kind::real) return Kind::none;
      if (found == Kind::real) kind = found;
    }
    return kind;
  }

  void add(Op op, From from = From::constant, std::int64_t integer = 0, std::uint32_t input = 0) {
    guard_.program.push_back({op, from, input, {integer}});
  }

  /// Adds what an operation does with a right operand.
  bool apply(Op op, const Json& right, Kind as) {
    if (guard_.program.size() > longest_guard) return false;
    if (right.is(JsonKind::integer) && as == Kind::integer) {
      return add(op, From::constant, right.integer), true;
    }
    if (as == Kind::real && (right.is(JsonKind::number) || right.is(JsonKind::integer))) {
      add(op);
      guard_.program.back().value.real =
          right.is(JsonKind::number) ? right.number : static_cast<double>(right.integer);
      return true;
    }
    if (is_size(right) && as == Kind::integer) {
      const std::int64_t input = right.items[0].integer, dimension = right.items[1].integer;
      constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
      if (input < 0 || dimension < 0 || input > most || dimension > most) return false;
      const Guard::Size size{static_cast<std::uint32_t>(input),
                             static_cast<std::uint32_t>(dimension)};
      if (!has_size_(size)) return false;
      bool known = false;
      for (const Guard::Size& other : guard_.sizes) known |= other == size;
      if (!known) guard_.sizes.push_back(size);
      return add(op, From::size, dimension, size.input), true;
    }
    if (depth_ == guard_stack_size) return false;
    add(Op::push);
    ++depth_;
    if (!emit(right, as)) return false;
    --depth_;
    return add(op, From::stack), true;
  }

  /// Adds what brings the value of an expression to hand.
  bool emit(const Json& json, Kind as) {
    const Kind kind = kind_of(json);
    if (kind == Kind::none || (kind != as && (kind != Kind::integer || as != Kind::real)) ||
        guard_.program.size() > longest_guard) {
      return false;
    }
    const Operation* known = operation(json);
    if (known == nullptr) {
      if (!is_size(json) || as == Kind::integer) return apply(Op::load, json, as);
      return apply(Op::load, json, Kind::integer) && (add(Op::to_real), true);
    }
    const Kind operands = operands_of(*known, json);
    if (operands == Kind::none || !emit(json.items[1], operands)) return false;
    const Op op = operands == Kind::real ? known->reals : known->integers;
    if (op == Op::end_if_false || op == Op::end_if_true) {
      std::vector<std::size_t> jumps;
      for (std::size_t i = 2; i < json.items.size(); ++i) {
        jumps.push_back(guard_.program.size());
        add(op);
        if (!emit(json.items[i], operands)) return false;
      }
      for (const std::size_t jump : jumps) {
        guard_.program[jump].value.integer = static_cast<std::int64_t>(guard_.program.size());
      }
      return true;
    }
    if (known->most == 1) {
      if (op != Op::none) add(op);
      if (known->result == Kind::integer && op != Op::to_integer) add(Op::to_integer);
    }
    for (std::size_t i = 2; i < json.items.size(); ++i) {
      if (!apply(op, json.items[i], operands)) return false;
    }
    if (kind != as) add(Op::to_real);
    return true;
  }

  Guard& guard_;
  const HasSize& has_size_;
  std::size_t depth_ = 0;
};

}  // namespace detail
}  // namespace aoti
