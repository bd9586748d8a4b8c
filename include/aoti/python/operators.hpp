// SPDX-License-Identifier: BSD-3-Clause
// Operators written in Python that a model calls: their exceptions, and what happens when the
// interpreter exits.
#pragma once

#include <torch/csrc/Exceptions.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/python/errors.hpp"
#include "aoti/runtime/libtorch_operators.hpp"

namespace aoti::inline AOTI_ABI::python {

/// Keeps an exception raised by an operator in Python as the thread's current exception: the model
/// only reports that there was one.
class PythonExecutor final : public torch::aot_inductor::ProxyExecutor {
 public:
  explicit PythonExecutor(LibtorchOperators operators) : operators_{std::move(operators)} {}

  void call_function(int node, int integer_count, std::int64_t* integers, int tensor_count,
                     AtenTensorHandle* tensors) override {
    try {
      reinterpret_cast<torch::aot_inductor::ProxyExecutor*>(operators_.handle())
          ->call_function(node, integer_count, integers, tensor_count, tensors);
    } catch (python_error& error) {
      const WithGil gil;
      error.restore();
      throw;
    } catch (py::error_already_set& error) {
      const WithGil gil;
      error.restore();
      throw;
    } catch (const std::exception&) {
      throw;
    } catch (...) {
      hang();  // the thread must end here: the model catches everything, and must not see this
    }
  }

  const LibtorchOperators& operators() const noexcept { return operators_; }

 private:
  LibtorchOperators operators_;
};

/// LibtorchOperators with that executor.
class PythonOperators {
 public:
  static constexpr std::string_view remedy =
      "before the model, import the module that defines them, or load it with "
      "torch.ops.load_library";

  static bool has(const std::string& name) { return LibtorchOperators::has(name); }

  /// @errors those of LibtorchOperators::make
  static Result<PythonOperators> make(const PackagedModel& model, const std::vector<Json>& nodes,
                                      const std::string& device) {
    AOTI_TRY(auto made, LibtorchOperators::make(model, nodes, device));
    PythonOperators operators;
    operators.executor_ = std::make_unique<PythonExecutor>(std::move(made));
    return operators;
  }

  const std::vector<std::pair<std::string, c10::IValue>>& objects() const noexcept {
    static const std::vector<std::pair<std::string, c10::IValue>> none;
    return executor_ != nullptr ? executor_->operators().objects() : none;
  }
  void begin_run() const noexcept { detail::OperatorExecutor::forget_failure(); }
  bool failed() const noexcept {
    return executor_ != nullptr && detail::OperatorExecutor::failed();
  }
  std::string take_failure() const { return detail::OperatorExecutor::take_failure(); }
  AOTIProxyExecutorHandle handle() const noexcept {
    return reinterpret_cast<AOTIProxyExecutorHandle>(
        static_cast<torch::aot_inductor::ProxyExecutor*>(executor_.get()));
  }

 private:
  std::unique_ptr<PythonExecutor> executor_;
};

/// Libtorch, with operators including those in Python.
struct LibtorchWithPython : LibtorchWithOperators {
  using Operators = PythonOperators;
};

static_assert(TensorRuntime<LibtorchWithPython>);

}  // namespace aoti::inline AOTI_ABI::python
