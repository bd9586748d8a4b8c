// SPDX-License-Identifier: BSD-3-Clause
// Recurrent layers, on oneDNN.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "aoti/runtime/onednn/lstm.hpp"
#include "aoti/runtime/onednn/one_thread.hpp"
#include "aoti/runtime/onednn/plans.hpp"
#include "aoti/runtime/onednn/primitives.hpp"
#include "aoti/runtime/onednn/product.hpp"

namespace aoti::inline AOTI_ABI::detail::onednn {

struct Rnn {
  using Handle = AtenTensorHandle;
  using Code = AOTITorchError;
  using Body = TensorBody;

  /// One LSTM layer in one direction, in float32.
  /// @param input [steps, batch, channels]
  /// @param of_input [4 * hidden, channels], for the input, forget, cell and output gates
  /// @param of_hidden [4 * hidden, hidden]
  /// @param bias_input, bias_hidden [4 * hidden]
  /// @param hidden, cell the state before, [1, batch, hidden] or [batch, hidden]
  /// @param outs the hidden states [steps, batch, hidden]; the final hidden and cell states, with
  ///        the sizes of the initial ones; and an undefined tensor in place of what training needs
  static Code layer(Handle input, Handle of_input, Handle of_hidden, Handle bias_input,
                    Handle bias_hidden, Handle hidden, Handle cell, std::int32_t reverse,
                    const std::int64_t*, std::int64_t batch_sizes, std::int64_t mode,
                    std::int64_t hidden_size, std::int64_t layers, std::int32_t biased,
                    std::int32_t bidirectional, std::int32_t batch_first, std::int32_t train,
                    Handle* out, Handle* hidden_out, Handle* cell_out, Handle* workspace) noexcept {
    constexpr const char* name = abi::imported::cpu_mkldnn_rnn_layer::symbol;
    constexpr std::int64_t lstm = 2;  // torch's number for this kind of cell
    if (mode != lstm) return NativeFunctions::fail(name, "only for an LSTM");
    if (layers != 1 || bidirectional != 0 || batch_first != 0 || batch_sizes != 0 || train != 0) {
      return NativeFunctions::fail(
          name, "only for one layer, one direction, whole batches after steps, and inference");
    }
    if (hidden_size < 1 || hidden_size > most_hidden) {
      return NativeFunctions::fail(name, "there is no such hidden size");
    }
    const Body &x = *Body::of(input), &w = *Body::of(of_input), &u = *Body::of(of_hidden);
    const Body &h = *Body::of(hidden), &c = *Body::of(cell);
    const Body *b = Body::of(bias_input), *d = Body::of(bias_hidden);
    const std::int64_t gates = 4 * hidden_size;
    const bool fits = has(x, {-1, -1, -1}) && has(w, {gates, x.sizes()[2]}) &&
                      has(u, {gates, hidden_size}) &&
                      (biased == 0 || (has(*b, {gates}) && has(*d, {gates}))) && h.rank >= 2 &&
                      is_state(h, x.sizes()[1], hidden_size) &&
                      is_state(c, x.sizes()[1], hidden_size) && x.count != 0;
    if (!fits) return NativeFunctions::fail(name, "the sizes do not match, or not of float32");

    Temporary rooms[5], bias_room;
    const Body* given[] = {dense(x, rooms[0]), dense(w, rooms[1]), dense(u, rooms[2]),
                           dense(h, rooms[3]), dense(c, rooms[4])};
    const char* reason = Body::no_memory;
    Body* bias = bias_room.make(DType::float32, &gates, 1);
    if (bias == nullptr || std::find(given, given + 5, nullptr) != given + 5) {
      return NativeFunctions::fail(name, reason);
    }
    auto* const sums = reinterpret_cast<float*>(bias->data);
    for (std::int64_t i = 0; i < gates; ++i) {
      sums[i] = biased == 0 ? 0
                            : reinterpret_cast<const float*>(b->data)[i * b->strides()[0]] +
                                  reinterpret_cast<const float*>(d->data)[i * d->strides()[0]];
    }

    const std::int64_t sizes[] = {x.sizes()[0], x.sizes()[1], hidden_size};
    Body* results[] = {Body::make_owning(3, sizes, nullptr, x.dtype, reason),
                       Body::make_owning(h.rank, h.sizes(), nullptr, x.dtype, reason),
                       Body::make_owning(c.rank, c.sizes(), nullptr, x.dtype, reason),
                       Body::make_undefined()};
    Code failed = 0;
    if (std::find(results, results + 4, nullptr) != results + 4) {
      failed = NativeFunctions::fail(name, Body::no_memory);
    } else {
      Signature signature{'r'};
      signature.add(x.sizes(), 3);
      signature.add(hidden_size);
      signature.add(std::int64_t{reverse});
      // The threads meet in each step.
      const double batch = static_cast<double>(x.sizes()[1]);
      const bool is_small = batch * static_cast<double>(w.count + u.count) < least_divided;
      LstmSteps own;
      if (is_small && x.sizes()[1] == 1) own = LstmSteps::of(hidden_size);
      const OneThread alone{
          own.run != nullptr ? OneThread::is_small({x.sizes()[0], x.sizes()[2], gates}) : is_small};
      failed = run(name, signature,
                   {given[0]->data, *given[1], bias->data, *given[2], given[3]->data,
                    given[4]->data, results[0]->data, results[1]->data, results[2]->data},
                   [&](Plan& plan) {
                     if (own.run != nullptr) {
                       build_own(plan, own, x.sizes(), hidden_size, reverse);
                     } else {
                       build(plan, x.sizes(), hidden_size, reverse != 0);
                     }
                   });
    }
    if (failed != 0) {
      for (Body* result : results) {
        if (result != nullptr) result->drop();
      }
      return failed;
    }
    *out = Body::handle(results[0]);
    *hidden_out = Body::handle(results[1]);
    *cell_out = Body::handle(results[2]);
    *workspace = Body::handle(results[3]);
    return 0;
  }

 private:
  static constexpr std::int64_t most_hidden = 1 << 30;
  /// Of the multiplications in a step: with fewer, two threads take longer than one.
  static constexpr double least_divided = 1 << 17;

  /// Whether it is float32 and has these sizes; a negative size means any.
  static bool has(const Body& tensor, std::initializer_list<std::int64_t> sizes) noexcept {
    return tensor.dtype == DType::float32 && tensor.rank == sizes.size() &&
           std::equal(
               sizes.begin(), sizes.end(), tensor.sizes(),
               [](std::int64_t wanted, std::int64_t size) { return wanted < 0 || wanted == size; });
  }
  static bool is_state(const Body& tensor, std::int64_t batch, std::int64_t hidden) noexcept {
    return has(tensor, {batch, hidden}) || has(tensor, {1, batch, hidden});
  }
  static const Body* dense(const Body& tensor, Temporary& room) noexcept {
    return tensor.row_major ? &tensor : room.copy(tensor);
  }

  static Shape row_major(std::initializer_list<std::int64_t> sizes) noexcept {
    Shape shape;
    shape.rank = static_cast<int>(sizes.size());
    std::copy(sizes.begin(), sizes.end(), shape.sizes);
    shape.row_major();
    return shape;
  }

  /// For one sequence: all that the gates get from the inputs as one product, then the steps.
  static void build_own(Plan& plan, const LstmSteps& own, const std::int64_t* sizes,
                        std::int64_t hidden, std::int64_t reverse) noexcept {
    const std::int64_t steps = sizes[0], channels = sizes[2], gates = 4 * hidden;
    Shape of_input = Shape::matrix(channels, gates);
    of_input.strides[0] = 1;
    of_input.strides[1] = channels;
    const Shape wanted_shape = row_major({hidden / own.width, hidden, 4, own.width});
    Shape given_shape = wanted_shape;
    given_shape.strides[0] = own.width * hidden;
    given_shape.strides[1] = 1;
    given_shape.strides[2] = hidden * hidden;
    given_shape.strides[3] = hidden;
    const Layout iteration{dnnl_f32, given_shape}, wanted{dnnl_f32, wanted_shape},
        state{dnnl_f32, Shape::matrix(1, hidden)}, target{dnnl_f32, Shape::matrix(steps, hidden)};
    Attributes attributes;
    int sums = -1;
    add_product(plan, dnnl_f32, Shape::matrix(steps, channels), of_input, true,
                Shape::matrix(steps, gates), true, attributes,
                [&](Description result) { return sums = plan.between(result); });
    const int weights = plan.packed(plan.given(iteration.get()), wanted.get());
    const int hidden_from = plan.given(state.get()), cell_from = plan.given(state.get()),
              to = plan.given(target.get()), hidden_to = plan.given(state.get()),
              cell_to = plan.given(state.get());
    plan.add(own.run, {sums, weights, hidden_from, cell_from, to, hidden_to, cell_to},
             {steps, hidden, reverse});
  }

  static void build(Plan& plan, const std::int64_t* sizes, std::int64_t hidden,
                    bool reverse) noexcept {
    // [layers, directions, channels, gates, hidden], stored as [gates, hidden, channels].
    const auto weights_of = [&](std::int64_t channels) {
      Shape shape = row_major({1, 1, channels, 4, hidden});
      shape.strides[2] = 1;
      shape.strides[3] = hidden * channels;
      shape.strides[4] = channels;
      return shape;
    };
    const std::int64_t steps = sizes[0], batch = sizes[1], channels = sizes[2];
    const Shape weights_shape = weights_of(channels), iteration_shape = weights_of(hidden);
    const Layout source{dnnl_f32, row_major({steps, batch, channels})},
        state{dnnl_f32, row_major({1, 1, batch, hidden})}, weights{dnnl_f32, weights_shape},
        weights_wanted{dnnl_f32, weights_shape, true}, iteration{dnnl_f32, iteration_shape},
        iteration_wanted{dnnl_f32, iteration_shape, true},
        bias{dnnl_f32, row_major({1, 1, 4, hidden})},
        target{dnnl_f32, row_major({steps, batch, hidden})};
    Attributes attributes;
    dnnl_primitive_desc_t description = nullptr;
    const dnnl_rnn_direction_t direction =
        reverse ? dnnl_unidirectional_right2left : dnnl_unidirectional_left2right;
#if DNNL_VERSION_MAJOR >= 3
    const dnnl_status_t status = dnnl_lstm_forward_primitive_desc_create(
        &description, engine(), dnnl_forward_inference, direction, source.get(), state.get(),
        state.get(), weights_wanted.get(), iteration_wanted.get(), nullptr, nullptr, bias.get(),
        target.get(), state.get(), state.get(), 0, attributes.get());
#else
    dnnl_rnn_desc_t operation;
    dnnl_status_t status = dnnl_lstm_forward_desc_init(
        &operation, dnnl_forward_inference, direction, source.get(), state.get(), state.get(),
        weights_wanted.get(), iteration_wanted.get(), bias.get(), target.get(), state.get(),
        state.get(), 0);
    if (status == dnnl_success) {
      status =
          dnnl_primitive_desc_create(&description, &operation, attributes.get(), engine(), nullptr);
    }
#endif
    const int from = plan.given(source.get()), weights_given = plan.given(weights.get()),
              by = plan.given(bias.get()), iteration_given = plan.given(iteration.get()),
              hidden_from = plan.given(state.get()), cell_from = plan.given(state.get()),
              to = plan.given(target.get()), hidden_to = plan.given(state.get()),
              cell_to = plan.given(state.get());
    if (status != dnnl_success) {
      plan.add(description, status, {});
      return;
    }
    const int weights_used = plan.packed(
        weights_given, dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0));
    const int iteration_used = plan.packed(
        iteration_given, dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 1));
    plan.add(description, status,
             {{DNNL_ARG_SRC_LAYER, from},
              {DNNL_ARG_SRC_ITER, hidden_from},
              {DNNL_ARG_SRC_ITER_C, cell_from},
              {DNNL_ARG_WEIGHTS_LAYER, weights_used},
              {DNNL_ARG_WEIGHTS_ITER, iteration_used},
              {DNNL_ARG_BIAS, by},
              {DNNL_ARG_DST_LAYER, to},
              {DNNL_ARG_DST_ITER, hidden_to},
              {DNNL_ARG_DST_ITER_C, cell_to}});
  }
};

}  // namespace aoti::inline AOTI_ABI::detail::onednn
