// SPDX-License-Identifier: BSD-3-Clause
// A runner whose class is known only at run time.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aoti/device/device.hpp"
#include "aoti/load/container.hpp"
#include "aoti/load/operators.hpp"
#include "aoti/package/spec.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// What all runners on a tensor runtime have in common, as documented at Runner. The stream of
/// a run is given by its handle; null, and none, mean the current one.
template <class Runtime> struct ErasedRunner {
  using TensorRuntime = Runtime;
  using Tensor = typename Runtime::Tensor;
  using Tensors = std::vector<Tensor>;
  using Operators = typename OperatorsOf<Runtime>::type;

  virtual ~ErasedRunner() = default;
  virtual Result<void> run_pointers(std::span<const Tensor* const>, std::span<const bool>,
                                    std::span<Tensor>) const = 0;
  virtual Result<void> run_into(std::span<const Tensor>, std::span<Tensor>, void*) const = 0;
  virtual Result<Tensors> run(std::span<const Tensor>, void*) const = 0;
  virtual Result<Tensors> boxed_run(std::span<Tensor>, void*) const = 0;
  virtual Result<void> run_handles(std::span<AtenTensorHandle>,
                                   std::span<AtenTensorHandle>) const = 0;
  virtual std::size_t input_count() const noexcept = 0;
  virtual std::size_t output_count() const noexcept = 0;
  virtual Result<std::string> input_name(std::size_t) const = 0;
  virtual Result<std::string> output_name(std::size_t) const = 0;
  virtual Result<std::size_t> input_index(std::string_view) const = 0;
  virtual Result<std::size_t> output_index(std::string_view) const = 0;
  virtual Result<CallSpec> call_spec() const = 0;
  virtual const ModelSpec* spec() const noexcept = 0;
  virtual const Metadata& metadata() const noexcept = 0;
  virtual std::string_view device_key() const noexcept = 0;
  virtual const std::string& origin() const noexcept = 0;
  virtual const Operators& operators() const noexcept = 0;
  virtual const Container& container() const noexcept = 0;
  virtual void unload() noexcept = 0;
  /// Identifies the class: the address of its ClassTag.
  virtual const void* tag() const noexcept = 0;
};

/// Its address identifies a class, even without RTTI. Not const, since linkers may merge constants.
template <class Erasing> struct ClassTag { static inline char tag = 0; };

/// A runner behind an interface.
/// @tparam Base ErasedRunner, or a class derived from it
template <class Runner, class Base = ErasedRunner<typename Runner::TensorRuntime>>
struct Erasing : Base {
  using typename Base::Tensor;
  using typename Base::Tensors;
  using Device = typename Runner::DevicePolicy;

  Runner runner;

  explicit Erasing(Runner&& taken) noexcept : runner{std::move(taken)} {}

  Result<void> run_pointers(std::span<const Tensor* const> in, std::span<const bool> given,
                            std::span<Tensor> out) const override {
    return runner.run_pointers(in, given, out);
  }
  Result<void> run_into(std::span<const Tensor> in, std::span<Tensor> out,
                        void* stream) const override {
    return runner.run_into(in, out, stream_of<Device>(stream));
  }
  Result<Tensors> run(std::span<const Tensor> in, void* stream) const override {
    return runner.run(in, stream_of<Device>(stream));
  }
  Result<Tensors> boxed_run(std::span<Tensor> in, void* stream) const override {
    return runner.boxed_run(in, stream_of<Device>(stream));
  }
  Result<void> run_handles(std::span<AtenTensorHandle> in,
                           std::span<AtenTensorHandle> out) const override {
    return runner.run_handles(in, out);
  }
  std::size_t input_count() const noexcept override { return runner.input_count(); }
  std::size_t output_count() const noexcept override { return runner.output_count(); }
  Result<std::string> input_name(std::size_t i) const override { return runner.input_name(i); }
  Result<std::string> output_name(std::size_t i) const override { return runner.output_name(i); }
  Result<std::size_t> input_index(std::string_view name) const override {
    return runner.input_index(name);
  }
  Result<std::size_t> output_index(std::string_view name) const override {
    return runner.output_index(name);
  }
  Result<CallSpec> call_spec() const override { return runner.call_spec(); }
  const ModelSpec* spec() const noexcept override { return runner.spec(); }
  const Metadata& metadata() const noexcept override { return runner.metadata(); }
  std::string_view device_key() const noexcept override { return runner.device_key(); }
  const std::string& origin() const noexcept override { return runner.origin(); }
  const typename Base::Operators& operators() const noexcept override { return runner.operators(); }
  const Container& container() const noexcept override { return runner.container(); }
  void unload() noexcept override { std::move(runner).unload(); }
  const void* tag() const noexcept override { return &ClassTag<Erasing>::tag; }
};

}  // namespace aoti::inline AOTI_ABI::detail
