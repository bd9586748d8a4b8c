// Models compiled by torch, on libtorch. Tests that change their weights are in a separate program,
// since both together would take long to compile.
#include "libtorch/runtime_case.hpp"
#include "runtime/inputs_battery.hpp"
#include "runtime/models_battery.hpp"
#include "runtime/opening_battery.hpp"
#include "runtime/runs_battery.hpp"

namespace aoti_test {

INSTANTIATE_TYPED_TEST_SUITE_P(Libtorch, ModelsBattery, aoti::Libtorch);
INSTANTIATE_TYPED_TEST_SUITE_P(Libtorch, OpeningBattery, aoti::Libtorch);
INSTANTIATE_TYPED_TEST_SUITE_P(Libtorch, RunsBattery, aoti::Libtorch);
INSTANTIATE_TYPED_TEST_SUITE_P(Libtorch, InputsBattery, aoti::Libtorch);

}  // namespace aoti_test
