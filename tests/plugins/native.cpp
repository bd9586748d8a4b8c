// A plugin that runs a model and hides all its symbols but one.
#include <aoti/aoti.hpp>
#include <aoti/runtime/native.hpp>

#include <cstdio>

// Shared with other plugins if its symbols are not hidden.
extern "C" {
__attribute__((visibility("default"))) const char* version_of_plugin() { return aoti::version; }
__attribute__((visibility("default"))) const void* variable_of_plugin() {
  return &aoti::detail::run_state;
}
}

/// The sum's last element; negative on failure.
extern "C" __attribute__((visibility("default"))) float sum_in_plugin(const char* package) {
  const auto runner = aoti::Runner<aoti::Cpu, aoti::Native>::open(package);
  const float numbers[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  const auto x = aoti::Tensor::borrow(numbers, {8});
  if (!runner || !x) {
    if (!runner) std::fprintf(stderr, "%s\n", runner.error().message().c_str());
    return -1;
  }
  const auto outputs = runner.value().run<1>(x.value(), x.value());
  return outputs ? static_cast<const float*>(outputs.value()[0].data())[7] : -2;
}
