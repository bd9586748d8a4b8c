// A model in a plugin with hidden symbols, beside one in the program.
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

// Symbols that the linker merges within a process, as it may for plugins that hide nothing, belong
// to one version of the library.
TEST(Plugin, OfAnotherVersionSharesNothing) {
  const aoti::Tensor kept = RuntimeCase<aoti::Native>::make<float>({1}, {1});
  for (const std::string name : {"same", "other"}) {
    const std::string path = AOTI_TEST_PLUGINS_DIR "/libplugin_" + name + ".so";
    void* plugin = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    ASSERT_NE(plugin, nullptr) << ::dlerror();
    const auto version = reinterpret_cast<const char* (*)()>(::dlsym(plugin, "version_of_plugin"));
    const auto variable =
        reinterpret_cast<const void* (*)()>(::dlsym(plugin, "variable_of_plugin"));
    const auto sum = reinterpret_cast<float (*)(const char*)>(::dlsym(plugin, "sum_in_plugin"));
    ASSERT_TRUE(version != nullptr && variable != nullptr && sum != nullptr);
    EXPECT_EQ(std::string{version()} == aoti::version, name == "same");
    EXPECT_EQ(variable() == &aoti::detail::run_state, name == "same");
    EXPECT_EQ(sum(AOTI_TEST_MODELS_DIR "/add.pt2"), 16);
  }
}

}  // namespace
}  // namespace aoti_test
