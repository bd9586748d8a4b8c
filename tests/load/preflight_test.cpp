#include <aoti/device/cpu.hpp>
#include <aoti/load/native_needs.hpp>
#include <aoti/load/preflight.hpp>

#include <string>
#include <vector>

#include "support/fake_runtime.hpp"
#include "support/support.hpp"

namespace {

using aoti::Errc;
using aoti_test::FakeRuntime;
using aoti_test::package;

struct OtherDevice : aoti::Cpu {
  static constexpr std::string_view key = "other";
};

template <class Device> aoti::Result<void> check(const char* name, aoti::DeviceIndex index = {}) {
  const auto opened = aoti::Package::open(package(name));
  if (!opened) return aoti::Error{opened.error().code(), "opening", opened.error().message()};
  const auto model = opened.value().model("");
  if (!model) return aoti::Error{model.error().code(), "the model", model.error().message()};
  auto image = aoti::preflight<Device, FakeRuntime>(model.value(), index);
  if (!image) return std::move(image).error();
  return aoti::success();
}

TEST(Preflight, PassesWhatCanRunHere) {
  for (const char* name : {"add.pt2", "no_metadata.pt2", "minimal.pt2", "unknown_isa.pt2",
                           "weights.pt2", "this_kernel.pt2"}) {
    EXPECT_TRUE(aoti_test::good(check<aoti::Cpu>(name))) << name;
  }
  EXPECT_TRUE(aoti_test::good(check<aoti::Cpu>("add.pt2", {0})));
  EXPECT_TRUE(aoti_test::good(check<OtherDevice>("no_metadata.pt2")));
}

TEST(Preflight, TellsWhyAModelCannotRunHere) {
  const std::string host{aoti::machine_name(aoti::detail::host_machine)};
  const std::string other = host == "x86_64" ? "aarch64" : "x86_64";
  const struct {
    const char* file;
    Errc code;
    std::vector<std::string> parts;
  } cases[] = {
      {"cuda.pt2", Errc::wrong_device, {"compiled for cuda", "for cpu"}},
      {"machine.pt2", Errc::wrong_machine, {"compiled for sparc", host}},
      {"platform.pt2", Errc::wrong_machine, {"compiled for win32", "linux"}},
      {"elf_machine.pt2",
       Errc::wrong_machine,
       {"compiled for " + other + "; this machine is " + host}},
      {"elf_32_bit.pt2", Errc::wrong_machine, {"64-bit little-endian"}},
      {"elf_big_endian.pt2", Errc::wrong_machine, {"64-bit little-endian"}},
      {"elf_executable.pt2", Errc::damaged_package, {"not a shared object"}},
      {"no_elf.pt2", Errc::not_a_package, {"not an ELF"}},
      {"windows.pt2", Errc::wrong_machine, {"a library of Windows (PE) for aarch64", host}},
      {"windows_pyd.pt2", Errc::wrong_machine, {"a library of Windows (PE) for aarch64"}},
      {"macos.pt2", Errc::wrong_machine, {"a library of macOS (Mach-O) for arm64", host}},
      {"macos_dylib.pt2", Errc::wrong_machine, {"a library of macOS (Mach-O) for arm64"}},
      {"freebsd.pt2", Errc::wrong_machine, {"for FreeBSD; this system is Linux"}},
      {"hurd.pt2", Errc::wrong_machine, {"for the Hurd; this system is Linux"}},
      {"newer_kernel.pt2", Errc::wrong_machine, {"for Linux 99.1.0 or later"}},
      {"newer_libc.pt2",
       Errc::library_load_failed,
       {"it needs GLIBC_9.9", "and this is glibc", "compile the model on a system no newer"}},
      {"needs_other.pt2",
       Errc::library_load_failed,
       {"needs libother_fake.so, not found here", "LD_LIBRARY_PATH"}},
      {"cut_image.pt2", Errc::damaged_package, {"cut off"}},
      {"sources_only.pt2", Errc::unsupported, {"sources only", "`python -m aoti compile FILE`"}},
      {"lacks_required.pt2",
       Errc::missing_export,
       {"AOTInductorModelContainerRun", "AOTInductorModelContainerGetNumOutputs"}},
      {"lacks_import.pt2",
       Errc::missing_import,
       {"aoti_torch_no_such_function", "aoti_torch_cpu_addmm_out (torch 2.3)"}},
  };
  for (const auto& [file, code, parts] : cases) {
    SCOPED_TRACE(file);
    aoti_test::expect_error(check<aoti::Cpu>(file), code, parts);
    aoti_test::expect_error(check<aoti::Cpu>(file), code, {package(file) + " (model)"});
  }
  aoti_test::expect_error(check<aoti::Cpu>("add.pt2", {1}), Errc::device_unavailable, {"cpu:1"});
  aoti_test::expect_error(check<OtherDevice>("add.pt2"), Errc::wrong_device,
                          {"compiled for cpu", "for other"});
}

// Only missing functions are named.
TEST(Preflight, NamesNothingThatIsThere) {
  for (const char* file : {"lacks_required.pt2", "lacks_import.pt2"}) {
    const auto result = check<aoti::Cpu>(file);
    ASSERT_FALSE(result);
    for (const char* there :
         {"RunSingleThreaded", "GetNumInputs", "aoti_torch_get_dim", "aoti_torch_empty_strided"}) {
      EXPECT_THAT(result.error().message(), testing::Not(testing::HasSubstr(there))) << file;
      EXPECT_THAT(result.error().message(), testing::Not(testing::HasSubstr("leef"))) << file;
    }
  }
}

TEST(Preflight, KnowsThisProcessorsInstructionSets) {
  EXPECT_TRUE(aoti::detail::has_instruction_set("ISA_OF_THE_FUTURE"));
#if defined(__x86_64__)
  EXPECT_EQ(aoti::detail::has_instruction_set("AVX2"),
            __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
  if (aoti::detail::has_instruction_set("AVX512") &&
      aoti::detail::has_instruction_set("AVX512_VNNI")) {
    EXPECT_TRUE(aoti_test::good(check<aoti::Cpu>("vnni.pt2")));
  } else {
    aoti_test::expect_error(check<aoti::Cpu>("vnni.pt2"), Errc::wrong_machine,
                            {"compiled for AVX512", "does not have"});
  }
#endif
}

// What a model needs without libtorch, as reported by inspect.
TEST(NativeNeeds, AreOperatorsAndWhereTheyComeFrom) {
  const auto needs = [](const char* name) {
    const auto opened = aoti::Package::open(package(name));
    auto found = aoti::native_needs(opened.value().model("").value());
    return found ? std::move(found).value() : aoti::NativeNeeds{{found.error().message()}, {}, {}};
  };
  using testing::ElementsAre;
  using testing::IsEmpty;
  EXPECT_THAT(needs("add.pt2").operators, IsEmpty());
  EXPECT_THAT(needs("add.pt2").libraries, IsEmpty());
  EXPECT_THAT(needs("sleef.pt2").operators, IsEmpty());
  EXPECT_THAT(needs("sleef.pt2").libraries, ElementsAre("Sleef (libsleef.so.3)"));
  const aoti::NativeNeeds lacking = needs("lacks_import.pt2");
  EXPECT_THAT(lacking.operators, testing::UnorderedElementsAre("aoti_torch_no_such_function",
                                                               "aoti_torch_cpu_addmm_out"));
  EXPECT_THAT(lacking.libraries, ElementsAre("oneDNN (aoti/runtime/onednn.hpp)"));
  EXPECT_THAT(lacking.missing, ElementsAre("aoti_torch_no_such_function"));
  const aoti::NativeNeeds calling = needs("operators.pt2");
  EXPECT_THAT(calling.missing, testing::Contains("mylib::twice"));
  EXPECT_EQ(calling.operators, calling.missing);
  EXPECT_THAT(needs("sources_only.pt2").operators,
              ElementsAre(testing::HasSubstr("the model has sources only")));
}

}  // namespace
