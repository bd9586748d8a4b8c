// What the tests of operators on oneDNN share.
#pragma once

#include <aoti/runtime/onednn.hpp>

#include "libtorch/twins.hpp"

namespace aoti_test {

template <class Import> typename Import::type* native_function() {
  return reinterpret_cast<typename Import::type*>(aoti::NativeOnednn::import(Import::symbol));
}
inline aoti::Tensor taken_native(AtenTensorHandle handle) {
  return aoti::NativeOnednn::take(handle);
}

}  // namespace aoti_test
