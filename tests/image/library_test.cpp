#include <aoti/image/library.hpp>

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <string>
#include <vector>

#include "support/fake_runtime.hpp"
#include "support/support.hpp"

namespace {

using aoti::Backing;
using aoti::Errc;
using aoti::Library;
using aoti_test::fake;
using aoti_test::Footprint;
using aoti_test::read_file;

class LibraryOf : public testing::TestWithParam<Backing> {
 protected:
  static aoti::Result<Library> load(const std::string& path) {
    const auto bytes = read_file(path);
    const auto image = aoti::Image::parse(bytes, path);
    EXPECT_TRUE(aoti_test::good(image));
    return Library::load(bytes, image.value().edits([](std::string_view) { return false; }), path,
                         GetParam());
  }
};

TEST_P(LibraryOf, EachLoadIsALibraryOfItsOwn) {
  std::vector<Library> libraries;
  std::vector<void*> addresses;
  // Descriptors of closed images are reused.
  for (const char* name : {"add", "add", "minimal", "add", "unique", "unique"}) {
    auto library = load(fake(name));
    ASSERT_TRUE(aoti_test::good(library)) << name;
    void* run = library.value().symbol("AOTInductorModelContainerRun");
    ASSERT_NE(run, nullptr) << name;
    for (const void* other : addresses) EXPECT_NE(run, other) << name;
    addresses.push_back(run);
    EXPECT_EQ(library.value().symbol("AOTInductorGetLastError") != nullptr,
              std::string{name} != "minimal")
        << name;
    EXPECT_EQ(library.value().symbol("no_such_symbol"), nullptr);
    library.value().close_file();
    libraries.push_back(std::move(library).value());
  }
  EXPECT_NE(libraries[4].symbol("runs"), libraries[5].symbol("runs"));
  for (Library& library : libraries) library.unload();
}

TEST_P(LibraryOf, UnloadingGivesEverythingBack) {
  const aoti_test::TemporaryDirectory directory;
  for (const char* name : {"add", "unique"}) {
    const Footprint before;
    auto library = load(fake(name));
    ASSERT_TRUE(aoti_test::good(library));
    EXPECT_EQ(aoti_test::names_in(directory.path()).size(),
              GetParam() == Backing::temporary_file ? 1u : 0u);
    library.value().close_file();
    EXPECT_TRUE(aoti_test::names_in(directory.path()).empty());
    EXPECT_EQ(Footprint{}.descriptors, before.descriptors);
    EXPECT_GT(Footprint{}.mappings, before.mappings);
    library.value().unload();
    EXPECT_EQ(Footprint{}, before) << name;
    EXPECT_EQ(library.value().symbol("AOTInductorModelContainerRun"), nullptr);
  }
}

TEST_P(LibraryOf, StaysLoadedWhenTheObjectDies) {
  const Footprint before;
  void* symbol = nullptr;
  {
    auto library = load(fake("add"));
    ASSERT_TRUE(aoti_test::good(library));
    symbol = library.value().symbol("AOTInductorModelContainerGetNumInputs");
  }
  EXPECT_EQ(Footprint{}.descriptors, before.descriptors);
  ASSERT_NE(symbol, nullptr);
  std::size_t count = 0;
  reinterpret_cast<AOTIRuntimeError (*)(AOTInductorModelContainerHandle, std::size_t*)>(symbol)(
      nullptr, &count);
  EXPECT_EQ(count, 2u);
}

TEST_P(LibraryOf, AFailureLeavesNothing) {
  const aoti_test::TemporaryDirectory directory;
  const auto add = read_file(fake("add"));
  const Footprint before;
  const std::vector<std::byte> images[] = {
      {}, {add.begin(), add.begin() + 40}, read_file(aoti_test::package("add.pt2"))};
  for (const auto& image : images) {
    aoti_test::expect_error(Library::load(image, {}, "the name", GetParam()),
                            Errc::library_load_failed, {"the name"});
  }
  aoti_test::expect_error(load(fake("lacks_import")), Errc::library_load_failed, {"aoti_torch_"});
  EXPECT_EQ(Footprint{}, before);
  EXPECT_TRUE(aoti_test::names_in(directory.path()).empty());
}

TEST_P(LibraryOf, TakesAnyName) {
  const auto bytes = read_file(fake("none"));
  for (const std::string& name :
       {std::string{}, std::string(5000, 'x'), std::string{"a/b (c)\n%s"}, std::string{"ends/"}}) {
    auto library = Library::load(bytes, {}, name, GetParam());
    ASSERT_TRUE(aoti_test::good(library)) << name;
    library.value().unload();
  }
}

INSTANTIATE_TEST_SUITE_P(EachBacking, LibraryOf,
                         testing::Values(Backing::memory, Backing::temporary_file),
                         [](const auto& test) {
                           return test.param == Backing::memory ? "memory" : "temporary_file";
                         });

TEST(Library, SaysWhereATemporaryFileCannotBeMade) {
  const aoti_test::TemporaryDirectory directory;
  ::setenv("TMPDIR", "/no/such/directory", 1);
  const Footprint before;
  const auto bytes = read_file(fake("none"));
  aoti_test::expect_error(Library::load(bytes, {}, "the name", Backing::temporary_file),
                          Errc::library_load_failed,
                          {"the name", "/no/such/directory", "No such file or directory"});
  EXPECT_EQ(Footprint{}, before);
  auto library = Library::load(bytes, {}, "the name", Backing::memory);
  EXPECT_TRUE(aoti_test::good(library));
}

/// What `body` returns in a child process.
template <class Body> std::string in_child(Body&& body) {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string text = body();
    ::_exit(::write(ends[1], text.data(), text.size()) < 0);
  }
  ::close(ends[1]);
  std::string text(4096, '\0');
  std::size_t size = 0;
  for (ssize_t n = 1; n > 0; size += static_cast<std::size_t>(n)) {
    n = ::read(ends[0], text.data() + size, text.size() - size);
    if (n < 0) break;
  }
  ::close(ends[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  text.resize(size);
  return text;
}

/// Forbids memfd_create in this process: always, or only without the flag that vm.memfd_noexec = 2
/// requires.
bool refuse_memory_files(bool always) {
  constexpr auto flags = static_cast<unsigned>(offsetof(seccomp_data, args[1]));
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, flags),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, always ? 0u : 8u, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(filter), filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// Mounts an empty file system over a directory, for this process.
bool cover(const char* place, unsigned long flags) {
  static const bool own =
      (::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
      ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  return own && ::mount("none", place, "tmpfs", flags, nullptr) == 0;
}

/// Where the image of a loaded `add` came from, or why it was not loaded.
std::string origin_of_add(Backing backing = aoti::default_backing) {
  auto library = Library::load(read_file(fake("add")), {}, "the name", backing);
  if (!library) return library.error().message();
  Dl_info info{};
  ::dladdr(library.value().symbol("AOTInductorModelContainerRun"), &info);
  const std::string path = info.dli_fname;
  library.value().unload();
  return path;
}

// If the system forbids one way, the next best is used.
TEST(Library, IsLoadedFromWhereItMayBe) {
  using testing::StartsWith;
  const aoti_test::TemporaryDirectory directory;
  EXPECT_THAT(in_child([] { return origin_of_add(); }), StartsWith("/proc/self/fd/"));
  const std::string sealed =
      in_child([] { return refuse_memory_files(false) ? origin_of_add() : "no seccomp"; });
  if (sealed == "no seccomp") GTEST_SKIP() << "no filter of system calls can be set";
  EXPECT_THAT(sealed, StartsWith("/proc/self/fd/"));
  EXPECT_THAT(in_child([] { return refuse_memory_files(true) ? origin_of_add() : ""; }),
              StartsWith("/dev/shm/aoti-"));

  const std::string no_proc = in_child([] { return cover("/proc", 0) ? origin_of_add() : "no"; });
  if (no_proc == "no") GTEST_SKIP() << "nothing can be mounted";
  EXPECT_THAT(no_proc, StartsWith("/dev/shm/aoti-"));
  const std::string& temporary = directory.path();
  EXPECT_THAT(in_child([] {
                return cover("/dev/shm", MS_NOEXEC) && refuse_memory_files(true) ? origin_of_add()
                                                                                 : "";
              }),
              StartsWith(temporary + "/aoti-"));
  EXPECT_THAT(in_child([] {
                return cover("/dev/shm", MS_RDONLY) && cover("/proc", 0) ? origin_of_add() : "";
              }),
              StartsWith(temporary + "/aoti-"));
  EXPECT_TRUE(aoti_test::names_in(temporary).empty());
}

TEST(Library, SaysWhatWasTriedAndWhatToSet) {
  const aoti_test::TemporaryDirectory directory;
  const auto nowhere = [&](Backing backing) {
    return in_child([&]() -> std::string {
      if (!cover("/dev/shm", MS_RDONLY) || !cover(directory.path().c_str(), MS_NOEXEC)) return "no";
      return refuse_memory_files(true) ? origin_of_add(backing) : "no";
    });
  };
  const std::string said = nowhere(Backing::automatic);
  if (said == "no") GTEST_SKIP() << "nothing can be refused here";
  for (const char* part : {"the name: library load failed", "memory file: Permission denied",
                           "/dev/shm/aoti-XXXXXX: Read-only file system", "noexec",
                           "Operation not permitted", "in $TMPDIR"}) {
    EXPECT_THAT(said, testing::HasSubstr(part));
  }
  EXPECT_THAT(said, testing::HasSubstr(directory.path()));
  EXPECT_THAT(nowhere(Backing::memory), testing::HasSubstr("Backing::automatic"));
  EXPECT_THAT(nowhere(Backing::temporary_file), testing::HasSubstr("noexec"));
}

TEST(LoadForGood, SaysThatAFileSystemMayBeMountedNoexec) {
#if defined(__aarch64__)
  GTEST_SKIP() << "the emulator maps code as data";
#endif
  const aoti_test::TemporaryDirectory directory;
  const auto bytes = read_file(fake("none"));
  const std::string said = in_child([&]() -> std::string {
    if (!cover(directory.path().c_str(), MS_NOEXEC)) return "no";
    const std::string path = directory.path() + "/library.so";
    std::ofstream{path, std::ios::binary}.write(reinterpret_cast<const char*>(bytes.data()),
                                                static_cast<std::streamsize>(bytes.size()));
    const auto done = aoti::load_for_good(path);
    return done ? "loaded" : done.error().message();
  });
  if (said == "no") GTEST_SKIP() << "nothing can be mounted";
  EXPECT_THAT(said, testing::HasSubstr("failed to map segment"));
  EXPECT_THAT(said, testing::HasSubstr("mounted noexec"));
}

TEST(Library, OfMoreBytesThanAFileMayHaveIsAnError) {
  const std::string said = in_child([] {
    const rlimit limit{1000, 1000};
    return ::setrlimit(RLIMIT_FSIZE, &limit) == 0 ? origin_of_add() : "";
  });
  EXPECT_THAT(said, testing::HasSubstr("File too large"));
}

// An executable stack affects all threads, permanently.
TEST(Library, LeavesTheStackAsItIs) {
  const auto good = read_file(fake("add"));
  std::uint64_t headers = 0;
  std::uint16_t count = 0;
  ASSERT_TRUE(aoti::detail::read(good, offsetof(aoti::detail::ElfHeader, segments), headers));
  ASSERT_TRUE(aoti::detail::read(good, offsetof(aoti::detail::ElfHeader, segment_count), count));
  std::size_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    aoti::detail::ElfSegment segment{};
    ASSERT_TRUE(aoti::detail::read(good, headers + i * sizeof segment, segment));
    if (segment.type == aoti::detail::elf_stack) at = headers + i * sizeof segment;
  }
  ASSERT_NE(at, 0u);
  auto asks = good, says_nothing = good;
  asks[at + offsetof(aoti::detail::ElfSegment, flags)] = std::byte{7};
  for (std::size_t i = 0; i < 4; ++i) says_nothing[at + i] = std::byte{0};  // an unused header

  EXPECT_FALSE(aoti::Image::parse(good, "").value().wants_executable_stack());
  for (const auto& bytes : {asks, says_nothing}) {
    const auto image = aoti::Image::parse(bytes, "the image");
    ASSERT_TRUE(aoti_test::good(image));
    EXPECT_TRUE(image.value().wants_executable_stack());
    EXPECT_EQ(in_child([&]() -> std::string {
                const auto edits = image.value().edits([](std::string_view) { return false; });
                auto library = Library::load(bytes, edits, "the name");
                return library ? aoti_test::stack_permissions() : library.error().message();
              }),
              "rw-p");
#if !defined(__aarch64__)  // the emulator's stack is its own
    // Without the edits it becomes executable, or the system refuses to load it.
    EXPECT_NE(in_child([&]() -> std::string {
                auto library = Library::load(bytes, {}, "the name");
                return library ? aoti_test::stack_permissions() : library.error().message();
              }),
              "rw-p");
#endif
  }
}

TEST(LoadForGood, FindsAFileInTheWorkingDirectory) {
  const std::string path = fake("none");
  EXPECT_EQ(in_child([&]() -> std::string {
              if (::chdir(path.substr(0, path.rfind('/')).c_str()) != 0) return "chdir";
              const auto done = aoti::load_for_good(path.substr(path.rfind('/') + 1));
              return done ? "loaded" : done.error().message();
            }),
            "loaded");
  aoti_test::expect_error(aoti::load_for_good("libno_such_library.so"), Errc::library_load_failed,
                          {"libno_such_library.so: cannot open shared object file"});
}

TEST(IsLoaded, TellsWhetherTheProcessHasALibrary) {
  EXPECT_TRUE(aoti::is_loaded("libc.so.6"));
  EXPECT_FALSE(aoti::is_loaded("libno_such_library.so"));
}

}  // namespace
