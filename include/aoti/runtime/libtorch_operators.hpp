// The tensor runtime on libtorch that also runs the operators which a model calls through a proxy
// executor: torch's own and custom ones. A header of its own, since it takes twice as long to
// compile.
#pragma once

#include <ATen/core/class_type.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/function.h>
#include <torch/csrc/inductor/aoti_torch/proxy_executor.h>
#include <torch/custom_class_detail.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/load/json.hpp"
#include "aoti/load/package.hpp"
#include "aoti/runtime/libtorch.hpp"

// Its header, torch/csrc/jit/serialization/pickle.h, takes long to compile; libtorch before 2.6
// need not have it.
namespace torch::jit {
[[gnu::weak]] TORCH_API c10::IValue pickle_load_obj(std::string_view data);
}

namespace aoti {
namespace detail {

/// The c10 value for torch's serialized ones, which count otherwise; -1 where there is none.
inline constexpr signed char scalar_types[] = {-1, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                               11, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                               -1, -1, -1, -1, 27, 24, 23, 26, 25, 44, 28, 29};
inline constexpr signed char layouts[] = {-1, 1, 2, 4, 5, 6, 3, 0};
inline constexpr signed char memory_formats[] = {-1, 0, 2, 3, 1};

/// The objects that a model gives to operators, by the names of the arguments.
using CustomObjects = std::vector<std::pair<std::string, c10::IValue>>;

/// Calls `body`, and turns an exception into an error without torch's stack trace.
template <class Body>
auto guard_torch(Errc code, const std::string& operation, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const c10::Error& e) {
    return Error{code, operation, e.what_without_backtrace()};
  }
}

/// One call of an operator, or of an object's method: what is fixed, and what each run brings.
class OperatorCall {
 public:
  /// @errors damaged_package (the call does not fit the operator's schema), unsupported (an
  ///         argument or a result of a kind that is not known)
  static Result<OperatorCall> make(const Json& node, const CustomObjects& objects,
                                   c10::Device device, const std::string& origin) {
    OperatorCall call;
    call.target_ = node["target"].string;
    call.operation_ = origin + " " + call.target_;
    std::vector<Json> inputs = node["inputs"].items;
    const c10::FunctionSchema* schema = nullptr;
    if (call.target_ == "call_torchbind") {
      const c10::IValue* object =
          inputs.size() < 2 ? nullptr : find(objects, inputs[0]["arg"]["as_custom_obj"]);
      if (object == nullptr) return call.damaged("there is no such object");
      const std::string method = inputs[1]["arg"]["as_string"].string;
      call.target_ += " " + method;
      call.method_ = object->type()->expectRef<c10::ClassType>().findMethod(method);
      if (call.method_ == nullptr) return call.damaged("the object has no method " + method);
      schema = &call.method_->getSchema();
      inputs.erase(inputs.begin() + 1);
    } else {
      call.operator_ = find(call.target_);
      if (!call.operator_) return call.damaged("there is no such operator");
      schema = &call.operator_->schema();
    }
    for (const c10::Argument& formal : schema->arguments()) {
      call.fixed_.push_back(formal.default_value().value_or(c10::IValue{}));
    }
    std::vector<bool> given(call.fixed_.size());
    for (const Json& input : inputs) {
      const auto index = schema->argumentIndexWithName(input["name"].string);
      if (!index) return call.damaged("it takes no argument " + input["name"].string);
      const auto at = static_cast<std::size_t>(*index);
      auto done = call.add_argument(at, schema->arguments()[at], input["arg"], objects, device);
      if (!done) return std::move(done).error();
      given[at] = true;
    }
    for (std::size_t i = 0; i < given.size(); ++i) {
      const c10::Argument& formal = schema->arguments()[i];
      if (given[i] || formal.default_value()) continue;
      return call.damaged("it is not given the argument " + formal.name());
    }
    for (const Json& output : node["outputs"].items) {
      if (auto done = call.add_output(output); !done) return std::move(done).error();
    }
    if (call.outputs_.size() != schema->returns().size()) {
      return call.damaged("it returns another number of results");
    }
    return call;
  }

  /// The operator of a name such as "aten::gcd.out".
  static std::optional<c10::OperatorHandle> find(const std::string& name) {
    const std::size_t dot = std::min(name.find('.'), name.size());
    const std::string overload = name.substr(std::min(dot + 1, name.size()));
    return c10::Dispatcher::singleton().findSchema({name.substr(0, dot), overload});
  }

  /// Calls it: `tensors` are those of the arguments and then those to write results to.
  void run(c10::ArrayRef<std::int64_t> integers, c10::ArrayRef<AtenTensorHandle> tensors) const {
    TORCH_CHECK(integers.size() == integers_ && tensors.size() == tensors_, target_, ": found ",
                integers.size(), " integers and ", tensors.size(), " tensors, expected ", integers_,
                " and ", tensors_);
    const std::int64_t* integer = integers.data();
    const AtenTensorHandle* tensor = tensors.data();
    const auto value = [&](const Item& item) -> c10::IValue {
      if (item.kind == Kind::tensor) return *reinterpret_cast<at::Tensor*>(*tensor++);
      return item.kind == Kind::integer ? c10::IValue{*integer++} : item.fixed;
    };
    std::vector<c10::IValue> stack = fixed_;
    for (const Argument& argument : arguments_) {
      c10::IValue& to = stack[argument.index];
      if (argument.element == nullptr) {
        to = value(argument.items[0]);
        continue;
      }
      c10::impl::GenericList list{argument.element};
      list.reserve(argument.items.size());
      for (const Item& item : argument.items) list.push_back(value(item));
      to = std::move(list);
    }
    method_ != nullptr ? method_->run(stack) : operator_->callBoxed(stack);
    TORCH_CHECK(stack.size() == outputs_.size(), target_, ": found ", stack.size(),
                " results, expected ", outputs_.size());
    const auto give = [&](at::Tensor&& result) {
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
  enum class Kind : std::uint8_t { fixed, tensor, integer };
  struct Item {
    Kind kind = Kind::fixed;
    c10::IValue fixed{};
  };
  /// What each run brings for one argument: a list of it where there is a type of elements.
  struct Argument {
    std::size_t index = 0;
    c10::TypePtr element;
    std::vector<Item> items;
  };
  struct Output {
    Kind kind = Kind::fixed;
    bool is_list = false;
    std::size_t count = 1;
  };

  static c10::TypePtr without_optional(const c10::TypePtr& type) {
    const auto optional = type->cast<c10::OptionalType>();
    return optional ? optional->getElementType() : type;
  }

  static const c10::IValue* find(const CustomObjects& objects, const Json& reference) {
    for (const auto& [name, object] : objects) {
      if (name == reference["name"].string) return &object;
    }
    return nullptr;
  }

  Result<void> add_argument(std::size_t index, const c10::Argument& formal, const Json& arg,
                            const CustomObjects& objects, c10::Device device) {
    if (arg.keys.size() != 1) return damaged("the argument " + formal.name() + " has no value");
    std::string tag = arg.keys[0];
    const Json& value = arg.items[0];
    // Of sizes, dtypes and the like the schema has two types: what they are, and what stands for
    // them on the stack.
    c10::TypePtr real = without_optional(formal.real_type()), stacked = formal.type();
    Argument argument{.index = index, .element = nullptr, .items = {}};
    if (!value.is(JsonKind::array)) {
      auto item = make_item(tag, value, *real, *stacked, formal.name(), objects, device);
      if (!item) return std::move(item).error();
      argument.items.push_back(std::move(item).value());
    } else {
      const auto list = without_optional(stacked)->cast<c10::ListType>();
      const auto real_list = real->cast<c10::ListType>();
      if (!list || !real_list) return damaged("the argument " + formal.name() + " is no list");
      argument.element = list->getElementType();
      real = without_optional(real_list->getElementType());
      if (tag.ends_with('s')) tag.pop_back();  // as_ints is a list of as_int
      for (const Json& element : value.items) {
        const bool tagged = element.keys.size() == 1 && element.keys[0].starts_with("as_") &&
                            element.keys[0] != "as_name";
        auto item = make_item(tagged ? element.keys[0] : tag, tagged ? element.items[0] : element,
                              *real, *argument.element, formal.name(), objects, device);
        if (!item) return std::move(item).error();
        argument.items.push_back(std::move(item).value());
      }
    }
    bool is_fixed = true;
    for (const Item& item : argument.items) {
      tensors_ += item.kind == Kind::tensor;
      integers_ += item.kind == Kind::integer;
      is_fixed &= item.kind == Kind::fixed;
    }
    if (!is_fixed) {
      arguments_.push_back(std::move(argument));
    } else if (argument.element == nullptr) {
      fixed_[index] = std::move(argument.items[0].fixed);
    } else {
      c10::impl::GenericList list{argument.element};
      for (Item& item : argument.items) list.push_back(std::move(item.fixed));
      fixed_[index] = std::move(list);
    }
    return success();
  }

  /// One value: where it is fixed, it is checked against the type that it has on the stack.
  Result<Item> make_item(const std::string& tag, const Json& value, const c10::Type& real,
                         const c10::Type& stacked, const std::string& name,
                         const CustomObjects& objects, c10::Device device) const {
    const auto enumerator = [&](std::span<const signed char> values) -> std::int64_t {
      const auto i = static_cast<std::size_t>(value.integer);
      return value.is(JsonKind::integer) && i < values.size() ? values[i] : -1;
    };
    Item item;
    c10::IValue& fixed = item.fixed;
    bool good = true;
    if (tag == "as_tensor") {
      item.kind = Kind::tensor;
    } else if (tag == "as_int" && real.kind() == c10::TypeKind::FloatType) {
      good = value.is(JsonKind::integer);
      fixed = static_cast<double>(value.integer);
    } else if (tag == "as_int" || tag == "as_sym_int") {
      item.kind = Kind::integer;
    } else if (tag == "as_float") {
      good = !value.is(JsonKind::null);
      fixed = value.is(JsonKind::integer)  ? static_cast<double>(value.integer)
              : value.is(JsonKind::string) ? std::strtod(value.string.c_str(), nullptr)  // Infinity
                                           : value.number;
    } else if (tag == "as_bool") {
      good = value.is(JsonKind::boolean);
      fixed = value.integer != 0;
    } else if (tag == "as_string") {
      good = value.is(JsonKind::string);
      fixed = value.string;
    } else if (tag == "as_scalar_type" || tag == "as_layout" || tag == "as_memory_format") {
      const std::int64_t number = tag == "as_layout"        ? enumerator(layouts)
                                  : tag == "as_scalar_type" ? enumerator(scalar_types)
                                                            : enumerator(memory_formats);
      good = number >= 0;
      fixed = number;
    } else if (tag == "as_device") {
      c10::Device given{value["type"].string};
      if (value["index"].is(JsonKind::integer)) {
        given.set_index(static_cast<c10::DeviceIndex>(value["index"].integer));
      }
      fixed = given.type() == device.type() ? device : given;  // the runner's own may be another
    } else if (tag == "as_custom_obj") {
      const c10::IValue* object = find(objects, value);
      good = object != nullptr;
      if (good) fixed = *object;
    } else if (tag != "as_none") {
      return Error{Errc::unsupported, operation_,
                   detail::concat({"the argument ", name, " is of a kind not known here: ", tag})};
    }
    const c10::TypePtr type = item.kind == Kind::tensor    ? c10::TensorType::get()
                              : item.kind == Kind::integer ? c10::IntType::get()
                                                           : fixed.type();
    if (good && type->isSubtypeOf(stacked)) return item;
    return damaged("the argument " + name + " is no " + stacked.annotation_str());
  }

  Result<void> add_output(const Json& output) {
    const std::string tag = output.keys.size() == 1 ? output.keys[0] : "";
    const bool is_optional = tag == "as_optional_tensor" && output.items[0].keys.size() == 1;
    const std::string kind = is_optional ? output.items[0].keys[0] : tag;
    Output result;
    if (kind == "as_tensor" || kind == "as_tensors") {
      result.kind = Kind::tensor;
      result.is_list = kind == "as_tensors";
      if (result.is_list) result.count = output.items[0].items.size();
      tensors_ += result.count;
    } else if (kind == "as_int") {
      result.kind = Kind::integer;
      ++integers_;
    } else if (kind != "as_none") {
      return Error{Errc::unsupported, operation_,
                   detail::concat({"a result is of a kind not known here: ", tag})};
    }
    outputs_.push_back(result);
    return success();
  }

  Error damaged(std::string text) const {
    return {Errc::damaged_package, operation_, std::move(text)};
  }

  std::string target_;
  std::string operation_;  // for errors
  std::optional<c10::OperatorHandle> operator_;
  torch::jit::Function* method_ = nullptr;
  std::vector<c10::IValue> fixed_;  // one value for each argument
  std::vector<Argument> arguments_;
  std::vector<Output> outputs_;
  std::size_t tensors_ = 0;
  std::size_t integers_ = 0;
};

/// Torch's functions hand a model's calls to this. Calls do not change it: any number of threads.
class OperatorExecutor final : public torch::aot_inductor::ProxyExecutor {
 public:
  explicit OperatorExecutor(std::vector<OperatorCall> calls) : calls_{std::move(calls)} {}

  void call_function(int node, int integer_count, std::int64_t* integers, int tensor_count,
                     AtenTensorHandle* tensors) override {
    try {
      TORCH_CHECK(node >= 0 && static_cast<std::size_t>(node) < calls_.size(),
                  "the package does not tell of extern node ", node);
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

  /// Whether an operator has failed in this thread, and nobody has asked why.
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

/// Reads the objects that a model gives to operators.
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
  auto json = Json::parse(as_text(config), model.origin + " custom_objs_config.json");
  if (!json) return std::move(json).error();
  for (std::size_t i = 0; i < json.value().keys.size(); ++i) {
    const std::string& file = json.value().items[i].string;
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
      return Error{Errc::damaged_package, operation, "it is no object of a custom class"};
    }
    objects.emplace_back(json.value().keys[i], std::move(object).value());
  }
  return objects;
}

}  // namespace detail

/// Owns the executor of one model's operators; empty for a model that calls none. Runs call it from
/// any number of threads; objects that the model keeps are shared among these.
class LibtorchOperators {
 public:
  /// Whether the process has an operator, or a class of custom objects, of that name.
  static bool has(const std::string& name) {
    return name.starts_with("__torch__.") ? torch::getCustomClass(name) != nullptr
                                          : detail::OperatorCall::find(name).has_value();
  }

  /// @param nodes  the calls, see OperatorCalls
  /// @param device where the model runs, in torch's words
  /// @errors damaged_package, unsupported
  static Result<LibtorchOperators> make(const PackagedModel& model, const std::vector<Json>& nodes,
                                        const std::string& device) {
    return detail::guard_torch(
        Errc::damaged_package, model.origin, [&]() -> Result<LibtorchOperators> {
          auto objects = detail::read_custom_objects(model);
          if (!objects) return std::move(objects).error();
          std::vector<detail::OperatorCall> calls;
          for (const Json& node : nodes) {
            auto call = detail::OperatorCall::make(node, objects.value(), c10::Device{device},
                                                   model.origin);
            if (!call) return std::move(call).error();
            calls.push_back(std::move(call).value());
          }
          LibtorchOperators operators;
          operators.objects_ = std::move(objects).value();
          operators.executor_ = std::make_unique<detail::OperatorExecutor>(std::move(calls));
          return operators;
        });
  }

  /// The objects that the model gives to operators, by its names for them; they are shared with it.
  const std::vector<std::pair<std::string, c10::IValue>>& objects() const noexcept {
    return objects_;
  }

  /// Whether an operator has failed in this thread since begin_run(), and the first one's reason.
  /// Models of earlier torch releases go on as if it had not.
  void begin_run() const noexcept { detail::OperatorExecutor::forget_failure(); }
  bool failed() const noexcept {
    return executor_ != nullptr && detail::OperatorExecutor::failed();
  }
  std::string take_failure() const { return detail::OperatorExecutor::take_failure(); }

  /// What a model's run takes; null where there is none.
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
};

static_assert(TensorRuntime<LibtorchWithOperators>);

}  // namespace aoti
