// A model that calls custom operators, and the error if nothing defines them.
#include <ATen/ATen.h>

#include <aoti/aoti.hpp>
#include <aoti/runtime/libtorch_operators.hpp>
#include <cstdio>
#include <string>

using Runner = aoti::Runner<aoti::Cpu, aoti::LibtorchWithOperators>;

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  const std::string library = argc > 2 ? argv[2] : "./liboperators_functions.so";

  auto without = Runner::open(folder + "/throwing.pt2");
  if (without) return 1;
  std::printf("%s\n", without.error().message().c_str());

  auto runner = Runner::open(folder + "/throwing.pt2", {.operator_libraries = {library}});
  if (!runner) {
    std::fprintf(stderr, "%s\n", runner.error().message().c_str());
    return 1;
  }

  const at::Tensor x = at::arange(8, at::kFloat);
  auto outputs = runner.value().run<1>(x);
  if (!outputs || !outputs.value()[0].equal(x + 1)) return 1;

  // What an operator throws is an error like any other.
  auto thrown = runner.value().run<1>(-x);
  if (thrown) return 1;
  std::printf("%.120s…\n", thrown.error().message().c_str());
  return runner.value().run<1>(x) ? 0 : 1;
}
