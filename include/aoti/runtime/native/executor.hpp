// SPDX-License-Identifier: BSD-3-Clause
// Operators that models call through a proxy executor, without libtorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/file/json.hpp"
#include "aoti/package/package.hpp"
#include "aoti/result.hpp"
#include "aoti/runtime/native.hpp"
#include "aoti/runtime/native/operator.hpp"
#include "aoti/runtime/serialized.hpp"

namespace aoti::inline AOTI_ABI {
namespace detail {

/// One call of an operator: its fixed values, and what each run passes.
class NativeCall {
 public:
  /// @errors damaged_package (the call does not fit the operator), unsupported (an argument or a
  ///         result of a kind that operators here lack)
  static Result<NativeCall> make(const NativeOperator& row, const BasicJson<>& node,
                                 const std::string& origin) {
    NativeCall call{row};
    const std::string operation = origin + " " + row.name;
    for (const BasicJson<>& input : node["inputs"].items) {
      AOTI_TRYV(call.add(input["name"].string, input["arg"], operation));
    }
    for (std::size_t i = 0; i < row.parameter_count; ++i) {
      if (row.optional[i] || call.given_[i].kind != Kind::none) continue;
      return Error{Errc::damaged_package, operation,
                   concat({"the call lacks the argument ", call.name_of(i)})};
    }
    for (const BasicJson<>& output : node["outputs"].items) {
      const std::string tag = output.keys.size() == 1 ? output.keys[0] : "";
      if (tag != "as_tensor" && tag != "as_optional_tensor" && tag != "as_none") {
        return Error{Errc::unsupported, operation,
                     concat({"a result is of an unknown kind: ", tag})};
      }
      const bool none =
          tag == "as_none" || (tag == "as_optional_tensor" && output.items[0].keys.size() == 1 &&
                               output.items[0].keys[0] == "as_none");
      call.wanted_.push_back(!none);
      call.tensors_ += none ? 0 : 1;
    }
    if (call.wanted_.size() != row.result_count) {
      return Error{Errc::damaged_package, operation,
                   "it returns a different number of results than the model takes"};
    }
    return call;
  }

  /// `tensors` are those of the arguments, followed by those to write results to.
  AOTITorchError run(std::span<const std::int64_t> integers,
                     std::span<const AtenTensorHandle> tensors) const noexcept {
    if (integers.size() != integers_ || tensors.size() != tensors_) {
      return NativeFunctions::fail(row_->name, "the model gives another number of arguments");
    }
    OperatorArgument arguments[NativeOperator::max_parameters];
    const std::int64_t* integer = integers.data();
    const AtenTensorHandle* tensor = tensors.data();
    // In the order of the call, which may differ from that of the parameters.
    for (const std::size_t i : order_) {
      const Given& given = given_[i];
      OperatorArgument& argument = arguments[i];
      argument = {given.kind, tensor, integer, given.count, given.floating, given.text};
      if (given.kind == Kind::tensors) {
        for (std::size_t k = 0; k < given.count; ++k) {
          if (TensorBody::of(*tensor++)->storage == nullptr) {
            return NativeFunctions::fail(row_->name, "a tensor is undefined");
          }
        }
      } else if (given.kind == Kind::integers) {
        if (given.is_fixed) {
          argument.integers = &given.fixed;
        } else {
          integer += given.count;
        }
      }
    }
    const Unplaced unplaced;
    OperatorResult results[NativeOperator::max_results];
    if (const char* wrong = row_->call(arguments, results)) {
      return NativeFunctions::fail(row_->name, wrong);
    }
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      if (!wanted_[i]) continue;
      AtenTensorHandle made = nullptr;
      results[i].give(&made);
      const bool assigned =
          made != nullptr && TensorBody::of(*tensor++)->assign(*TensorBody::of(made));
      if (made != nullptr) TensorBody::of(made)->drop();
      if (!assigned) return NativeFunctions::fail(row_->name, "a result has no place to go to");
    }
    return 0;
  }

  const NativeOperator& row() const noexcept { return *row_; }

 private:
  using Kind = OperatorArgument::Kind;
  using Takes = NativeOperator::Takes;

  struct Given {
    Kind kind = Kind::none;
    bool is_fixed = false;  // for an integer: the others are passed by each run
    std::size_t count = 0;
    std::int64_t fixed = 0;
    double floating = 0;
    std::string text;
  };

  explicit NativeCall(const NativeOperator& row) : row_{&row}, given_(row.parameter_count) {}

  std::string_view name_of(std::size_t parameter) const noexcept {
    std::string_view names = row_->parameters;
    for (; parameter > 0; --parameter) names.remove_prefix(names.find(' ') + 1);
    return names.substr(0, names.find(' '));
  }

  Result<void> add(const std::string& name, const BasicJson<>& arg, const std::string& operation) {
    std::size_t at = 0;
    while (at < row_->parameter_count && name_of(at) != name) ++at;
    if (at == row_->parameter_count) {
      return Error{Errc::unsupported, operation, concat({"its argument ", name, " is unknown"})};
    }
    const auto wrong = [&](std::string_view tag) -> Result<void> {
      return Error{Errc::damaged_package, operation,
                   concat({"found ", tag, " for the argument ", name, ", expected ",
                           word(row_->takes[at])})};
    };
    if (arg.keys.size() != 1) return wrong("nothing");
    std::string_view tag = arg.keys[0];
    const BasicJson<>& value = arg.items[0];
    if (tag == "as_optional_tensor") {
      if (value.keys.size() != 1) return wrong("nothing");
      tag = value.keys[0];
    }
    if (tag == "as_none") {
      return row_->optional[at] ? Result<void>{success()} : wrong("None");
    }
    Given given;
    const Takes takes = row_->takes[at];
    if (tag == "as_tensor" || tag == "as_tensors") {
      if (takes != (tag == "as_tensor" ? Takes::tensor : Takes::tensors)) return wrong(tag);
      given.kind = Kind::tensors;
      given.count = tag == "as_tensor" ? 1 : value.items.size();
      tensors_ += given.count;
    } else if (tag == "as_ints" || tag == "as_sym_ints") {
      if (takes != Takes::integers) return wrong(tag);
      given.kind = Kind::integers;
      given.count = value.items.size();
      integers_ += given.count;
    } else if (tag == "as_int" && takes == Takes::floating) {
      given.kind = Kind::floating;
      given.floating = static_cast<double>(value.integer);
    } else if (tag == "as_int" || tag == "as_sym_int") {
      if (takes != Takes::integer && takes != Takes::number) return wrong(tag);
      given.kind = Kind::integers;
      given.count = 1;
      ++integers_;
    } else if (tag == "as_float") {
      if (takes != Takes::floating && takes != Takes::number) return wrong(tag);
      given.kind = Kind::floating;
      given.floating = value.is(JsonKind::integer)  ? static_cast<double>(value.integer)
                       : value.is(JsonKind::string) ? std::strtod(value.string.c_str(), nullptr)
                                                    : value.number;
    } else if (tag == "as_bool") {
      if (takes != Takes::boolean && takes != Takes::number) return wrong(tag);
      given.kind = Kind::boolean;
      given.floating = value.integer != 0 ? 1 : 0;
    } else if (tag == "as_string") {
      if (takes != Takes::text) return wrong(tag);
      given.kind = Kind::text;
      given.text = value.string;
    } else if (tag == "as_layout" || tag == "as_device") {
      if (takes != Takes::integer) return wrong(tag);
      if (tag == "as_device" && value["type"].string != "cpu") return wrong("another device");
      given.kind = Kind::integers;  // exactly one
      given.is_fixed = true;
      given.count = 1;
    } else if (tag == "as_scalar_type" || tag == "as_memory_format") {
      if (takes != Takes::integer) return wrong(tag);
      using Numbers = std::span<const signed char>;
      const Numbers numbers =
          tag == "as_scalar_type" ? Numbers{serialized_dtypes} : Numbers{serialized_memory_formats};
      const auto i = static_cast<std::size_t>(value.integer);
      given.fixed = value.is(JsonKind::integer) && i < numbers.size() ? numbers[i] : -1;
      if (given.fixed < 0) return wrong(tag);
      given.kind = Kind::integers;
      given.is_fixed = true;
      given.count = 1;
    } else {
      return Error{Errc::unsupported, operation,
                   concat({"the argument ", name, " is of an unknown kind: ", tag})};
    }
    given_[at] = std::move(given);
    order_.push_back(at);
    return success();
  }

  static std::string_view word(Takes takes) noexcept {
    constexpr std::string_view words[] = {"a tensor", "tensors", "an integer", "integers",
                                          "a float",  "a bool",  "a text",     "a number"};
    return words[static_cast<std::size_t>(takes)];
  }

  const NativeOperator* row_;
  std::vector<Given> given_;        // for each parameter
  std::vector<std::size_t> order_;  // of parameters: the order of the call's arguments
  std::vector<bool> wanted_;        // for each result, whether the model takes it
  std::size_t integers_ = 0, tensors_ = 0;
};

/// What a model's runs pass to call_operator() below.
struct NativeExecutor {
  std::vector<NativeCall> calls;
};

/// Whether an operator has failed in this thread since a run began.
inline constinit thread_local bool operator_failed = false;

inline AOTITorchError call_operator(AOTIProxyExecutorHandle handle, int node, int integer_count,
                                    std::int64_t* integers, int tensor_count,
                                    AtenTensorHandle* tensors) noexcept {
  const auto* executor = reinterpret_cast<const NativeExecutor*>(handle);
  AOTITorchError code = 1;
  if (executor == nullptr || node < 0 || static_cast<std::size_t>(node) >= executor->calls.size()) {
    NativeFunctions::fail(abi::imported::proxy_executor_call_function::symbol,
                          "the package does not list this call");
  } else {
    code = executor->calls[static_cast<std::size_t>(node)].run(
        {integers, static_cast<std::size_t>(integer_count)},
        {tensors, static_cast<std::size_t>(tensor_count)});
  }
  operator_failed |= code != 0;
  return code;
}

}  // namespace detail

/// Owns the executor of one model's operators; empty for a model that calls none. Any number of
/// threads may call it in runs.
template <class... Providers> class NativeOperators {
 public:
  static constexpr std::string_view remedy = "give NativeWith a provider that has them";

  /// The operator with a name such as "aten::gcd.out"; null if no provider has it.
  static const NativeOperator* find(std::string_view name) noexcept {
    if (name.ends_with(".default")) name.remove_suffix(8);
    const NativeOperator* found = nullptr;
    const auto look = [&]<class Provider>() {
      if constexpr (OperatorProvider<Provider>) {
        for (const NativeOperator& row : Provider::operators()) {
          if (found == nullptr && row.name == name) found = &row;
        }
      }
    };
    (look.template operator()<Providers>(), ...);
    return found;
  }
  static bool has(const std::string& name) noexcept { return find(name) != nullptr; }

  /// @param nodes the calls, see OperatorCalls
  /// @errors damaged_package, unsupported
  static Result<NativeOperators> make(const PackagedModel& model,
                                      const std::vector<BasicJson<>>& nodes, const std::string&) {
    NativeOperators operators;
    operators.executor_ = std::make_unique<detail::NativeExecutor>();
    for (const BasicJson<>& node : nodes) {
      const NativeOperator* row = find(node["target"].string);
      if (row == nullptr) {
        return Error{
            Errc::unsupported, model.origin,
            detail::concat({"operators of kind ", node["target"].string, " are not supported"})};
      }
      AOTI_TRY(auto call, detail::NativeCall::make(*row, node, model.origin));
      operators.executor_->calls.push_back(std::move(call));
    }
    return operators;
  }

  /// Whether an operator has failed in this thread since begin_run(). Models of earlier torch
  /// releases ignore such failures.
  void begin_run() const noexcept {
    if (executor_ != nullptr) detail::operator_failed = false;
  }
  bool failed() const noexcept { return executor_ != nullptr && detail::operator_failed; }
  std::string take_failure() const {
    detail::operator_failed = false;
    return NativeFunctions::last_error();
  }

  /// What is passed to a model's run; null if there is none.
  AOTIProxyExecutorHandle handle() const noexcept {
    return reinterpret_cast<AOTIProxyExecutorHandle>(executor_.get());
  }

 private:
  std::unique_ptr<detail::NativeExecutor> executor_;
};

namespace detail {

template <class... Providers>
requires(OperatorProvider<Providers> || ...) struct WithOperators<Providers...> {
  using Operators = NativeOperators<Providers...>;

  using Call = abi::imported::proxy_executor_call_function;
  template <class Import> using ProxyFunction = OnlyFunction<Call, &call_operator, Import>;

  static void* proxy_import(std::string_view symbol) noexcept {
    return symbol == Call::symbol ? entry<Call>(&call_operator).function : nullptr;
  }
};

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
