// The texts in a package: the input spec, the call spec, and the constants in a model's C++ source.
#include <aoti/aoti.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  if (auto spec = aoti::ModelSpec::parse(text, "fuzz")) {
    for (const aoti::TensorSpec& input : spec.value().inputs) {
      for (const aoti::Guard& guard : input.guards) {
        for (const std::int64_t most : {std::int64_t{0}, std::int64_t{3}, INT64_MAX}) {
          static_cast<void>(aoti::detail::holds(
              guard, [&](std::size_t, std::size_t d) { return d % 2 == 0 ? most : most / 2; }));
        }
      }
    }
  }
  static_cast<void>(aoti::CallSpec::parse(text, text));
  std::vector<aoti::Constant> constants(3);
  for (std::size_t i = 0; i < constants.size(); ++i) constants[i].name = "c" + std::to_string(i);
  aoti::detail::SourceReader<>{text}.read(constants);
  return 0;
}
