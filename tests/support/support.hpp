// What the tests share: paths of packages, reading files, a process's resources, and errors.
#pragma once

#include <aoti/file/bytes.hpp>
#include <aoti/result.hpp>

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/sanitizers.hpp"

namespace aoti {

inline void PrintTo(Errc code, std::ostream* out) { *out << "Errc \"" << to_string(code) << '"'; }

}  // namespace aoti

namespace aoti_test {

inline std::string package(std::string_view name) {
  return std::string{AOTI_TEST_PACKAGES_DIR "/"}.append(name);
}

/// The image of a fake.
inline std::string fake(std::string_view name) {
  return std::string{AOTI_TEST_FAKES_DIR "/libfake_"}.append(name).append(".so");
}

inline std::vector<std::byte> read_file(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  EXPECT_TRUE(file) << "cannot read " << path;
  const std::string text{std::istreambuf_iterator<char>{file}, {}};
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

inline aoti::Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// This process's resident memory in bytes; 0 if a sanitizer keeps memory that is freed.
inline std::size_t resident_memory() {
  if constexpr (asan || tsan) return 0;
  std::size_t size = 0, resident = 0;
  std::ifstream{"/proc/self/statm"} >> size >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// The names in a directory, except "." and "..".
inline std::set<std::string> names_in(const std::string& path) {
  std::set<std::string> names;
  DIR* directory = ::opendir(path.c_str());
  EXPECT_NE(directory, nullptr) << path;
  while (const dirent* item = directory != nullptr ? ::readdir(directory) : nullptr) {
    names.insert(item->d_name);
  }
  if (directory != nullptr) ::closedir(directory);
  names.erase(".");
  names.erase("..");
  return names;
}

/// The access permissions of the first thread's stack: "rw-p".
inline std::string stack_permissions() {
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);) {
    if (line.find("[stack]") != line.npos) return line.substr(line.find(' ') + 1, 4);
  }
  return "";
}

/// The descriptors that the process has open, and the files of packages and images that it maps.
struct Footprint {
  std::size_t descriptors = names_in("/proc/self/fd").size();
  std::size_t mappings = count_mappings();

  bool operator==(const Footprint&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Footprint& it) {
    return out << it.descriptors << " descriptors, " << it.mappings << " mappings";
  }

 private:
  static std::size_t count_mappings() {
    std::ifstream maps{"/proc/self/maps"};
    std::size_t count = 0;
    for (std::string line; std::getline(maps, line);) {
      for (const std::string_view part : {"/memfd:", ".pt2", "/aoti-", "libfake_"}) {
        if (line.find(part) == line.npos) continue;
        ++count;
        break;
      }
    }
    return count;
  }
};

/// A temporary directory for this test; $TMPDIR points to it during its lifetime.
class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_{testing::TempDir() + "aoti_test_XXXXXX"} {
    EXPECT_NE(::mkdtemp(path_.data()), nullptr);
    if (const char* old = std::getenv("TMPDIR")) old_ = old;
    ::setenv("TMPDIR", path_.c_str(), 1);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    if (old_.empty()) {
      ::unsetenv("TMPDIR");
    } else {
      ::setenv("TMPDIR", old_.c_str(), 1);
    }
    for (const std::string& name : names_in(path_)) std::remove((path_ + "/" + name).c_str());
    ::rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::string old_;
};

/// Expects an error with that code whose message has all of these parts.
template <class T>
void expect_error(const aoti::Result<T>& result, aoti::Errc code,
                  const std::vector<std::string>& parts = {}) {
  ASSERT_FALSE(result.has_value()) << "expected: " << aoti::to_string(code);
  const std::string message = result.error().message();
  EXPECT_EQ(result.error().code(), code) << message;
  for (const std::string& part : parts) EXPECT_THAT(message, testing::HasSubstr(part));
}

/// Expects a value; on failure, reports the error.
template <class T> testing::AssertionResult good(const aoti::Result<T>& result) {
  if (result.has_value()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << result.error().message();
}

/// Names a parameterised test by the `name` of its case.
struct ByName {
  template <class Info> std::string operator()(const Info& test) const { return test.param.name; }
};

}  // namespace aoti_test
