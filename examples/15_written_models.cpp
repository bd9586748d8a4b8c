// Runs the models of examples/models, which are written in C++: 15_written_models DIRECTORY
#include <aoti/aoti.hpp>
#include <aoti/runtime/native.hpp>
#include <aoti/weights.hpp>
#include <array>
#include <cstdio>
#include <string>

namespace {

using Runner = aoti::Runner<aoti::Cpu, aoti::Native>;

aoti::Result<void> run(const std::string& folder) {
  AOTI_TRY(auto scale, Runner::open(folder + "/scale.pt2"));
  std::array<float, 8> x{1, 2, 3, 4, 5, 6, 7, 8}, factor{}, offset{};
  factor.fill(10);
  offset.fill(0.5f);
  AOTI_TRY(auto row, aoti::Tensor::borrow(x.data(), {1, 8}));

  // Its weights are changed like a compiled model's.
  AOTI_TRY(auto update, aoti::update_weights(scale));
  AOTI_TRY(auto factors, aoti::Tensor::borrow(factor.data(), {8}));
  AOTI_TRY(auto offsets, aoti::Tensor::borrow(offset.data(), {8}));
  AOTI_TRYV(update.set("factor", factors));
  AOTI_TRYV(update.set("offset", offsets));
  AOTI_TRYV(update.commit());
  AOTI_TRY(auto scaled, scale.run<1>(row));
  AOTI_TRY(auto y, scaled[0].elements<float>());
  std::printf("scaled: %g %g … %g\n", y[0], y[1], y[7]);

  // The package's spec says what the model takes, so inputs are checked before it is called.
  AOTI_TRY(auto narrow, aoti::Tensor::borrow(x.data(), {2, 4}));
  if (auto refused = scale.run<1>(narrow); !refused) {
    std::printf("refused: %s\n", refused.error().message().c_str());
  }

  AOTI_TRY(auto average, Runner::open(folder + "/average.pt2"));
  AOTI_TRY(auto values, aoti::Tensor::borrow(x.data(), {8}));
  for (int i = 0; i < 3; ++i) {
    AOTI_TRY(auto averages, average.run<1>(values));
    AOTI_TRY(auto all, averages[0].elements<float>());
    std::printf("average: %.3f\n", all[7]);
  }
  return aoti::success();
}

}  // namespace

int main(int argc, char** argv) {
  auto done = run(argc > 1 ? argv[1] : ".");
  if (done) return 0;
  std::fprintf(stderr, "%s\n", done.error().message().c_str());
  return 1;
}
