// Not a model, but a library with the C functions that c_function calls.
#include <aoti/abi/handles.hpp>

extern "C" {
AOTITorchError aoti_torch_get_numel(AtenTensorHandle tensor, std::int64_t* out);
AOTITorchError aoti_torch_get_data_ptr(AtenTensorHandle tensor, void** out);

int twice_version();
int twice_version() { return 3; }

AOTITorchError aoti_torch_tests_twice(AtenTensorHandle tensor);
AOTITorchError aoti_torch_tests_twice(AtenTensorHandle tensor) {
  std::int64_t count = 0;
  void* data = nullptr;
  if (aoti_torch_get_numel(tensor, &count) != 0 || aoti_torch_get_data_ptr(tensor, &data) != 0) {
    return 1;
  }
  for (std::int64_t i = 0; i < count; ++i) static_cast<float*>(data)[i] *= 2;
  return 0;
}
}
