#include "libtorch/runtime_case.hpp"
#include "runtime/models_battery.hpp"

namespace aoti_test {

INSTANTIATE_TYPED_TEST_SUITE_P(Libtorch, ModelsBattery, aoti::Libtorch);

}  // namespace aoti_test
