// A model that is part of a program calls only what the program's runtime has.
// expected: the tensor runtime does not provide this function
#include <aoti/model/bound.hpp>

namespace imported = aoti::abi::imported;

AOTITorchError call(AtenTensorHandle out, AtenTensorHandle a) {
#ifdef COMPILE_FAIL
  return aoti::model::Bound<aoti::Native, imported::cpu_addmm_out>{}(out, a, a, a, 1, 1);
#else
  return aoti::model::Bound<aoti::Native, imported::copy_>{}(out, a, 0);
#endif
}
