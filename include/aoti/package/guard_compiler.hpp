// SPDX-License-Identifier: BSD-3-Clause
// Compiles the expressions of a package to the programs that guards run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "aoti/file/json.hpp"
#include "aoti/package/guard.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// Compiles an expression in JSON: an integer, a real number, [input, dimension] for a size, or
/// ["operation", operand, …].
template <class Json, class HasSize> class GuardCompiler {
 public:
  /// @param has_size whether there is an input with such a dimension: `has_size(Guard::Size)`
  /// @return whether the expression is a relation of at least one size
  static bool compile(const Json& expression, Guard& guard, const HasSize& has_size) {
    GuardCompiler compiler{guard, has_size};
    if (!compiler.emit(expression, Kind::truth) || guard.sizes.empty()) return false;
    bool brief = guard.program.size() == 2 || guard.program.size() == 3;
    for (const GuardInstruction& at : guard.program) {
      const bool first = &at == guard.program.data();
      brief &= first ? at.op == Op::load : at.op > Op::invert && at.op < Op::to_real;
    }
    if (brief) guard.accepted = accepted_by(guard.program.back().op);
    return true;
  }

 private:
  using Op = GuardOp;
  using From = GuardInstruction::From;
  enum class Kind : std::uint8_t { none, integer, real, truth };

  struct Operation {
    std::string_view name;
    Op integers, reals;  // none: operands become reals, or cannot be of this kind
    Kind result;         // none: that of the operands
    std::size_t most;    // number of operands
  };
  static constexpr std::size_t any = static_cast<std::size_t>(-1);
  static constexpr std::size_t longest = 1 << 14;  // instructions
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
  /// The kind of number that an operation's operands are computed as.
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

  /// Adds the instruction of an operation with a right operand.
  bool apply(Op op, const Json& right, Kind as) {
    if (guard_.program.size() > longest) return false;
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

  /// Adds instructions that make an expression the current value.
  bool emit(const Json& json, Kind as) {
    const Kind kind = kind_of(json);
    if (kind == Kind::none || (kind != as && (kind != Kind::integer || as != Kind::real)) ||
        guard_.program.size() > longest) {
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

}  // namespace aoti::inline AOTI_ABI::detail
