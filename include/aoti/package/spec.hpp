// SPDX-License-Identifier: BSD-3-Clause
// What a model takes and returns: the spec that aoti.export writes into a package's metadata.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/abi/types.hpp"
#include "aoti/file/json.hpp"
#include "aoti/package/constants.hpp"
#include "aoti/package/guard_compiler.hpp"

namespace aoti::inline AOTI_ABI {

/// One dimension: a size in [min, max]. Dynamic ones may be tied to a symbol, such as a batch
/// size that several inputs share: size = scale * symbol + offset.
struct Dimension {
  /// More than the size of any tensor, and small enough to calculate with.
  static constexpr std::int64_t unbounded = std::numeric_limits<std::int64_t>::max() / 2;

  std::int64_t min = 0;
  std::int64_t max = unbounded;
  int symbol = -1;  ///< Index into ModelSpec::symbols, or -1.
  std::int64_t scale = 1;
  std::int64_t offset = 0;
  /// The first dimension of the inputs with the same symbol, which can be this one; -1 if every
  /// size in the range is allowed.
  int first_input = -1;
  int first_dimension = -1;
};

/// A tensor that a model takes or returns.
struct TensorSpec {
  std::string name;
  bool none = false;  ///< Of an output: the model returns None, which is an undefined tensor here.
  bool mutated = false;  ///< Of an input: the model writes to it.
  DType dtype{};
  DeviceType device{};
  std::vector<Dimension> shape;
  /// The memory layout that the compiled code assumes: the dimensions from the outermost to the
  /// innermost, without gaps. Empty for row-major.
  std::vector<int> order;
  /// Strides in elements if the layout has gaps, -1 for one that is not fixed; else empty.
  std::vector<std::int64_t> strides;
  /// Of an input: relations between its sizes and those of earlier inputs.
  std::vector<Guard> guards;
};

/// A model's inputs in the order of the call, and its outputs.
struct ModelSpec {
  static constexpr std::string_view metadata_key = "aoti.spec";

  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<std::string> symbols;
  std::vector<Constant> constants;  ///< In the model's order; empty if the spec has none.
  /// FQNs of weights that no constant stands for: the model does not depend on the `unused` ones;
  /// of the `fixed` ones it has compiled-in values, which do not follow the weights.
  std::vector<std::string> unused;
  std::vector<std::string> fixed;

  /// Parses the JSON text under metadata_key.
  /// @errors damaged_package, unsupported (a later version of the format)
  template <class = void>
  static Result<ModelSpec> parse(std::string_view text, const std::string& origin);
};

namespace detail {

template <class T = void> struct SpecReader {
  using Json = BasicJson<T>;

  const std::string& origin;
  ModelSpec spec;

  [[gnu::cold]] Error bad(std::string_view what) const {
    return {Errc::damaged_package, origin, concat({"the input spec ", what})};
  }

  Result<void> tensors(const Json& list, std::vector<TensorSpec>& out) {
    if (!list.is(JsonKind::array)) return bad("lacks its inputs or outputs");
    for (const Json& item : list.items) {
      TensorSpec tensor;
      tensor.name = item["name"].string;
      tensor.mutated = is_true(item["mutated"]);
      tensor.none = &out == &spec.outputs && item["dtype"].is(JsonKind::null);
      if (tensor.none) {
        out.push_back(std::move(tensor));
        continue;
      }
      if (!parse_dtype(item["dtype"].string, tensor.dtype)) {
        return bad("names no known dtype for " + tensor.name);
      }
      if (!parse_device_type(item["device"].string, tensor.device)) {
        return bad("names no known device for " + tensor.name);
      }
      if (!item["shape"].is(JsonKind::array)) return bad("lacks the shape of " + tensor.name);
      for (const Json& size : item["shape"].items) {
        tensor.shape.push_back(dimension(size));
        if (tensor.shape.back().min < 0 || tensor.shape.back().max < tensor.shape.back().min) {
          return bad("has a bad range for " + tensor.name);
        }
      }
      for (const Json& index : item["order"].items) {
        tensor.order.push_back(std::in_range<int>(index.integer) ? static_cast<int>(index.integer)
                                                                 : -1);
      }
      for (const Json& stride : item["strides"].items) {
        tensor.strides.push_back(stride.is(JsonKind::integer) ? stride.integer : -1);
      }
      if (!is_permutation(tensor.order, tensor.shape.size()) ||
          (!tensor.strides.empty() && tensor.strides.size() != tensor.shape.size())) {
        return bad("has a bad layout for " + tensor.name);
      }
      out.push_back(std::move(tensor));
    }
    return success();
  }

  static bool is_true(const Json& json) { return json.is(JsonKind::boolean) && json.integer != 0; }

  static bool integers(const Json& list, std::vector<std::int64_t>& out) {
    for (const Json& item : list.items) {
      if (!item.is(JsonKind::integer)) return false;
      out.push_back(item.integer);
    }
    return list.is(JsonKind::array);
  }

  static std::vector<std::string> texts(const Json& list, std::string_view key = {}) {
    std::vector<std::string> found;
    for (const Json& item : list.items) {
      found.push_back(key.empty() ? item.string : item[key].string);
    }
    return found;
  }

  /// Constants that are not as expected are left undescribed.
  void constants(const Json& list) {
    for (const Json& item : list.items) {
      Constant& constant = spec.constants.emplace_back();
      constant.name = item["name"].string;
      constant.fqn = item["fqn"].string;
      constant.aliases = texts(item["aliases"]);
      constant.described = parse_dtype(item["dtype"].string, constant.dtype) &&
                           integers(item["shape"], constant.shape);
      if (DeviceType type{}; parse_device_type(item["device"].string, type)) constant.device = type;
      // Only layouts other than strided are named, and have no strides.
      constant.described &= item["layout"].is(JsonKind::null);
      constant.derived = is_true(item["derived"]);
      constant.mutated = is_true(item["mutated"]);
      const Json& offset = item["offset"];
      if (offset.is(JsonKind::integer) && offset.integer > 0) {
        constant.offset = static_cast<std::size_t>(offset.integer);
      }
      if (item["strides"].is(JsonKind::null)) {
        constant.strides = row_major_strides(constant.shape);
      } else {
        constant.described &= integers(item["strides"], constant.strides);
      }
    }
  }

  Dimension dimension(const Json& json) {
    constexpr Dimension no_range{.min = 0, .max = -1};
    if (json.is(JsonKind::integer)) return {.min = json.integer, .max = json.integer};
    if (!json.is(JsonKind::object)) return no_range;
    const auto number = [&json](std::string_view key, std::int64_t otherwise) {
      return json[key].is(JsonKind::integer) ? json[key].integer : otherwise;
    };
    Dimension dimension{.min = number("min", 0),
                        .max = number("max", Dimension::unbounded),
                        .scale = number("scale", 1),
                        .offset = number("offset", 0)};
    if (dimension.max > Dimension::unbounded) dimension.max = Dimension::unbounded;
    // Scaled sizes of tensors must not overflow.
    constexpr std::int64_t limit = std::int64_t{1} << 31;
    if (dimension.scale == 0 || dimension.scale < -limit || dimension.scale > limit ||
        dimension.offset < -limit || dimension.offset > limit) {
      return no_range;
    }
    if (json["symbol"].is(JsonKind::string)) {
      const std::string& name = json["symbol"].string;
      std::size_t index = 0;
      while (index < spec.symbols.size() && spec.symbols[index] != name) ++index;
      dimension.symbol = static_cast<int>(index);
      if (index == spec.symbols.size()) spec.symbols.push_back(name);
    }
    return dimension;
  }

  static bool is_permutation(const std::vector<int>& order, std::size_t size) {
    if (order.empty()) return true;
    std::vector<bool> seen(size);
    for (const int index : order) {
      if (index < 0 || static_cast<std::size_t>(index) >= size || seen[index]) return false;
      seen[index] = true;
    }
    return order.size() == size;
  }

  /// Assigns each relation to the last of its inputs.
  Result<void> guards(const Json& list) {
    if (!list.is(JsonKind::array) && !list.is(JsonKind::null)) return bad("has bad guards");
    const auto has_size = [this](const Guard::Size& size) {
      return size.input < spec.inputs.size() &&
             size.dimension < spec.inputs[size.input].shape.size();
    };
    for (const Json& item : list.items) {
      Guard guard{.text = item["text"].string};
      if (!GuardCompiler<Json, decltype(has_size)>::compile(item["check"], guard, has_size)) {
        return bad(concat({"has an invalid guard: ", guard.text}));
      }
      std::uint32_t last = 0;
      for (const Guard::Size& size : guard.sizes) last = size.input > last ? size.input : last;
      spec.inputs[last].guards.push_back(std::move(guard));
    }
    return success();
  }

  /// Points every dimension of the inputs to the first one with its symbol.
  void link_symbols() {
    std::vector<std::pair<int, int>> first(spec.symbols.size(), {-1, -1});
    for (int i = 0; i < static_cast<int>(spec.inputs.size()); ++i) {
      auto& shape = spec.inputs[static_cast<std::size_t>(i)].shape;
      for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
        auto& dimension = shape[static_cast<std::size_t>(d)];
        if (dimension.symbol < 0) continue;
        auto& [input, index] = first[static_cast<std::size_t>(dimension.symbol)];
        if (input < 0) {
          input = i;
          index = d;
          if (dimension.scale == 1) continue;
        }
        dimension.first_input = input;
        dimension.first_dimension = index;
      }
    }
  }
};

}  // namespace detail

template <class T>
Result<ModelSpec> ModelSpec::parse(std::string_view text, const std::string& origin) {
  AOTI_TRY(const auto json, BasicJson<T>::parse(text, origin + " input spec"));
  detail::SpecReader<T> reader{origin, {}};
  if (!json["version"].is(JsonKind::integer)) return reader.bad("has no version");
  if (json["version"].integer != 1 && json["version"].integer != 2) {
    return Error{Errc::unsupported, origin,
                 detail::concat({"the input spec has version ", json["version"].integer,
                                 "; this library reads versions 1 and 2"})};
  }
  AOTI_TRYV(reader.tensors(json["inputs"], reader.spec.inputs));
  AOTI_TRYV(reader.tensors(json["outputs"], reader.spec.outputs));
  AOTI_TRYV(reader.guards(json["guards"]));
  reader.link_symbols();
  reader.constants(json["constants"]);
  reader.spec.unused = reader.texts(json["unused"]);
  reader.spec.fixed = reader.texts(json["fixed"], "fqn");
  return std::move(reader.spec);
}

}  // namespace aoti::inline AOTI_ABI
