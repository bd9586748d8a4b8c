// Models compiled by torch on the runtime without libtorch, which is not in this program.
#include "runtime/inputs_battery.hpp"
#include "runtime/models_battery.hpp"
#include "runtime/native_case.hpp"
#include "runtime/opening_battery.hpp"
#include "runtime/runs_battery.hpp"
#include "runtime/weights_battery.hpp"

namespace aoti_test {

INSTANTIATE_TYPED_TEST_SUITE_P(Native, ModelsBattery, aoti::Native);
INSTANTIATE_TYPED_TEST_SUITE_P(Native, OpeningBattery, aoti::Native);
INSTANTIATE_TYPED_TEST_SUITE_P(Native, RunsBattery, aoti::Native);
INSTANTIATE_TYPED_TEST_SUITE_P(Native, InputsBattery, aoti::Native);
INSTANTIATE_TYPED_TEST_SUITE_P(Native, WeightsBattery, aoti::Native);

}  // namespace aoti_test
