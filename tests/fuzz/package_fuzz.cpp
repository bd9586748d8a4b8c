// Packages: the archive, its models, and everything that is read from them before an image is
// loaded.
#include <aoti/aoti.hpp>
#include <aoti/runtime/native.hpp>

#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto package = aoti::Package::from_bytes({reinterpret_cast<const std::byte*>(data), size});
  if (!package) return 0;
  volatile std::byte seen{};  // every byte can be read
  for (const aoti::Entry& file : package.value().files()) {
    for (const std::byte byte : file.data) seen = byte;
  }
  static_cast<void>(seen);
  for (const std::string& name : package.value().model_names()) {
    const auto model = package.value().model(name);
    if (!model) continue;
    static_cast<void>(aoti::preflight<aoti::Cpu, aoti::Native>(model.value()));
    static_cast<void>(aoti::OperatorCalls::read(model.value()));
    const auto spec = model.value().metadata[aoti::ModelSpec::metadata_key];
    if (!spec.empty()) static_cast<void>(aoti::ModelSpec::parse(spec, "fuzz"));
  }
  return 0;
}
