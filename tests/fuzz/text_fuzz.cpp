// The texts in a package: the input spec, the call spec, and what a model's C++ source says of its
// constants.
#include <aoti/aoti.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  static_cast<void>(aoti::ModelSpec::parse(text, "fuzz"));
  static_cast<void>(aoti::CallSpec::parse(text, text));
  std::vector<aoti::Constant> constants(3);
  for (std::size_t i = 0; i < constants.size(); ++i) constants[i].name = "c" + std::to_string(i);
  aoti::detail::SourceReader<>{text}.read(constants);
  return 0;
}
