// Images: everything that is read from one, and every change made to it, before it is loaded.
#include <aoti/image/image.hpp>
#include <aoti/load/preflight.hpp>
#include <aoti/runtime/native.hpp>

#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

void expect(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const aoti::Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
  const auto parsed = aoti::Image::parse(bytes, "fuzz");
  if (!parsed) return 0;
  const aoti::Image& image = parsed.value();
  const auto inside = [&](const aoti::ImageEdit& edit) {
    expect(edit.size <= sizeof edit.value && aoti::detail::within(edit.offset, edit.size, size));
  };
  for (const auto& edit : image.edits([](std::string_view) { return true; })) inside(edit);
  for (const auto& edit : image.bind_imports(
           [](const aoti::ImageImport&, const void*& address) { return address = "", true; })) {
    inside(edit);
  }
  if (!image.weights().empty()) {
    expect(image.weights().data() >= bytes.data() &&
           image.weights().size() <=
               static_cast<std::size_t>(bytes.data() + size - image.weights().data()));
    for (const auto& edit : image.move_weights(bytes.data())) inside(edit);
  }
  for (const bool without_weights : {false, true}) {
    for (const auto& part : image.parts(without_weights)) {
      expect(aoti::detail::within(part.offset, part.size, size));
    }
  }
  aoti::PackagedModel model;
  model.image = bytes;
  static_cast<void>(aoti::check_image<aoti::Native>(image, model, {}, false));
  return 0;
}
