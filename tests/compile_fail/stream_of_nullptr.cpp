// A null handle variable means the default stream; a null literal may be meant as the current one.
// expected: say Stream::device_default.., or .. for the current one
#include <aoti/device/cuda.hpp>

using Handle = struct CUstream_st*;  // cudaStream_t

#ifdef COMPILE_FAIL
aoti::Cuda::Stream stream() { return aoti::Cuda::Stream{nullptr}; }
#else
aoti::Cuda::Stream stream() { return aoti::Cuda::Stream{static_cast<Handle>(nullptr)}; }
#endif
