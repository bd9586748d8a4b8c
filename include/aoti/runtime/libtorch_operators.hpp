// SPDX-License-Identifier: BSD-3-Clause
// The tensor runtime on libtorch that also runs the operators that a model calls through a proxy
// executor, both torch's own and custom ones. A separate header, since it takes twice as long to
// compile.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/function.h>
#include <torch/csrc/inductor/aoti_torch/proxy_executor.h>
#include <torch/custom_class_detail.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/file/json.hpp"
#include "aoti/package/package.hpp"
#include "aoti/runtime/libtorch.hpp"
#include "aoti/runtime/libtorch/arguments.hpp"
#include "aoti/runtime/libtorch/results.hpp"

// Its header, torch/csrc/jit/serialization/pickle.h, takes long to compile, and may be missing
// before libtorch 2.6.
namespace torch::jit {
[[gnu::weak]] TORCH_API c10::IValue pickle_load_obj(std::string_view data);
}

namespace aoti::inline AOTI_ABI {
namespace detail {

/// Calls `body`, and turns an exception into an error without torch's stack trace.
template <class Body>
auto guard_torch(Errc code, const std::string& operation, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const c10::Error& e) {
    return Error{code, operation, e.what_without_backtrace()};
  }
}

/// One call of an operator, or of an object's method: its fixed values, and what each run passes.
class OperatorCall {
 public:
  /// @errors damaged_package; unsupported (the call does not fit the operator's schema, or has an
  ///         argument or a result of an unknown kind)
  static Result<OperatorCall> make(const Json& node, const CustomObjects& objects,
                                   c10::Device device, const std::string& origin) {
    OperatorCall call;
    call.target_ = node["target"].string;
    std::string operation = concat({origin, " ", call.target_});
    std::vector<Json> inputs = node["inputs"].items;
    const c10::FunctionSchema* schema = nullptr;
    if (call.target_ == "call_torchbind") {
      const c10::IValue* object =
          inputs.size() < 2 ? nullptr : find_object(objects, inputs[0]["arg"]["as_custom_obj"]);
      if (object == nullptr) {
        return Error{Errc::damaged_package, std::move(operation), "there is no such object"};
      }
      const std::string method = inputs[1]["arg"]["as_string"].string;
      call.target_ += " " + method;
      call.method_ = object->type()->expectRef<c10::ClassType>().findMethod(method);
      if (call.method_ == nullptr) {
        return Error{Errc::unsupported, std::move(operation),
                     concat({"an object of the class ", object->type()->annotation_str(),
                             " has no method ", method})};
      }
      schema = &call.method_->getSchema();
      inputs.erase(inputs.begin() + 1);
    } else {
      call.operator_ = find(call.target_);
      if (!call.operator_) {
        return Error{Errc::missing_import, std::move(operation), "there is no such operator"};
      }
      schema = &call.operator_->schema();
    }
    const ArgumentReader reader{operation, *schema, objects, device};
    for (const c10::Argument& formal : schema->arguments()) {
      call.fixed_.push_back(formal.default_value().value_or(c10::IValue{}));
    }
    std::vector<bool> given(call.fixed_.size());
    for (const Json& input : inputs) {
      const std::string& name = input["name"].string;
      const auto index = schema->argumentIndexWithName(name);
      if (!index) return reader.unfit("it takes no argument " + name);
      const auto at = static_cast<std::size_t>(*index);
      AOTI_TRY(auto argument, reader.read(at, input["arg"]));
      call.add(std::move(argument));
      given[at] = true;
    }
    for (std::size_t i = 0; i < given.size(); ++i) {
      const c10::Argument& formal = schema->arguments()[i];
      if (given[i] || formal.default_value()) continue;
      return reader.unfit("the call lacks the argument " + formal.name());
    }
    const auto& outputs = node["outputs"].items;
    if (outputs.size() != schema->returns().size()) {
      return reader.unfit(concat(
          {"it returns a different number of results than the model takes, ", outputs.size()}));
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      AOTI_TRYV(call.add_output(outputs[i], i, reader));
    }
    const std::string& expected = node["metadata"][ExpectedResults::metadata_key].string;
    if (!expected.empty()) {
      AOTI_TRY(call.expected_, ExpectedResults::parse(expected, operation));
    }
    return call;
  }

  /// The operator with a name such as "aten::gcd.out".
  static std::optional<c10::OperatorHandle> find(const std::string& name) {
    const std::size_t dot = std::min(name.find('.'), name.size());
    const std::string overload = name.substr(std::min(dot + 1, name.size()));
    return c10::Dispatcher::singleton().findSchema({name.substr(0, dot), overload});
  }

  /// Calls the operator. `tensors` are those of the arguments, followed by those to write results
  /// to.
  void run(c10::ArrayRef<std::int64_t> integers, c10::ArrayRef<AtenTensorHandle> tensors) const {
    TORCH_CHECK(integers.size() == integers_ && tensors.size() == tensors_, target_, ": found ",
                integers.size(), " integers and ", tensors.size(), " tensors, expected ", integers_,
                " and ", tensors_);
    const std::int64_t* integer = integers.data();
    const AtenTensorHandle* tensor = tensors.data();
    const auto value = [&](const CallArgument::Item& item) -> c10::IValue {
      if (item.kind == Kind::tensor) return *reinterpret_cast<at::Tensor*>(*tensor++);
      return item.kind == Kind::integer ? c10::IValue{*integer++} : item.fixed;
    };
    std::vector<c10::IValue> stack = fixed_;
    for (const CallArgument& argument : arguments_) {
      c10::IValue& to = stack[argument.index];
      if (argument.element == nullptr) {
        to = value(argument.items[0]);
        continue;
      }
      c10::impl::GenericList list{argument.element};
      list.reserve(argument.items.size());
      for (const CallArgument::Item& item : argument.items) list.push_back(value(item));
      to = std::move(list);
    }
    method_ != nullptr ? method_->run(stack) : operator_->callBoxed(stack);
    TORCH_CHECK(stack.size() == outputs_.size(), target_, ": found ", stack.size(),
                " results, expected ", outputs_.size());
    const AtenTensorHandle* const first_result = tensor;
    const auto give = [&](at::Tensor&& result) {
      const auto index = static_cast<std::size_t>(tensor - first_result);
      expected_.adopt(result, index, tensors, target_);
      *reinterpret_cast<at::Tensor*>(*tensor++) = std::move(result);
    };
    for (std::size_t i = 0; i < stack.size(); ++i) {
      const auto& [kind, is_list, count] = outputs_[i];
      if (is_list) {
        std::vector<at::Tensor> list = stack[i].toTensorVector();
        TORCH_CHECK(list.size() == count, target_, ": result ", i, " has ", list.size(),
                    " tensors, expected ", count);
        for (at::Tensor& result : list) give(std::move(result));
      } else if (kind == Kind::tensor) {
        give(std::move(stack[i]).toTensor());
      } else if (kind == Kind::integer) {
        const std::int64_t traced = *integer++, found = stack[i].toInt();
        TORCH_CHECK(found == traced, target_, ": result ", i, " is ", found,
                    ", but the model was compiled for ", traced);
      }
    }
  }

 private:
  using Kind = CallArgument::Kind;
  struct Output {
    Kind kind = Kind::fixed;
    bool is_list = false;
    std::size_t count = 1;
  };

  void add(CallArgument&& argument) {
    bool is_fixed = true;
    for (const CallArgument::Item& item : argument.items) {
      tensors_ += item.kind == Kind::tensor;
      integers_ += item.kind == Kind::integer;
      is_fixed &= item.kind == Kind::fixed;
    }
    if (!is_fixed) {
      arguments_.push_back(std::move(argument));
    } else if (argument.element == nullptr) {
      fixed_[argument.index] = std::move(argument.items[0].fixed);
    } else {
      c10::impl::GenericList list{argument.element};
      for (CallArgument::Item& item : argument.items) list.push_back(std::move(item.fixed));
      fixed_[argument.index] = std::move(list);
    }
  }

  Result<void> add_output(const Json& output, std::size_t index, const ArgumentReader& reader) {
    const std::string tag = output.keys.size() == 1 ? output.keys[0] : "";
    const bool is_optional = tag == "as_optional_tensor" && output.items[0].keys.size() == 1;
    const std::string kind = is_optional ? output.items[0].keys[0] : tag;
    const c10::TypePtr& type = reader.schema.returns()[index].real_type();
    c10::TypePtr taken = c10::NoneType::get();
    Output result;
    if (kind == "as_tensor" || kind == "as_tensors") {
      result.kind = Kind::tensor;
      result.is_list = kind == "as_tensors";
      if (result.is_list) result.count = output.items[0].items.size();
      tensors_ += result.count;
      taken = c10::TensorType::get();
      if (result.is_list) taken = c10::ListType::create(taken);
    } else if (kind == "as_int") {
      result.kind = Kind::integer;
      ++integers_;
      taken = c10::IntType::get();
    } else if (kind != "as_none") {
      return Error{Errc::unsupported, reader.operation,
                   concat({"a result is of a kind not known here: ", tag})};
    }
    const bool is_symbol = type->kind() == c10::TypeKind::SymIntType && kind == "as_int";
    if (!is_symbol && !taken->isSubtypeOf(type)) {
      return reader.unfit(concat({"result ", index, ": the model takes ", kind_of(kind),
                                  ", the operator returns ", type->annotation_str()}));
    }
    outputs_.push_back(result);
    return success();
  }

  std::string target_;
  std::optional<c10::OperatorHandle> operator_;
  torch::jit::Function* method_ = nullptr;
  std::vector<c10::IValue> fixed_;  // one value for each argument
  std::vector<CallArgument> arguments_;
  std::vector<Output> outputs_;
  ExpectedResults expected_;
  std::size_t tensors_ = 0;
  std::size_t integers_ = 0;
};

/// Torch's functions pass a model's calls to this. Calls do not change it, so any number of threads
/// may make them.
class OperatorExecutor final : public torch::aot_inductor::ProxyExecutor {
 public:
  explicit OperatorExecutor(std::vector<OperatorCall> calls) : calls_{std::move(calls)} {}

  void call_function(int node, int integer_count, std::int64_t* integers, int tensor_count,
                     AtenTensorHandle* tensors) override {
    try {
      const TorchDefaults defaults;
      TORCH_CHECK(node >= 0 && static_cast<std::size_t>(node) < calls_.size(),
                  "the package does not list extern node ", node);
      calls_[static_cast<std::size_t>(node)].run(
          {integers, static_cast<std::size_t>(integer_count)},
          {tensors, static_cast<std::size_t>(tensor_count)});
    } catch (const c10::Error& e) {
      note(e.what_without_backtrace());
      throw;
    } catch (const std::exception& e) {
      note(e.what());
      throw;
    }
  }

  /// Whether an operator has failed in this thread, and nobody has asked for the reason.
  static bool failed() noexcept { return failed_; }
  static void forget_failure() noexcept { failed_ = false; }
  static std::string take_failure() {
    failed_ = false;
    return std::exchange(failure_, {});
  }

 private:
  static void note(const char* text) {
    if (!failed_) failure_ = text;
    failed_ = true;
  }

  static inline constinit thread_local bool failed_ = false;
  static inline thread_local std::string failure_;
  std::vector<OperatorCall> calls_;
};

/// Reads the objects that a model passes to operators.
inline Result<CustomObjects> read_custom_objects(const PackagedModel& model) {
  const auto find = [&](std::string_view name) -> Bytes {
    for (const auto* files : {&model.files, &model.constants}) {
      for (const Entry& file : *files) {
        if (file.name == name) return file.data;
      }
    }
    return {};
  };
  CustomObjects objects;
  const Bytes config = find("custom_objs_config.json");
  if (config.empty()) return objects;
  AOTI_TRY(const auto json,
           Json::parse(as_text(config), model.origin + " custom_objs_config.json"));
  for (std::size_t i = 0; i < json.keys.size(); ++i) {
    const std::string& file = json.items[i].string;
    const Bytes data = find(file);
    if (data.empty()) {
      return Error{Errc::damaged_package, model.origin, concat({"the package has no file ", file})};
    }
    if (torch::jit::pickle_load_obj == nullptr) {
      return Error{Errc::unsupported, model.origin, "this libtorch does not read custom objects"};
    }
    const std::string operation = concat({model.origin, " ", file});
    auto object = guard_torch(Errc::damaged_package, operation, [&]() -> Result<c10::IValue> {
      return torch::jit::pickle_load_obj(as_text(data));
    });
    if (!object) return std::move(object).error();
    if (!object.value().isCustomClass()) {
      return Error{Errc::damaged_package, operation, "it is not an object of a custom class"};
    }
    objects.emplace_back(json.keys[i], std::move(object).value());
  }
  return objects;
}

}  // namespace detail

/// Owns the executor of one model's operators; empty for a model that calls none. Any number of
/// threads may call it in runs; they share the objects that the model holds.
class LibtorchOperators {
 public:
  /// Whether the process has an operator, or a class of custom objects, with that name.
  static bool has(const std::string& name) {
    return name.starts_with("__torch__.") ? torch::getCustomClass(name) != nullptr
                                          : detail::OperatorCall::find(name).has_value();
  }

  /// @param nodes  the calls, see OperatorCalls
  /// @param device where the model runs, as torch spells it
  /// @errors damaged_package, unsupported
  static Result<LibtorchOperators> make(const PackagedModel& model, const std::vector<Json>& nodes,
                                        const std::string& device) {
    return detail::guard_torch(
        Errc::damaged_package, model.origin, [&]() -> Result<LibtorchOperators> {
          AOTI_TRY(auto objects, detail::read_custom_objects(model));
          std::vector<detail::OperatorCall> calls;
          for (const Json& node : nodes) {
            AOTI_TRY(auto call,
                     detail::OperatorCall::make(node, objects, c10::Device{device}, model.origin));
            calls.push_back(std::move(call));
          }
          LibtorchOperators operators;
          operators.objects_ = std::move(objects);
          operators.executor_ = std::make_unique<detail::OperatorExecutor>(std::move(calls));
          return operators;
        });
  }

  /// The objects that the model passes to operators, by its names for them; they are shared with
  /// it.
  const std::vector<std::pair<std::string, c10::IValue>>& objects() const noexcept {
    return objects_;
  }

  /// Whether an operator has failed in this thread since begin_run(), and the first failure's
  /// reason. Models of earlier torch releases ignore such failures.
  void begin_run() const noexcept { detail::OperatorExecutor::forget_failure(); }
  bool failed() const noexcept {
    return executor_ != nullptr && detail::OperatorExecutor::failed();
  }
  std::string take_failure() const { return detail::OperatorExecutor::take_failure(); }

  /// What is passed to a model's run; null if there is none.
  AOTIProxyExecutorHandle handle() const noexcept {
    return reinterpret_cast<AOTIProxyExecutorHandle>(executor_.get());
  }

 private:
  detail::CustomObjects objects_;
  std::unique_ptr<torch::aot_inductor::ProxyExecutor> executor_;
};

/// Libtorch, with operators: `Runner<Cpu, LibtorchWithOperators>`.
struct LibtorchWithOperators : Libtorch {
  using Operators = LibtorchOperators;

  /// Operators may keep tensors that they make, so these are not inference tensors.
  class Running {
   public:
    Running() {
      if (detail::dispatches_otherwise()) without_.emplace();
    }

   private:
    Libtorch::Running rest_;
    std::optional<detail::WithoutInferenceTensors> without_;
  };
};

static_assert(TensorRuntime<LibtorchWithOperators>);

}  // namespace aoti::inline AOTI_ABI
