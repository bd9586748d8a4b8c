// Errors are values: a code to branch on and a sentence to read.
#include <ATen/ATen.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch.hpp>
#include <cstdio>
#include <string>

using Runner = aoti::Runner<aoti::Cpu>;

namespace {

/// Prints a result's error; false if there is none, or not the one that is expected.
template <class T> bool expect(const aoti::Result<T>& result, aoti::Errc code) {
  if (result) return false;
  std::printf("%s\n\n", result.error().message().c_str());
  return result.error().code() == code;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  using aoti::Errc;

  // Opening.
  bool good = expect(Runner::open(folder + "/no_such_file.pt2"), Errc::not_found);
  good &= expect(Runner::open(folder + "/mlp.bin"), Errc::not_a_package);
  good &= expect(Runner::open(folder + "/exported.pt2"), Errc::no_such_model);
  good &= expect(Runner::open(folder + "/pair.pt2"), Errc::ambiguous_model);
  good &= expect(Runner::open(folder + "/pair.pt2", {.model = "mdoel"}), Errc::no_such_model);

  // Running a model that takes float32 [batch, 64], with batch from 1 to 1024.
  auto opened = Runner::open(folder + "/mlp.pt2");
  if (!opened) return 1;
  const Runner& mlp = opened.value();
  good &= expect(mlp.run<1>(), Errc::input_count);
  good &= expect(mlp.run<2>(at::ones({4, 64})), Errc::output_count);
  good &= expect(mlp.run<1>(at::Tensor{}), Errc::undefined_tensor);
  good &= expect(mlp.run<1>(at::ones({4, 64}, at::kDouble)), Errc::input_dtype);
  good &= expect(mlp.run<1>(at::ones({4, 64}, at::kMeta)), Errc::input_device);
  good &= expect(mlp.run<1>(at::ones({4, 64}).to_sparse()), Errc::input_layout);
  good &= expect(mlp.run<1>(at::ones({64})), Errc::input_rank);
  good &= expect(mlp.run<1>(at::ones({4, 63})), Errc::input_shape);
  good &= expect(mlp.run<1>(at::ones({2000, 64})), Errc::input_shape);

  // An error changes nothing: the runner goes on.
  good &= mlp.run<1>(at::ones({4, 64})).has_value();
  return good ? 0 : 1;
}
