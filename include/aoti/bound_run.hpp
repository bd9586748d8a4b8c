// SPDX-License-Identifier: BSD-3-Clause
// Inputs and outputs bound once to a runner and run many times, on the runtime without libtorch.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aoti/runner.hpp"
#include "aoti/runtime/tensor.hpp"

namespace aoti::inline AOTI_ABI {

/// A runner bound to the tensors that it reads and writes: from run to run, only the contents of
/// their memory change.
///
/// The first run learns which of the tensors that the model makes become its outputs. From then on
/// these are made in the memory of the bound outputs, so that results need no copy, and a run
/// neither makes nor destroys tensors for them. Results are copied if an output's memory overlaps
/// that of an input, a weight or another output, or if the model lays its result out differently.
///
/// Only one thread at a time may call it; the bound runs of one shared runner may run at once. The
/// runner must outlive it and must not be moved. Runs allocate what the model's other tensors need.
/// After a failed run, output memory may hold anything.
template <class Runner> class BoundRun {
  using Runtime = typename Runner::TensorRuntime;
  static_assert(std::same_as<typename Runtime::Tensor, Tensor>,
                "a BoundRun needs a runner on a runtime without libtorch, such as Runner<Cpu, "
                "Native> with aoti/runtime/native.hpp");

 public:
  /// @param inputs kept, and read in every run; checked as Runner::run does, at the first run and
  /// after changes of weights
  /// @param outputs kept, and written in every run; they have the sizes and dtypes that the model
  ///        returns, and any strides. An undefined one stands for a result that is not wanted, or
  ///        for None
  /// @errors input_count, output_count, undefined_tensor, out_of_memory
  static Result<BoundRun> make(const Runner& runner, std::span<const Tensor> inputs,
                               std::span<const Tensor> outputs) {
    return detail::guard(Errc::out_of_memory, "BoundRun::make", [&]() -> Result<BoundRun> {
      if (inputs.size() != runner.input_count() || outputs.size() != runner.output_count()) {
        const bool in = inputs.size() != runner.input_count();
        return Error{in ? Errc::input_count : Errc::output_count, runner.origin(),
                     detail::concat({"found ", in ? inputs.size() : outputs.size(),
                                     in ? " inputs, expected " : " outputs, expected ",
                                     in ? runner.input_count() : runner.output_count()})};
      }
      BoundRun bound{runner};
      for (const bool in : {true, false}) {
        for (std::size_t i = 0; i < (in ? inputs : outputs).size(); ++i) {
          const Tensor& tensor = (in ? inputs : outputs)[i];
          if (in && !tensor.defined()) {
            return Error{Errc::undefined_tensor, detail::concat({"input ", i}),
                         "the tensor is undefined"};
          }
          (in ? bound.inputs_ : bound.outputs_).push_back(tensor);
        }
      }
      if (!bound.prepare()) return Error{Errc::out_of_memory, "BoundRun::make", "binding tensors"};
      return bound;
    });
  }

  BoundRun(BoundRun&&) noexcept = default;
  BoundRun& operator=(BoundRun&&) noexcept = default;
  ~BoundRun() = default;

  /// Runs. @errors those of Runner::run_handles; invalid_argument (the model returned other sizes
  /// or another dtype than an output has)
  Result<void> run(typename Runner::Stream stream = {}) {
    detail::Watch watch{model().observer, Event::run};
    const detail::Gate::Beside beside{model().lender()};
    made_.clear();
    for (std::size_t i = 0; i < pinned_.size(); ++i) in_[i] = pinned_[i].handle();
    auto done = execute(stream);
    if (done) [[likely]] {
      bool in_place = true;
      for (std::size_t i = 0; i < out_.size(); ++i) in_place &= out_[i] == expected_[i];
      if (!in_place) [[unlikely]]
        done = finish();
    } else {
      detail::destroy_all<Runtime>(out_);
    }
    watch.ended(done);
    return done;
  }

  const Runner& runner() const noexcept { return *runner_; }
  std::span<const Tensor> inputs() const noexcept { return inputs_; }
  std::span<const Tensor> outputs() const noexcept { return outputs_; }

 private:
  using Model = typename Runner::Model;
  using Body = detail::TensorBody;

  /// Owns a body that models cannot release.
  class Pinned {
   public:
    explicit Pinned(Body* body) noexcept : body_{body} {
      if (body_ != nullptr) body_->hold = detail::Hold::pinned;
    }
    Pinned(Pinned&& other) noexcept : body_{std::exchange(other.body_, nullptr)} {}
    Pinned& operator=(Pinned&& other) noexcept {
      std::swap(body_, other.body_);
      return *this;
    }
    ~Pinned() {
      if (body_ == nullptr) return;
      body_->hold = detail::Hold::counted;
      body_->drop();
    }
    Body* body() const noexcept { return body_; }
    AtenTensorHandle handle() const noexcept { return Body::handle(body_); }

   private:
    Body* body_;
  };

  /// A tensor that the model makes, and that is placed in an output's memory.
  struct Planned {
    std::size_t ordinal;  ///< How many the model made before it.
    Pinned tensor;
  };

  struct Placing final : detail::Placement {
    explicit Placing(BoundRun& run) noexcept
        : bound{run}, outer{std::exchange(detail::run_state.placement, this)} {}
    Placing(const Placing&) = delete;
    Placing& operator=(const Placing&) = delete;
    ~Placing() { detail::run_state.placement = outer; }

    Body* place(std::size_t rank, const std::int64_t* sizes, const std::int64_t* strides,
                DType dtype) noexcept override {
      const std::size_t ordinal = count++;
      if (next == bound.planned_.size() || bound.planned_[next].ordinal != ordinal) return nullptr;
      Body* body = bound.planned_[next++].tensor.body();
      if (body->rank != rank || body->dtype != dtype) return nullptr;
      if (strides == nullptr && !body->row_major) return nullptr;
      for (std::size_t d = 0; d < rank; ++d) {
        if (body->sizes()[d] != sizes[d]) return nullptr;
        if (strides != nullptr && body->strides()[d] != strides[d]) return nullptr;
      }
      return body;
    }
    void made(const Body& body) noexcept override {
      if (bound.learns_) bound.learn(count - 1, body);
    }

    BoundRun& bound;
    Placement* outer;
    std::size_t count = 0;
    std::size_t next = 0;
  };

  /// The bound run's own handles, to inputs that fit.
  struct Bound {
    static constexpr std::size_t extent = std::dynamic_extent;
    static constexpr bool are_bound = true;
    std::span<AtenTensorHandle> handles;

    std::size_t size() const noexcept { return handles.size(); }
    std::span<AtenTensorHandle> slots() const noexcept { return handles; }
    static constexpr bool make() noexcept { return true; }
    static constexpr void accept() noexcept {}
  };

  explicit BoundRun(const Runner& runner) noexcept : runner_{&runner} {}

  const auto& model() const noexcept { return runner_->model_; }

  bool prepare() {
    pinned_.reserve(inputs_.size());  // so that no handle leaks
    for (const Tensor& input : inputs_) {
      pinned_.emplace_back(detail::TensorAccess::body_of(input)->share());
      if (pinned_.back().body() == nullptr) return false;
    }
    in_.resize(inputs_.size());
    out_.resize(outputs_.size());
    expected_.resize(outputs_.size(), nullptr);
    planned_.reserve(outputs_.size());
    made_.reserve(most_learnt);
    aside_.resize(outputs_.size());
    return true;
  }

  // The result is constructed in place: a copy would wait for what was just written.
  [[gnu::always_inline]] Result<void> execute(typename Runner::Stream stream) {
    if (!fits_ || weights_ != model().changes.load()) [[unlikely]] {
      if (!look_again()) return detail::described([&] { return model().in_use(); });
      if (!fits_) return run_unfit(stream);
    }
    Bound in{in_};
    const Placing placing{*this};
    return model().call("BoundRun::run", in, std::span{out_}, stream);
  }

  /// Reports what does not fit, or lays inputs out anew for this run; results will be copied.
  [[gnu::noinline]] Result<void> run_unfit(typename Runner::Stream stream) {
    for (AtenTensorHandle& slot : out_) slot = nullptr;
    detail::GivenHandles<Runtime> in{in_};
    return model().call("BoundRun::run", in, std::span{out_}, stream);
  }

  /// Copies results that are not in place into the outputs, and learns where they come from.
  [[gnu::noinline]] Result<void> finish() {
    const detail::Occupancy occupancy{Model::detects_concurrent_use ? &model().busy : nullptr};
    auto done = detail::guard(Errc::out_of_memory, "BoundRun::run", [&]() -> Result<void> {
      if (!occupancy.entered()) return model().in_use();
      return copy_outputs();
    });
    bool as_learnt = true;
    for (std::size_t i = 0; i < out_.size(); ++i) {
      as_learnt &= expected_[i] == nullptr || expected_[i] == out_[i];
    }
    detail::destroy_all<Runtime>(out_);
    if (learns_) {
      learns_ = false;
    } else if (!as_learnt) {  // the model makes its tensors in another order now
      forget();
      learns_ = --attempts_ > 0;
    }
    return done;
  }

  void forget() noexcept {
    planned_.clear();
    for (AtenTensorHandle& handle : expected_) handle = nullptr;
  }

  /// Whether the inputs fit. After a change of weights it learns anew, as other outputs may then
  /// share memory with a weight. False if another thread is inside the runner.
  [[gnu::noinline]] bool look_again() {
    const detail::Occupancy occupancy{Model::detects_concurrent_use ? &model().busy : nullptr};
    if (!occupancy.entered()) return false;
    if (weights_ != model().changes.load()) {
      weights_ = model().changes.load();
      forget();
      learns_ = attempts_ > 0;
    }
    fits_ = model().template fit<Runtime, std::dynamic_extent, detail::Fit::yes>(inputs()) ==
            detail::Fit::yes;
    return true;
  }

  /// Records a tensor that the model makes in the first run, up to most_learnt of them.
  void learn(std::size_t ordinal, const Body& body) noexcept {
    if (made_.size() < most_learnt) made_.push_back({ordinal, body.storage});
  }

  bool same_type(const Body& body, std::size_t i) const noexcept {
    const Tensor& output = outputs_[i];
    if (body.storage == nullptr || body.rank != output.rank() || body.dtype != output.dtype())
      return false;
    for (std::size_t d = 0; d < output.rank(); ++d) {
      if (body.sizes()[d] != output.sizes()[d]) return false;
    }
    return true;
  }
  bool same_layout(const Body& body, std::size_t i) const noexcept {
    if (!same_type(body, i)) return false;
    const Tensor& output = outputs_[i];
    for (std::size_t d = 0; d < output.rank(); ++d) {
      if (body.strides()[d] != output.strides()[d] && output.sizes()[d] != 1) return false;
    }
    return true;
  }

  Result<void> copy_outputs() {
    for (std::size_t i = 0; i < out_.size(); ++i) {
      const Body* found = Body::of(out_[i]);
      if (!outputs_[i].defined()) continue;
      if (found == nullptr || !same_type(*found, i)) return misfit(i, found);
    }
    // A result in the memory of an output would be overwritten by the copy of another result.
    for (std::size_t i = 0; i < out_.size(); ++i) {
      aside_[i] = Tensor{};  // left by a copy that failed
      if (!outputs_[i].defined()) continue;
      const Body& found = *Body::of(out_[i]);
      if (learns_) plan(i, found);
      if (is_in_place(found, i) || !lies_in_an_output(found)) continue;
      aside_[i] = detail::TensorAccess::owner_of(detail::reordered(found, {}));
      if (!aside_[i].defined()) return Error{Errc::out_of_memory, "BoundRun::run", "copying"};
    }
    for (std::size_t i = 0; i < out_.size(); ++i) {
      if (!outputs_[i].defined() || is_in_place(*Body::of(out_[i]), i)) continue;
      const Body* from =
          aside_[i].defined() ? detail::TensorAccess::body_of(aside_[i]) : Body::of(out_[i]);
      detail::copy_elements(*detail::TensorAccess::body_of(outputs_[i]), *from);
      aside_[i] = Tensor{};
    }
    return success();
  }

  bool is_in_place(const Body& found, std::size_t i) const noexcept {
    return found.data == outputs_[i].data() && same_layout(found, i);
  }

  /// Plans to make the tensor that became output i in the output's own memory.
  void plan(std::size_t i, const Body& found) {
    const Tensor& output = outputs_[i];
    if (found.data != found.storage->data || !same_layout(found, i) || shares_memory(i) ||
        made_.size() == most_learnt) {
      return;
    }
    for (std::size_t k = made_.size(); k-- > 0;) {  // the last one, as memory is reused
      const Made& made = made_[k];
      if (made.storage != found.storage || found.home != found.storage) continue;
      const char* reason = nullptr;
      Pinned tensor{Body::make_using(output.data(), found.rank, found.sizes(), found.strides(), 0,
                                     found.dtype, nullptr, nullptr, reason)};
      if (tensor.body() == nullptr) return;
      auto at = planned_.begin();
      while (at != planned_.end() && at->ordinal < made.ordinal) ++at;
      if (at != planned_.end() && at->ordinal == made.ordinal) return;  // it is another output too
      const AtenTensorHandle handle = tensor.handle();
      planned_.insert(at, Planned{made.ordinal, std::move(tensor)});
      expected_[i] = handle;
      return;
    }
  }

  static bool meet(const Body& a, const Body& b) noexcept {
    return a.data < end(b) && b.data < end(a);
  }
  static const std::byte* end(const Body& body) noexcept {
    std::int64_t last = body.count == 0 ? 0 : 1;
    for (std::uint32_t d = 0; d < body.rank && last != 0; ++d) {
      last += body.sizes()[d] > 1 ? (body.sizes()[d] - 1) * body.strides()[d] : 0;
    }
    return body.data + last * static_cast<std::int64_t>(element_size(body.dtype));
  }

  bool lies_in_an_output(const Body& found) const noexcept {
    bool any = false;
    for (const Tensor& output : outputs_) {
      any |= output.defined() && meet(found, *detail::TensorAccess::body_of(output));
    }
    return any;
  }

  /// Whether an output's memory overlaps that of another bound tensor or of a weight.
  bool shares_memory(std::size_t i) const noexcept {
    const Body& mine = *detail::TensorAccess::body_of(outputs_[i]);
    bool any = false;
    for (const Tensor& input : inputs_) any |= meet(mine, *detail::TensorAccess::body_of(input));
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
      any |= k != i && outputs_[k].defined() &&
             meet(mine, *detail::TensorAccess::body_of(outputs_[k]));
    }
    return any || model().is_weight(detail::ByteRange::of<Runtime>(outputs_[i]));
  }

  [[gnu::cold]] Error misfit(std::size_t i, const Body* found) const {
    const Tensor& output = outputs_[i];
    const std::span<const std::int64_t> sizes =
        found != nullptr ? std::span<const std::int64_t>{found->sizes(), found->rank}
                         : std::span<const std::int64_t>{};
    return {Errc::invalid_argument, detail::concat({"output ", i}),
            detail::concat({"found an output tensor of ", to_string(output.dtype()), " of sizes ",
                            detail::join(output.sizes()), "; the model returned ",
                            found != nullptr ? to_string(found->dtype) : "nothing", " of sizes ",
                            detail::join(sizes)})};
  }

  struct Made {
    std::size_t ordinal;
    const detail::Storage* storage;
  };
  static constexpr std::size_t most_learnt = 4096;

  const Runner* runner_;
  std::vector<Tensor> inputs_, outputs_;
  std::vector<Pinned> pinned_;  // handles to the inputs
  std::vector<Planned> planned_;
  std::vector<AtenTensorHandle> in_;
  std::vector<AtenTensorHandle> out_;       // between runs: the expected handles, or null
  std::vector<AtenTensorHandle> expected_;  // of planned outputs; null for others
  std::vector<Made> made_;
  std::vector<Tensor> aside_;  // while results are copied
  bool learns_ = true;
  int attempts_ = 4;  // to learn, for models that make their tensors in changing order
  bool fits_ = false;
  unsigned weights_ = 0;  // the count of weight changes at the last check
};

}  // namespace aoti::inline AOTI_ABI
