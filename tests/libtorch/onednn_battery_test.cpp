// Models compiled by torch, on the runtime without libtorch, with their operators on oneDNN.
#include <aoti/runtime/onednn.hpp>

#include "runtime/native_case.hpp"
#include "runtime/networks_battery.hpp"
#include "runtime/opening_battery.hpp"
#include "runtime/runs_battery.hpp"

namespace aoti_test {

INSTANTIATE_TYPED_TEST_SUITE_P(Onednn, NetworksBattery, aoti::NativeOnednn);
INSTANTIATE_TYPED_TEST_SUITE_P(Onednn, OpeningBattery, aoti::NativeOnednn);
INSTANTIATE_TYPED_TEST_SUITE_P(Onednn, RunsBattery, aoti::NativeOnednn);
INSTANTIATE_TYPED_TEST_SUITE_P(Onednn, WeightsBattery, aoti::NativeOnednn);

}  // namespace aoti_test
