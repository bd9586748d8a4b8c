// What a runtime is asked before a model that calls operators is loaded.
#include <aoti/load/operators.hpp>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "support/runners.hpp"

// What the fake `calls` imports.
extern "C" __attribute__((used)) AOTITorchError aoti_torch_proxy_executor_call_function(
    AOTIProxyExecutorHandle, int, int, std::int64_t*, int, AtenTensorHandle*) {
  return 0;
}

namespace aoti_test {
namespace {

using aoti::Errc;
using aoti::OperatorCalls;

std::vector<std::string> known;  // the operators that the process seems to have
std::vector<std::string> made;   // the device and the operators of each executor
bool make_fails = false;

/// A runtime whose executors do nothing.
struct Executor : aoti::detail::NoOperators {
  static bool has(const std::string& name) {
    for (const std::string& it : known) {
      if (it == name) return true;
    }
    return false;
  }
  static aoti::Result<Executor> make(const aoti::PackagedModel& model,
                                     const std::vector<aoti::Json>& calls,
                                     const std::string& device) {
    if (make_fails) return aoti::Error{Errc::unsupported, model.origin, "not this one"};
    made.push_back(device);
    for (const aoti::Json& call : calls) made.push_back(call["target"].string);
    return Executor{};
  }
  AOTIProxyExecutorHandle handle() const noexcept { return nullptr; }
};

struct WithOperators : FakeRuntime {
  using Operators = Executor;
};
static_assert(aoti::TensorRuntime<WithOperators>);

class Operators : public Tidy {
 protected:
  using Runner = aoti::Runner<aoti::Cpu, WithOperators>;
  const std::vector<std::string> all{"mylib::twice", "mylib::thrice",
                                     "__torch__.torch.classes.mylib.Table"};

  Operators() {
    known.clear();
    made.clear();
    make_fails = false;
  }
};

TEST_F(Operators, AreReadFromThePackage) {
  const auto file = aoti::Package::open(package("operators.pt2"));
  ASSERT_TRUE(good(file));
  const auto calls = OperatorCalls::read(file.value().model().value());
  ASSERT_TRUE(good(calls));
  EXPECT_EQ(calls.value().names, all);
  EXPECT_EQ(calls.value().in_python, std::vector<std::string>{"mylib::thrice"});
  EXPECT_EQ(calls.value().nodes.size(), 4u);
}

TEST_F(Operators, AreNoneInMostPackages) {
  for (const char* name : {"add.pt2", "no_nodes.pt2"}) {
    const auto file = aoti::Package::open(package(name));
    ASSERT_TRUE(good(file));
    const auto calls = OperatorCalls::read(file.value().model().value());
    ASSERT_TRUE(good(calls));
    EXPECT_TRUE(calls.value().names.empty());
    EXPECT_EQ(elements<float>(opened<Runner>(package(name)).run<1>(a23(), b23()).value()[0]),
              sum23);
  }
  EXPECT_TRUE(made.empty());
}

TEST_F(Operators, ThatAreMissingAreAllListed) {
  const Footprint before;
  expect_error(Runner::open(package("operators.pt2")), Errc::missing_import,
               {"operators.pt2 (model)", "OpenOptions::operator_libraries",
                "mylib::twice, mylib::thrice (written in Python), __torch__"});
  known = {all[1]};
  const auto some = Runner::open(package("operators.pt2"));
  expect_error(some, Errc::missing_import, {"mylib::twice, __torch__"});
  EXPECT_EQ(some.error().message().find(all[1]), std::string::npos);
  EXPECT_TRUE(made.empty());
  EXPECT_EQ(Footprint{}, before);
}

TEST_F(Operators, ThatAreThereGetAnExecutor) {
  known = all;
  const Runner runner = opened<Runner>(package("operators.pt2"));
  EXPECT_EQ(made, (std::vector<std::string>{"cpu", all[0], all[1], all[0], "call_torchbind"}));
  EXPECT_EQ(elements<float>(runner.run<1>(a23(), b23()).value()[0]), sum23);
}

TEST_F(Operators, WithoutAnExecutorAreAnError) {
  known = all;
  make_fails = true;
  const Footprint before;
  expect_error(Runner::open(package("operators.pt2")), Errc::unsupported, {"not this one"});
  EXPECT_EQ(Footprint{}, before);
}

TEST_F(Operators, OfWhichThePackageDoesNotTellAreAnError) {
  expect_error(Runner::open(package("calls.pt2")), Errc::unsupported, {"calls.pt2 (model)"});
  expect_error(Runner::open(fake("calls")), Errc::unsupported, {fake("calls"), "proxy executor"});
  expect_error(aoti_test::Runner::open(fake("calls")), Errc::unsupported, {"proxy executor"});
}

TEST_F(Operators, ComeFromLibraries) {
  const std::string library = fake("minimal"), missing = "/no/such/library.so";
  const Runner runner = opened<Runner>(package("add.pt2"), {.operator_libraries = {library}});
  EXPECT_TRUE(aoti::is_loaded(library.c_str()));
  for (const char* name : {"add.pt2", "operators.pt2"}) {
    const auto failed = Runner::open(package(name), {.operator_libraries = {library, missing}});
    expect_error(failed, Errc::library_load_failed, {missing, "No such file or directory"});
  }
  const std::string text = package("add.pt2");
  expect_error(Runner::open(package("add.pt2"), {.operator_libraries = {text}}),
               Errc::library_load_failed, {text, "invalid ELF header"});
}

void expect_doubles(const aoti_test::Runner& runner) {
  EXPECT_EQ(elements<float>(runner.run<1>(a23(), b23()).value()[0]),
            (std::vector<float>{12, 24, 36, 48, 60, 72}));
}

TEST_F(Operators, ByFunctionsInCComeFromLibraries) {
  const std::string library = fake("twice");
  if (aoti::is_loaded(library.c_str())) GTEST_SKIP() << "a run before has loaded it";
  const Footprint before;
  expect_error(aoti_test::Runner::open(package("c_function.pt2")), Errc::library_load_failed,
               {"needs libfake_twice.so, not found here", "operator_libraries"});
  EXPECT_EQ(Footprint{}, before);
  expect_doubles(opened(package("c_function.pt2"), {.operator_libraries = {library}}));
}

TEST_F(Operators, DISABLED_ByFunctionsInCComeFromWhatTheImageNeeds) {
  const auto opened_package = aoti::Package::open(package("c_function.pt2"));
  EXPECT_TRUE(good(aoti::preflight<aoti::Cpu, aoti_test::FakeRuntime>(
      opened_package.value().model("").value())));
  EXPECT_FALSE(aoti::is_loaded("libfake_twice.so"));
  expect_doubles(opened(package("c_function.pt2")));
}
TEST_F(Operators, ByFunctionsInCComeFromWhatTheImageNeeds) {
#if defined(__aarch64__)
  GTEST_SKIP() << "an emulated program cannot start itself";
#endif
  const std::string run = std::string{"LD_LIBRARY_PATH=" AOTI_TEST_FAKES_DIR " "} +
                          program_invocation_name +
                          " --gtest_also_run_disabled_tests --gtest_filter="
                          "Operators.DISABLED_ByFunctionsInCComeFromWhatTheImageNeeds > /dev/null";
  EXPECT_EQ(std::system(run.c_str()), 0);
}

}  // namespace
}  // namespace aoti_test
