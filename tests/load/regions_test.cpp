#include <aoti/load/regions.hpp>

#include <string>

#include "support/support.hpp"

namespace {

bool reports(const char* name) {
  auto package =
      aoti::Package::open(std::string{AOTI_TEST_MODELS_DIR "/"}.append(name).append(".pt2"));
  EXPECT_TRUE(aoti_test::good(package));
  auto model = package.value().model("model");
  EXPECT_TRUE(aoti_test::good(model));
  auto image = aoti::Image::parse(model.value().image, name);
  EXPECT_TRUE(aoti_test::good(image));
  return aoti::reports_failed_checks(model.value(), image.value());
}

TEST(FailedChecks, AreErrorsUnlessTorchDividesLoopsAmongThreads) {
  EXPECT_TRUE(reports("checked"));
  EXPECT_TRUE(reports("add"));
  EXPECT_FALSE(reports("checked_plain"));
}

}  // namespace
