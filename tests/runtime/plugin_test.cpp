// A model in a plugin whose symbols nobody else sees, beside one in the program.
#include <aoti/aoti.hpp>

#include <dlfcn.h>

#include <string>

#include "runtime/native_case.hpp"

namespace aoti_test {
namespace {

TEST(Plugin, RunsAModelOfItsOwn) {
  void* plugin = ::dlopen(AOTI_TEST_PLUGINS_DIR "/libplugin_native.so", RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(plugin, nullptr) << ::dlerror();
  const auto sum = reinterpret_cast<float (*)(const char*)>(::dlsym(plugin, "sum_in_plugin"));
  ASSERT_NE(sum, nullptr);
  const std::string package = AOTI_TEST_MODELS_DIR "/add.pt2";
  const auto runner = aoti::Runner<aoti::Cpu, aoti::Native>::open(package);
  ASSERT_TRUE(good(runner));
  const aoti::Tensor x = RuntimeCase<aoti::Native>::make<float>({8}, {0, 0, 0, 0, 0, 0, 0, 5});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(sum(package.c_str()), 16);
    const auto here = runner.value().run<1>(x, x);
    ASSERT_TRUE(good(here));
    EXPECT_EQ(RuntimeCase<aoti::Native>::elements<float>(here.value()[0])[7], 10);
  }
}

}  // namespace
}  // namespace aoti_test
