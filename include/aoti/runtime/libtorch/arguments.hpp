// SPDX-License-Identifier: BSD-3-Clause
// The arguments of an operator's call: torch's serialized values, read according to the operator's
// schema.
#pragma once

#include <ATen/core/class_type.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>

#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aoti/file/json.hpp"
#include "aoti/runtime/serialized.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// The objects that a model passes to operators, by the names of the arguments.
using CustomObjects = std::vector<std::pair<std::string, c10::IValue>>;

inline const c10::IValue* find_object(const CustomObjects& objects, const Json& reference) {
  for (const auto& [name, object] : objects) {
    if (name == reference["name"].string) return &object;
  }
  return nullptr;
}

/// The name of a serialized value's kind in errors: "as_ints" is "ints".
inline std::string kind_of(const std::string& tag) {
  return tag == "as_none" ? "None" : tag.substr(tag.starts_with("as_") ? 3 : 0);
}

/// The parts of an argument: fixed values, and those that each run passes.
struct CallArgument {
  enum class Kind : std::uint8_t { fixed, tensor, integer };
  struct Item {
    Kind kind = Kind::fixed;
    c10::IValue fixed{};
  };

  std::size_t index = 0;
  c10::TypePtr element{};  ///< Of a list; null for a single item.
  std::vector<Item> items{};
};

/// Reads the arguments of one call.
class ArgumentReader {
 public:
  using Kind = CallArgument::Kind;
  using Item = CallArgument::Item;

  const std::string& operation;  // for errors
  const c10::FunctionSchema& schema;
  const CustomObjects& objects;
  c10::Device device;

  /// @errors damaged_package, unsupported (the schema does not accept such an argument)
  Result<CallArgument> read(std::size_t index, const Json& arg) const {
    const c10::Argument& formal = schema.arguments()[index];
    if (arg.keys.size() != 1) return damaged("the argument " + formal.name() + " has no value");
    const std::string& tag = arg.keys[0];
    const Json& value = arg.items[0];
    // For sizes, dtypes and the like, the schema has two types: their own, and the one that
    // represents them on the stack.
    c10::TypePtr real = without_optional(formal.real_type()), stacked = formal.type();
    CallArgument argument{.index = index};
    if (!value.is(JsonKind::array)) {
      AOTI_TRY(auto item, make_item(formal, tag, tag, value, *real, *stacked));
      argument.items.push_back(std::move(item));
      return argument;
    }
    const auto list = without_optional(stacked)->cast<c10::ListType>();
    const auto real_list = real->cast<c10::ListType>();
    if (!list || !real_list) return misfit(formal, tag);
    argument.element = list->getElementType();
    real = without_optional(real_list->getElementType());
    const std::string single = tag.substr(0, tag.size() - (tag.ends_with('s') ? 1 : 0));
    for (const Json& element : value.items) {
      const bool tagged = element.keys.size() == 1 && element.keys[0].starts_with("as_") &&
                          element.keys[0] != "as_name";
      AOTI_TRY(
          auto item,
          make_item(formal, tag, tagged ? element.keys[0] : single,  // as_ints is a list of as_int
                    tagged ? element.items[0] : element, *real, *argument.element));
      argument.items.push_back(std::move(item));
    }
    return argument;
  }

  Error damaged(std::string text) const {
    return {Errc::damaged_package, operation, std::move(text)};
  }

  /// An error: the schema does not fit the call.
  Error unfit(std::string text) const {
    return {Errc::unsupported, operation,
            concat({text, "; its schema is ", c10::toString(schema)})};
  }

 private:
  static c10::TypePtr without_optional(const c10::TypePtr& type) {
    const auto optional = type->cast<c10::OptionalType>();
    return optional ? optional->getElementType() : type;
  }

  Error misfit(const c10::Argument& formal, const std::string& tag) const {
    return unfit(concat({"argument '", formal.name(), "': found ", kind_of(tag), ", expected ",
                         formal.real_type()->annotation_str()}));
  }

  static bool is_number(const Json& value) {
    return value.is(JsonKind::integer) || value.is(JsonKind::number) || value.is(JsonKind::string);
  }
  static double number(const Json& value) {
    return value.is(JsonKind::integer)  ? static_cast<double>(value.integer)
           : value.is(JsonKind::string) ? std::strtod(value.string.c_str(), nullptr)  // Infinity
                                        : value.number;
  }

  /// The device with a name, as a value for the stack; None if there is no name.
  c10::IValue device_of(const Json& text, const Json& index = {}) const {
    try {
      c10::Device named{text.string};
      if (index.is(JsonKind::integer)) {
        named.set_index(static_cast<c10::DeviceIndex>(index.integer));
      }
      return named.type() == device.type() ? device
                                           : named;  // the runner's own may have another index
    } catch (const c10::Error&) {
      return {};
    }
  }

  /// One value.
  /// @param given the kind of the whole argument
  /// @param real, stacked its types, see read()
  Result<Item> make_item(const c10::Argument& formal, const std::string& given,
                         const std::string& tag, const Json& value, const c10::Type& real,
                         const c10::Type& stacked) const {
    using Type = c10::TypeKind;
    const Type wanted = real.kind();
    const auto is = [&](auto... kinds) {
      return wanted == Type::AnyType || (... || (wanted == kinds));
    };
    const auto enumerator = [&](std::span<const signed char> values) -> std::int64_t {
      const auto i = static_cast<std::size_t>(value.integer);
      return value.is(JsonKind::integer) && i < values.size() ? values[i] : -1;
    };
    Item item;
    c10::IValue& fixed = item.fixed;
    bool good = true, fits = true;
    if (tag == "as_none") {
      fits = fixed.type()->isSubtypeOf(stacked);
    } else if (tag == "as_tensor") {
      item.kind = Kind::tensor;
      fits = is(Type::TensorType);
    } else if ((tag == "as_int" || tag == "as_sym_int") &&
               is(Type::IntType, Type::SymIntType, Type::NumberType)) {
      item.kind = Kind::integer;
    } else if (tag == "as_int" ||
               tag == "as_bool") {  // Python accepts either in place of several others
      good = value.is(tag == "as_int" ? JsonKind::integer : JsonKind::boolean);
      fits = is(Type::BoolType, Type::SymBoolType, Type::NumberType, Type::FloatType,
                Type::ScalarTypeType, Type::LayoutType, Type::MemoryFormatType);
      if (wanted == Type::FloatType) {
        fixed = static_cast<double>(value.integer);
      } else if (tag == "as_bool" ? is(Type::BoolType, Type::SymBoolType, Type::NumberType)
                                  : wanted == Type::BoolType) {
        fixed = value.integer != 0;
      } else {
        fixed = value.integer;
      }
    } else if (tag == "as_float") {
      good = is_number(value);
      fits = is(Type::FloatType, Type::SymFloatType, Type::NumberType, Type::BoolType);
      fixed = wanted == Type::BoolType ? c10::IValue{number(value) != 0} : number(value);
    } else if (tag == "as_complex") {
      good = is_number(value["real"]) && is_number(value["imag"]);
      fits = is(Type::ComplexType, Type::NumberType);
      fixed = c10::complex<double>{number(value["real"]), number(value["imag"])};
    } else if (tag == "as_string") {
      good = value.is(JsonKind::string);
      fits = is(Type::StringType, Type::DeviceObjType);
      fixed = wanted == Type::DeviceObjType ? device_of(value) : c10::IValue{value.string};
      good = good && !fixed.isNone();
    } else if (tag == "as_scalar_type" || tag == "as_layout" || tag == "as_memory_format") {
      const std::int64_t number = tag == "as_layout"        ? enumerator(serialized_layouts)
                                  : tag == "as_scalar_type" ? enumerator(serialized_dtypes)
                                                            : enumerator(serialized_memory_formats);
      good = number >= 0;
      fits = wanted == (tag == "as_layout"        ? Type::LayoutType
                        : tag == "as_scalar_type" ? Type::ScalarTypeType
                                                  : Type::MemoryFormatType);
      fixed = number;
    } else if (tag == "as_device") {
      fits = is(Type::DeviceObjType);
      fixed = device_of(value["type"], value["index"]);
      good = !fixed.isNone();
    } else if (tag == "as_custom_obj") {
      const c10::IValue* object = find_object(objects, value);
      good = object != nullptr;
      if (good) fixed = *object;
      fits = !good || fixed.type()->isSubtypeOf(stacked);
    } else {  // for others torch passes no values, or no executor has code
      return unfit(concat({"argument '", formal.name(), "': found ", kind_of(given),
                           ", which cannot be passed to an operator; pass it as numbers, strings, "
                           "tensors or lists of these"}));
    }
    if (!fits) return misfit(formal, given);
    if (!good)
      return damaged(concat({"the argument ", formal.name(), " is not of kind ", kind_of(tag)}));
    return item;
  }
};

}  // namespace aoti::inline AOTI_ABI::detail
