// SPDX-License-Identifier: BSD-3-Clause
// Models compiled with the minimal array-ref interface: called on plain descriptions of memory,
// without tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aoti/abi/array_ref.hpp"
#include "aoti/device/cpu.hpp"
#include "aoti/runner.hpp"
#include "aoti/runtime/native.hpp"
#include "aoti/weights/access.hpp"

namespace aoti::inline AOTI_ABI {

/// Describes memory that someone else owns, in at most 8 dimensions, as abi::ArrayRef.
struct TensorView : abi::ArrayRef {
  using Sizes = std::span<const std::int64_t>;
  using List = std::initializer_list<std::int64_t>;

  /// Memory, row-major if no strides are given: `TensorView::of(prices, {8})`. A model writes to
  /// its inputs only if the exported program does. Sizes and strides that no tensor can have, or
  /// too many of them, give a view that is refused.
  template <class T>
  static constexpr TensorView of(T* data, List sizes, List strides = {}) noexcept {
    return make(dtype_of<T>, const_cast<std::remove_cv_t<T>*>(data), {sizes.begin(), sizes.size()},
                {strides.begin(), strides.size()});
  }
  /// The same, row-major, for a span; if its length does not match the sizes, the view is refused.
  template <class T, std::size_t N>
  static constexpr TensorView of(std::span<T, N> data, List sizes) noexcept {
    TensorView view = of(data.data(), sizes);
    if (view.size != static_cast<std::int64_t>(data.size())) view.rank = impossible;
    return view;
  }
  /// A tensor's memory, while the tensor lives; the view of an undefined tensor is refused. The
  /// reverse is `Tensor::borrow(view.dtype, view.data, view.sizes(), view.strides())`.
  static TensorView of(const Tensor& tensor) noexcept {
    if (tensor.defined())
      return make(tensor.dtype(), tensor.data(), tensor.sizes(), tensor.strides());
    TensorView none;
    none.size = 1;  // an element, but no memory
    return none;
  }

  /// Both are empty for a view that is refused.
  Sizes sizes() const noexcept { return {extents, dimensions()}; }
  Sizes strides() const noexcept { return {steps, dimensions()}; }

 private:
  static constexpr std::int32_t impossible = -1;  // the rank of a view that is refused

  constexpr std::size_t dimensions() const noexcept {
    const auto known = static_cast<std::uint32_t>(rank);
    return known <= max_rank ? known : 0;
  }

  static constexpr TensorView make(DType dtype, void* data, Sizes sizes, Sizes strides) noexcept {
    TensorView view;
    view.data = data;
    view.dtype = dtype;
    view.size = detail::count_elements(sizes);
    bool wrong = view.size < 0 || (!strides.empty() && strides.size() != sizes.size());
    for (const std::int64_t stride : strides) wrong |= stride < 0;
    view.rank = wrong ? impossible : static_cast<std::int32_t>(sizes.size());
    if (wrong || sizes.size() > max_rank) return view;
    std::uint64_t step = 1;  // may overflow if there are no elements
    for (std::size_t d = sizes.size(); d-- > 0;) {
      view.extents[d] = sizes[d];
      view.steps[d] = strides.empty() ? static_cast<std::int64_t>(step) : strides[d];
      step *= sizes[d] != 0 ? static_cast<std::uint64_t>(sizes[d]) : 1;
    }
    return view;
  }
};
static_assert(sizeof(TensorView) == sizeof(abi::ArrayRef) && std::is_standard_layout_v<TensorView>);

namespace detail {

/// Shows views to the checks of inputs.
struct Views {
  using Tensor = TensorView;
  static bool is_defined(const TensorView& view) noexcept {
    return view.data != nullptr || view.size == 0;
  }
  static bool is_strided(const TensorView& view) noexcept {
    return static_cast<std::uint32_t>(view.rank) <= TensorView::max_rank;
  }
  static bool is_strided_on(const TensorView& view, DeviceType type) noexcept {
    return is_defined(view) && is_strided(view) && view.device == type;
  }
  static DType dtype(const TensorView& view) noexcept { return view.dtype; }
  static DeviceType device(const TensorView& view) noexcept { return view.device; }
  static const void* data(const TensorView& view) noexcept { return view.data; }
  static std::span<const std::int64_t> sizes(const TensorView& view) noexcept {
    return view.sizes();
  }
  static std::span<const std::int64_t> strides(const TensorView& view) noexcept {
    return view.strides();
  }
  static bool is_row_major(const TensorView& view) noexcept {
    std::int64_t step = 1;
    for (std::int32_t d = view.rank; d-- > 0;) {
      if (view.extents[d] != 1 && view.steps[d] != step && view.size != 0) return false;
      step *= view.extents[d];
    }
    return true;
  }
};

}  // namespace detail

/// A model on the CPU that was compiled with `aot_inductor.use_minimal_arrayref_interface` by torch
/// 2.13 or later. It is called on views, and returns views of its own memory: a run makes no
/// tensors, and allocates nothing beyond what the model itself needs.
///
/// Only one thread at a time may call it, though not always the same one; a second one is not
/// detected.
template <class Runtime = Native> class ArrayRefModel {
  using Runner = aoti::Runner<Cpu, Runtime>;
  using Exports = abi::ModelExports;

 public:
  /// Opens a .pt2 package, a directory into which one was unpacked, or a bare shared object.
  /// Wraps AOTInductorModelCreateV2 and AOTInductorModelUpdateConstantsMapV2.
  /// @errors those of Runner::open; unsupported (the model was compiled without that interface, or
  ///         has constants that are computed when it is loaded)
  static Result<ArrayRefModel> open(const std::string& path, const OpenOptions& choice = {}) {
    return open_from(path, choice);
  }

  /// Opens a model that is part of the program. @errors as above
  static Result<ArrayRefModel> open(const LinkedModel& linked, const OpenOptions& choice = {}) {
    return open_from(linked, choice);
  }

  ArrayRefModel(ArrayRefModel&& other) noexcept
      : run_{std::exchange(other.run_, nullptr)},
        model_{std::exchange(other.model_, nullptr)},
        runner_{std::move(other.runner_)} {}
  ArrayRefModel& operator=(ArrayRefModel&& other) noexcept {
    std::swap(run_, other.run_);
    std::swap(model_, other.model_);
    std::swap(runner_, other.runner_);
    return *this;
  }
  ~ArrayRefModel() {
    if (model_ != nullptr) static_cast<void>(exports().model_delete(model_));
  }

  /// Deletes the model and unloads its image, under the same conditions as Runner::unload.
  void unload() && noexcept {
    ArrayRefModel rest{std::move(*this)};
    if (rest.model_ != nullptr) static_cast<void>(rest.exports().model_delete(rest.model_));
    rest.model_ = nullptr;
    std::move(rest.runner_).unload();
  }

  /// Runs. Inputs keep their data.
  /// Wraps AOTInductorModelRunMinimalArrayrefInterfaceV2.
  /// @param outputs overwritten with views of memory that belongs to the model and the calling
  ///        thread. They are valid until this thread's next run of any model of this package
  /// @errors input_count, output_count, those on inputs, bad_state, model_failed, model_threw
  [[gnu::always_inline]] Result<void> run(std::span<const TensorView> inputs,
                                          std::span<TensorView> outputs) const {
    if (run_ == nullptr || inputs.size() != runner_.input_count() ||
        outputs.size() != runner_.output_count()) [[unlikely]] {
      return detail::described([&] { return wrong_count(inputs.size(), outputs.size()); });
    }
    if (runner_.model_.template fit<detail::Views, std::dynamic_extent, detail::Fit::yes>(inputs) !=
        detail::Fit::yes) [[unlikely]]
      return detail::described([&] { return misfit(inputs); });
    // One expression, so that the result is constructed in place, not copied.
    return detail::guard(Errc::model_threw, "ArrayRefModel::run", [&]() -> Result<void> {
      [[maybe_unused]] const detail::RunningOf<Runtime> running;
      const AOTIRuntimeError native =
          run_(model_, static_cast<std::int32_t>(inputs.size()),
               reinterpret_cast<const AOTInductorArrayRefTensor*>(inputs.data()),
               static_cast<std::int32_t>(outputs.size()),
               reinterpret_cast<AOTInductorArrayRefTensor*>(outputs.data()));
      if (native != 0) [[unlikely]] {
        return abi::detail::model_error(
            exports(), abi::export_row<&Exports::model_run_minimal_arrayref_interface_v2>, native);
      }
      return success();
    });
  }

  /// The runner that the model was made from, and whose weights it shares.
  const Runner& runner() const noexcept { return runner_; }

 private:
  explicit ArrayRefModel(Runner&& runner) noexcept : runner_{std::move(runner)} {}

  template <class Source>
  static Result<ArrayRefModel> open_from(const Source& source, const OpenOptions& choice) {
    AOTI_TRY(auto runner, Runner::open(source, choice));
    return detail::guard(Errc::model_threw, "ArrayRefModel::open", [&]() -> Result<ArrayRefModel> {
      ArrayRefModel model{std::move(runner)};
      AOTI_TRYV(model.create());
      return model;
    });
  }

  const Exports& exports() const noexcept { return runner_.container().exports(); }

  Result<void> create() {
    if (runner_.operators().handle() != nullptr) {
      return Error{
          Errc::unsupported, runner_.origin(),
          "the model calls operators through a proxy executor, which the minimal array-ref "
          "interface does not pass on; use a Runner"};
    }
    if (!runner_.container().traits().takes_array_refs) {
      return Error{Errc::unsupported, runner_.origin(),
                   "the model lacks AOTInductorModelRunMinimalArrayrefInterfaceV2: compile it with "
                   "aot_inductor.use_minimal_arrayref_interface and torch 2.13 or later"};
    }
    if (runner_.weights_state() == WeightsState::none) {
      return Error{Errc::bad_state, runner_.origin(),
                   "the model has no weights, and could not be given any: open it with "
                   "PackagedWeights::required"};
    }
    [[maybe_unused]] const detail::PreparingOf<Runtime> preparing;
    std::vector<AtenTensorHandle> active;
    detail::WeightsAccess<Runner> access{runner_};
    AOTI_TRYV(access.extract(WeightSet::active, active));
    std::vector<abi::ConstantEntry> entries;
    entries.reserve(active.size());
    detail::OwnedHandles<Runtime> shared{0};
    shared.handles.reserve(active.size());  // so that no handle leaks
    for (std::size_t i = 0; i < active.size(); ++i) {
      const Constant& constant = runner_.constants()[i];
      if (active[i] == nullptr) {
        return Error{Errc::unsupported, runner_.origin(),
                     detail::concat({"the constant ", constant.name,
                                     " is computed when the model is loaded"})};
      }
      shared.handles.push_back(Runtime::share(Runtime::peek(active[i])));
      if (shared.handles.back() == nullptr) return Error{Errc::out_of_memory};
      entries.push_back({constant.name.c_str(), shared.handles.back()});
    }
    // A model created with any constants does not load its own, but only the second function makes
    // it use the given ones. Both take over the handles.
    const auto* all = reinterpret_cast<const AOTInductorConstantMapEntry*>(entries.data());
    abi::ConstantEntry first{};
    if (!entries.empty()) {
      first = {entries[0].name, Runtime::share(Runtime::peek(entries[0].tensor))};
      if (first.tensor == nullptr) return Error{Errc::out_of_memory};
    }
    auto done = abi::call<&Exports::model_create_v2>(
        exports(), &model_, reinterpret_cast<const AOTInductorConstantMapEntry*>(&first),
        std::size_t{entries.empty() ? 0u : 1u});
    if (done && !entries.empty()) {
      shared.handles.clear();
      done = abi::call<&Exports::model_update_constants_map_v2>(
          exports(), model_, all, static_cast<std::int32_t>(entries.size()));
    }
    if (done) run_ = exports().model_run_minimal_arrayref_interface_v2;
    return done;
  }

  [[gnu::cold, gnu::noinline]] Error wrong_count(std::size_t inputs, std::size_t outputs) const {
    if (run_ == nullptr) return {Errc::bad_state, "ArrayRefModel", "the model was moved from"};
    return runner_.model_.wrong_count(inputs, outputs);
  }

  [[gnu::cold, gnu::noinline]] Error misfit(std::span<const TensorView> inputs) const {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (detail::Views::is_strided(inputs[i])) continue;
      if (inputs[i].rank < 0) {
        return {Errc::input_shape, detail::concat({"input ", i}),
                "the view was made of sizes or strides that no tensor has, or of a span whose "
                "length does not match them"};
      }
      return {Errc::input_rank, detail::concat({"input ", i}),
              detail::concat({"found ", inputs[i].rank, " dimensions, expected at most ",
                              TensorView::max_rank})};
    }
    return runner_.model_.template misfit<detail::Views, detail::Fit::yes>(inputs);
  }

  decltype(Exports::model_run_minimal_arrayref_interface_v2) run_ = nullptr;
  AOTInductorModelHandle model_ = nullptr;
  Runner runner_;
};

}  // namespace aoti::inline AOTI_ABI
