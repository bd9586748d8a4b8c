#include "libtorch/runtime_case.hpp"
#include "runtime/networks_battery.hpp"
#include "runtime/weights_battery.hpp"

namespace aoti_test {

INSTANTIATE_TYPED_TEST_SUITE_P(Libtorch, NetworksBattery, aoti::Libtorch);
INSTANTIATE_TYPED_TEST_SUITE_P(Libtorch, WeightsBattery, aoti::Libtorch);

}  // namespace aoti_test
