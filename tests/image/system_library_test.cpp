#include <aoti/image/image.hpp>
#include <aoti/image/library.hpp>
#include <aoti/image/system_library.hpp>
#include <string>

#include "support/support.hpp"

namespace {

using aoti_test::fake;
using aoti_test::read_file;

TEST(SystemLibrary, IsFoundLoadedOrNot) {
  const auto bytes = read_file(fake("add"));
  const auto image = aoti::Image::parse(bytes, "");
  const auto find = [&](const char* name) {
    return aoti::detail::SystemLibrary::find(name, image.value().layout());
  };
  const auto loaded = find("libc.so.6");
  EXPECT_TRUE(loaded.is_here());
  EXPECT_TRUE(loaded.has_version("GLIBC_2.17"));
  EXPECT_FALSE(loaded.has_version("GLIBC_9.99"));
  EXPECT_NE(loaded.path().find("/libc.so.6"), std::string::npos);
  ASSERT_FALSE(aoti::is_loaded("libanl.so.1"));  // a part of the C library that nothing uses
  const auto file = find("libanl.so.1");
  EXPECT_TRUE(file.is_here());
  EXPECT_NE(file.path().find("/libanl.so.1"), std::string::npos);
  EXPECT_FALSE(file.has_version("GLIBC_9.99"));
  EXPECT_FALSE(aoti::is_loaded("libanl.so.1"));
  EXPECT_FALSE(find("libno_such_library.so").is_here());
  EXPECT_FALSE(find("/no/such/library.so").is_here());
  EXPECT_TRUE(find(fake("none").c_str()).is_here());
}

}  // namespace
