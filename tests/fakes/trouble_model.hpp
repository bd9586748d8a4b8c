// The model of the fakes `trouble` and `trouble_silent`: two inputs, and twice their sum as
// outputs.
#pragma once

#include <new>
#include <stdexcept>

#include "fakes/fake_model.hpp"
#include "fakes/trouble.hpp"

namespace {

struct TroubleModel : Model {
  static constexpr std::size_t outputs = 2;

  AOTIRuntimeError run(AtenTensorHandle* in, AtenTensorHandle* out) {
    using aoti_test::Trouble;
    const auto trouble = static_cast<Trouble>(*data<float>(in[0]));
    switch (trouble) {
      case Trouble::none:
        break;
      case Trouble::fails:
        return fail("the fake failed");
      case Trouble::fails_late:
        make_one(in, out);
        return fail("the fake failed late");
      case Trouble::out_of_memory:
        return fail("CUDA out of memory. Tried to allocate 2.00 GiB");
      case Trouble::import_fails:
        return fail("aoti_torch_empty_strided(2, sizes) API call failed at model.cpp, line 12");
      case Trouble::silent:
        return fail("");
      case Trouble::few_outputs:
        make_one(in, out);
        return 0;
      case Trouble::no_outputs:
        return 0;
      case Trouble::throws:
        throw std::runtime_error{"the fake threw"};
      case Trouble::throws_late:
        make_one(in, out);
        throw std::runtime_error{"the fake threw late"};
      case Trouble::throws_memory:
        throw std::bad_alloc{};
      case Trouble::throws_int:
        throw 7;
    }
    const AOTIRuntimeError failed = add(in, out);
    if (failed == 0) aoti_torch_new_tensor_handle(out[0], &out[1]);
    return failed;
  }

 private:
  static void make_one(AtenTensorHandle* in, AtenTensorHandle* out) {
    out[0] = empty_like(in[0], float32);
    free_input(in[0]);
  }
};

}  // namespace
