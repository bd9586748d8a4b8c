// A function that models import must have the type of its row.
// expected: the function must have the type that the import's row in abi/imports.inc states
#include <aoti/runtime/native.hpp>

#ifdef COMPILE_FAIL
AOTITorchError mm(AtenTensorHandle, AtenTensorHandle) { return 0; }
#else
AOTITorchError mm(AtenTensorHandle, AtenTensorHandle, AtenTensorHandle) noexcept { return 0; }
#endif

using Runtime = aoti::NativeWith<aoti::Provide<aoti::abi::imported::cpu_mm_out, mm>>;

auto found() { return Runtime::import("aoti_torch_cpu_mm_out"); }
