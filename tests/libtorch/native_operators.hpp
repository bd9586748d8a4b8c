// Calls operators on the native runtime as models do, for comparison with torch's.
#pragma once

#include <aoti/runtime/native/executor.hpp>
#include <initializer_list>
#include <string>
#include <vector>

#include "libtorch/twins.hpp"

namespace aoti_test {

/// An argument as torch writes it into packages, and what a run passes for it.
struct Given {
  std::string name, json;
  std::vector<at::Tensor> tensors{};
  std::vector<std::int64_t> integers{};
};
inline Given given(const char* name, const at::Tensor& tensor) {
  return {name, R"({"as_tensor": {"name": "x"}})", {tensor}};
}
inline Given given(const char* name, std::int64_t value) {
  return {name, R"({"as_int": )" + std::to_string(value) + "}", {}, {value}};
}
inline Given given(const char* name, int value) { return given(name, std::int64_t{value}); }
inline Given given(const char* name, const std::vector<std::int64_t>& values) {
  std::string list;
  for (const std::int64_t value : values) {
    list += (list.empty() ? "" : ", ") + std::to_string(value);
  }
  return {name, R"({"as_ints": [)" + list + "]}", {}, values};
}
inline Given given(const char* name, double value) {
  return {name, R"({"as_float": )" + std::to_string(value) + "}"};
}
inline Given given(const char* name, bool value) {
  return {name, value ? R"({"as_bool": true})" : R"({"as_bool": false})"};
}
inline Given given(const char* name, const char* text) {
  return {name, std::string{R"({"as_string": ")"} + text + R"("})"};
}
inline Given none(const char* name) { return {name, R"({"as_none": true})"}; }

/// The package's description of one call.
inline aoti::BasicJson<> node_of(const std::string& target, const std::vector<Given>& arguments,
                                 std::size_t results) {
  std::string inputs, outputs;
  for (const Given& argument : arguments) {
    inputs += (inputs.empty() ? "" : ", ") + (R"({"name": ")" + argument.name + R"(", "arg": )") +
              argument.json + "}";
  }
  for (std::size_t i = 0; i < results; ++i) {
    outputs += (i == 0 ? "" : ", ") + std::string{R"({"as_tensor": {"name": "y"}})"};
  }
  return value_of(aoti::BasicJson<>::parse(R"({"target": ")" + target + R"(", "inputs": [)" +
                                               inputs + R"(], "outputs": [)" + outputs + "]}",
                                           target));
}

/// Calls an operator of a runtime; empty if it fails.
template <class Runtime>
std::vector<aoti::Tensor> call_native(const std::string& target,
                                      const std::vector<Given>& arguments, std::size_t results) {
  auto operators = Runtime::Operators::make({}, {node_of(target, arguments, results)}, "cpu");
  if (!operators) {
    ADD_FAILURE() << operators.error().message();
    return {};
  }
  std::vector<aoti::Tensor> natives;
  std::vector<std::int64_t> integers;
  for (const Given& argument : arguments) {
    for (const at::Tensor& tensor : argument.tensors) natives.push_back(native_of(tensor));
    integers.insert(integers.end(), argument.integers.begin(), argument.integers.end());
  }
  std::vector<AtenTensorHandle> handles;
  for (const aoti::Tensor& tensor : natives) handles.push_back(Runtime::share(tensor));
  for (std::size_t i = 0; i < results; ++i) {
    handles.emplace_back();
    aoti::NativeFunctions::new_uninitialized_tensor(&handles.back());
  }
  const auto call =
      aoti::abi::resolve<Runtime, aoti::abi::imported::proxy_executor_call_function>();
  operators.value().begin_run();
  const AOTITorchError failed =
      call(operators.value().handle(), 0, static_cast<int>(integers.size()), integers.data(),
           static_cast<int>(handles.size()), handles.data());
  EXPECT_EQ(operators.value().failed(), failed != 0);
  std::vector<aoti::Tensor> found;
  for (std::size_t i = 0; i < handles.size(); ++i) {
    aoti::Tensor tensor = Runtime::take(handles[i]);
    if (i >= natives.size() && failed == 0) found.push_back(std::move(tensor));
  }
  return found;
}

/// Expects the result of torch's operator: elements, sizes and strides.
template <class Runtime>
void expect_torchs(const std::string& target, const std::vector<Given>& arguments,
                   const std::vector<at::Tensor>& expected, double widened = 1) {
  SCOPED_TRACE(target);
  const std::vector<aoti::Tensor> found = call_native<Runtime>(target, arguments, expected.size());
  ASSERT_EQ(found.size(), expected.size()) << Runtime::last_error();
  for (std::size_t i = 0; i < found.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "result " << i);
    EXPECT_TRUE(same_layout(found[i], expected[i]));
    if (expected[i].numel() == 0) continue;
    EXPECT_TRUE(assert_close(torch_of(found[i]), expected[i], widened));
  }
}

/// The reason why an operator fails.
template <class Runtime>
std::string refusal(const std::string& target, const std::vector<Given>& arguments,
                    std::size_t results) {
  EXPECT_TRUE(call_native<Runtime>(target, arguments, results).empty());
  return Runtime::last_error();
}

}  // namespace aoti_test
