// SPDX-License-Identifier: BSD-3-Clause
// The functions of exports.inc for a model without a container.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aoti/abi/array_ref.hpp"
#include "aoti/model/boundary.hpp"

namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI {

/// For one kind of model, under the names of their rows. Handles of constants are taken over.
template <class Instance> class ExportedAlone : protected Boundary<Instance> {
 protected:
  using Base = Boundary<Instance>;
  using typename Base::C;
  using typename Base::Code;
  using typename Base::E;
  using typename Base::Entries;
  using typename Base::Entry;
  using typename Base::Here;
  using typename Base::M;
  using typename Base::Map;
  using typename Base::Tensors;

 public:
  static Code model_create(M* out, AOTInductorConstantMapHandle map) noexcept {
    return Base::template answer<&E::model_create>(
        [&] { return create_alone(out, Base::entries(map)); });
  }
  static Code model_create_v2(M* out, Entries given, std::size_t count) noexcept {
    return Base::template answer<&E::model_create_v2>([&]() -> Result<void> {
      return create_alone(out, Base::span(given, given != nullptr ? count : 0));
    });
  }
  static Code model_run(M handle, Tensors in, Tensors out) noexcept {
    return Base::template on<&E::model_run>(handle, [&](Here& here) {
      const Description& all = here.description();
      const detail::NoGradients guard;
      return here.run_single_threaded(in, all.inputs.size(), out, all.outputs.size(), nullptr,
                                      nullptr);
    });
  }
  [[gnu::flatten]] static Code model_run_minimal_arrayref_interface_v2(
      M handle, std::int32_t in_count, const AOTInductorArrayRefTensor* in, std::int32_t out_count,
      AOTInductorArrayRefTensor* out) noexcept {
    return Base::template on<&E::model_run_minimal_arrayref_interface_v2>(
        handle, [&](Here& here) -> Result<void> {
          AOTI_TRYV(Base::not_null(in, out));
          if (in_count < 0 || out_count < 0) return negative();
          const detail::NoGradients guard;
          if constexpr (takes_views_itself) {
            AOTI_TRY(Instance* const instance, here.alone(static_cast<std::size_t>(in_count),
                                                          static_cast<std::size_t>(out_count)));
            return instance->run_on_views(in, out);
          }
          return run_on_views(
              here,
              {reinterpret_cast<const abi::ArrayRef*>(in), static_cast<std::size_t>(in_count)},
              {reinterpret_cast<abi::ArrayRef*>(out), static_cast<std::size_t>(out_count)});
        });
  }
  static Code model_delete(M handle) noexcept {
    delete reinterpret_cast<Here*>(handle);
    return 0;
  }
  static Code model_get_num_outputs(M handle, std::size_t* out) noexcept {
    return Base::template tell<&E::model_get_num_outputs>(
        handle, out, [](Here& here) { return here.description().outputs.size(); });
  }
  static Code model_update_constants_map(M handle, AOTInductorConstantMapHandle map) noexcept {
    return Base::template on<&E::model_update_constants_map>(
        handle, [&](Here& here) -> Result<void> {
          AOTI_TRYV(Base::not_null(map));
          return take_over(here, Base::entries(map));
        });
  }
  static Code model_update_constants_map_v2(M handle, Entries given, std::int32_t count) noexcept {
    return Base::template on<&E::model_update_constants_map_v2>(
        handle, [&](Here& here) -> Result<void> {
          if (count < 0) return negative();
          return take_over(here, Base::span(given, static_cast<std::size_t>(count)));
        });
  }

 private:
  static constexpr bool takes_views_itself = requires(
      Instance & instance, const AOTInductorArrayRefTensor* in, AOTInductorArrayRefTensor* out) {
    instance.run_on_views(in, out);
  };

  [[gnu::cold]] static Error negative() {
    return {Errc::invalid_argument, "a count", "it is negative"};
  }

  static Result<void> create_alone(M* out, std::span<const Entry> given) {
    const Owned owned{given};
    AOTI_TRYV(Base::not_null(out));
    const detail::NoGradients guard;
    AOTI_TRY(auto made, Here::create(1, std::string{Instance::Device::key}.c_str(), nullptr));
    AOTI_TRYV(made->update(given, false, false, true, false));
    *out = reinterpret_cast<M>(made.release());
    return success();
  }

  static Result<void> take_over(Here& here, std::span<const Entry> given) {
    const Owned owned{given};
    const detail::NoGradients guard;
    return here.update(given, false, false, true, false);
  }

  /// Destroys the handles that a host gave away, on every path.
  struct Owned {
    std::span<const Entry> given;
    ~Owned() {
      for (const Entry& entry : given) {
        if (entry.tensor != nullptr) aoti_torch_delete_tensor_object(entry.tensor);
      }
    }
  };

  /// The outputs stay valid until this thread's next call.
  static Result<void> run_on_views(Here& here, std::span<const abi::ArrayRef> in,
                                   std::span<abi::ArrayRef> out) {
    static thread_local std::vector<Tensor> kept;
    std::vector<Tensor> inputs;
    std::vector<AtenTensorHandle> slots;
    for (const abi::ArrayRef& view : in) {
      AOTI_TRY(Tensor input, Tensor::borrow(view.dtype, view.data, dimensions(view, view.extents),
                                            dimensions(view, view.steps), view.device));
      inputs.push_back(std::move(input));
    }
    slots.reserve(in.size());
    std::vector<AtenTensorHandle> made(out.size());
    kept.clear();
    kept.reserve(out.size());
    for (Tensor& input : inputs) slots.push_back(input.release());
    auto done = here.run_single_threaded(slots.data(), slots.size(), made.data(), made.size(),
                                         nullptr, nullptr);
    for (AtenTensorHandle rest : slots) Tensor{rest};
    AOTI_TRYV(std::move(done));
    for (const AtenTensorHandle output : made) kept.emplace_back(output);
    for (std::size_t i = 0; i < out.size(); ++i) {
      AOTI_TRYV(describe(kept[i], out[i]));
    }
    return success();
  }
  static Sizes dimensions(const abi::ArrayRef& view, const std::int64_t* all) noexcept {
    const auto rank = static_cast<std::size_t>(view.rank < 0 ? 0 : view.rank);
    return {all, rank < abi::ArrayRef::max_rank ? rank : abi::ArrayRef::max_rank};
  }
  static Result<void> describe(const Tensor& tensor, abi::ArrayRef& out) {
    const Sizes sizes = tensor.sizes(), strides = tensor.strides();
    if (sizes.size() > abi::ArrayRef::max_rank) {
      return Error{Errc::unsupported, "an output", "it has more than 8 dimensions"};
    }
    out = abi::ArrayRef{};
    out.data = tensor.data();
    out.size = static_cast<std::int64_t>(tensor.element_count());
    std::copy(sizes.begin(), sizes.end(), out.extents);
    std::copy(strides.begin(), strides.end(), out.steps);
    out.rank = static_cast<std::int32_t>(sizes.size());
    out.dtype = tensor.dtype();
    out.device = tensor.device();
    out.device_index = 0;
    return success();
  }
};

}  // namespace aoti::inline AOTI_ABI::model::inline AOTI_MODEL_ABI
