// SPDX-License-Identifier: BSD-3-Clause
// The operators that a model calls through a proxy executor: their names, whether they exist, and
// the executor.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "aoti/file/json.hpp"
#include "aoti/image/image.hpp"
#include "aoti/package/package.hpp"
#include "aoti/runtime/refinements.hpp"

namespace aoti::inline AOTI_ABI {

/// What a package says about the operators that its model calls through a proxy executor: custom
/// ones, and torch operators that have no C function.
template <class T = void> struct BasicOperatorCalls {
  using Json = BasicJson<T>;

  /// The operators ("mylib::scale", "aten::gcd.out"), and the classes of the objects that are
  /// passed to them ("__torch__.torch.classes.mylib.Table"), each once, in the order of the first
  /// call.
  std::vector<std::string> names;
  /// Those that were written in Python, which no library defines.
  std::vector<std::string> in_python;
  /// The calls as torch writes them, each with target, inputs and outputs.
  std::vector<Json> nodes;

  /// @errors damaged_package
  static Result<BasicOperatorCalls> read(const PackagedModel& model) {
    BasicOperatorCalls calls;
    if (model.extern_nodes.empty()) return calls;
    AOTI_TRY(const auto json,
             Json::parse(detail::as_text(model.extern_nodes), model.origin + " extern nodes"));
    for (const Json& item : json["nodes"].items) {
      const Json& node = item["node"];
      if (!node["target"].is(JsonKind::string) || !node["inputs"].is(JsonKind::array) ||
          !node["outputs"].is(JsonKind::array)) {
        return damaged(model, "a call lacks its target, inputs or outputs");
      }
      const std::string& target = node["target"].string;
      if (target != "call_torchbind") add(calls.names, target);  // else a method
      if (node["metadata"]["torch_library_custom_op"].string == "1") add(calls.in_python, target);
      for (const Json& input : node["inputs"].items) {
        const Json& object = input["arg"]["as_custom_obj"];
        if (object.is(JsonKind::object)) add(calls.names, object["class_fqn"].string);
      }
      calls.nodes.push_back(node);
    }
    if (!json["nodes"].is(JsonKind::array)) return damaged(model, "there is no list");
    return calls;
  }

 private:
  static Error damaged(const PackagedModel& model, const char* what) {
    return {Errc::damaged_package, model.origin, detail::concat({"extern nodes: ", what})};
  }
  static void add(std::vector<std::string>& names, const std::string& name) {
    for (const std::string& known : names) {
      if (known == name) return;
    }
    names.push_back(name);
  }
};

using OperatorCalls = BasicOperatorCalls<>;

namespace detail {

/// For a runtime that runs no operators.
struct NoOperators {
  static constexpr AOTIProxyExecutorHandle handle() noexcept { return nullptr; }
  static constexpr void begin_run() noexcept {}
  static constexpr bool failed() noexcept { return false; }
  static std::string take_failure() { return {}; }
};

template <class Runtime> struct OperatorsOf { using type = NoOperators; };
template <RunsOperators Runtime> struct OperatorsOf<Runtime> {
  using type = typename Runtime::Operators;
};

/// Makes the executor of a model that needs one.
/// @errors damaged_package, missing_import (lists all operators that are missing), unsupported (the
///         runtime runs none; a bare image without its list of operators)
template <class Runtime>
Result<typename OperatorsOf<Runtime>::type> open_operators(const PackagedModel& model,
                                                           const Image& image,
                                                           const std::string& device) {
  using Operators = typename OperatorsOf<Runtime>::type;
  AOTI_TRY(const auto calls, OperatorCalls::read(model));
  if (calls.nodes.empty()) {
    for (const ImageImport& import : image.imports()) {
      if (import.name != "aoti_torch_proxy_executor_call_function") continue;
      return Error{Errc::unsupported, model.origin,
                   "the model calls operators through a proxy executor, but found no list of them: "
                   "it is in the package, or X.json beside a bare image X.so"};
    }
    return Operators{};
  }
  if constexpr (std::is_same_v<Operators, NoOperators>) {
    return Error{Errc::unsupported, model.origin,
                 concat({"the model calls operators through a proxy executor, which this tensor "
                         "runtime lacks; choose aoti::LibtorchWithOperators of "
                         "aoti/runtime/libtorch_operators.hpp, which runs all models: ",
                         join(calls.names)})};
  } else {
    std::vector<std::string> missing;
    for (const std::string& name : calls.names) {
      if (Operators::has(name)) continue;
      missing.push_back(name);
      for (const std::string& python : calls.in_python) {
        if (python == name) missing.back() += " (written in Python)";
      }
    }
    if (missing.empty()) return Operators::make(model, calls.nodes, device);
    std::string_view remedy =
        "give the libraries that define them as OpenOptions::operator_libraries";
    if constexpr (requires { Operators::remedy; }) remedy = Operators::remedy;
    return Error{
        Errc::missing_import, model.origin,
        concat({"this process lacks operators or classes; ", remedy, ": ", join(missing)})};
  }
}

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
