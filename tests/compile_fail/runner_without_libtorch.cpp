// A runner on libtorch needs the header that defines it; naming its type does not.
// expected: for Libtorch include <aoti/runtime/libtorch.hpp>
#include <aoti/aoti.hpp>

using Runner = aoti::Runner<aoti::Cpu>;
using Result = aoti::Result<Runner>;

#ifdef COMPILE_FAIL
Result open() { return Runner::open("model.pt2"); }
#else
Result open();
#endif
