// SPDX-License-Identifier: BSD-3-Clause
// What aoti_add_model and aoti_add_static_model need at build time, see AotiModels.cmake:
//
//   aoti_models pack MODEL.so PACKAGE.pt2
//     packages a model that is written in C++
//   aoti_models unpack PACKAGE.pt2 MODEL NAME FOLDER
//     writes the C++ of a compiled model, and what has to be compiled with it, as NAME.* into
//     FOLDER
#include <dlfcn.h>

#include <aoti/file/mapping.hpp>
#include <aoti/image/image.hpp>
#include <aoti/package/package.hpp>
#include <aoti/package/writer.hpp>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using aoti::Bytes;
using aoti::Errc;
using aoti::Error;
using aoti::Result;

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Result<void> write(const std::string& path, std::string_view content) {
  std::ofstream file{path, std::ios::binary};
  file << content;
  if (file.flush()) return aoti::success();
  return Error{Errc::not_found, path, "the file cannot be written"};
}

Result<void> pack(const std::string& library, const std::string& package) {
  // Lazily: nothing of the model is called that imports anything.
  void* const handle = ::dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (handle == nullptr) return Error{Errc::library_load_failed, library, ::dlerror()};
  using Take = void (*)(void*, const char*, const char*);
  const auto tell = reinterpret_cast<void (*)(Take, void*)>(::dlsym(handle, "AotiModelMetadata"));
  if (tell == nullptr) {
    return Error{Errc::missing_export, library,
                 "the library has no AOTI_EXPORT_MODEL(…) of <aoti/export_model.hpp>"};
  }
  aoti::ModelFiles model;
  tell(
      [](void* items, const char* key, const char* value) {
        static_cast<aoti::Metadata*>(items)->items.emplace_back(key, value);
      },
      &model.metadata);
  std::ifstream file{library, std::ios::binary};
  const std::string image{std::istreambuf_iterator<char>{file}, {}};
  model.image = {reinterpret_cast<const std::byte*>(image.data()), image.size()};
  return aoti::write_package(package, {&model, 1});
}

/// The arguments with which torch compiled a file, which it writes into the file's last comment.
std::vector<std::string> arguments(std::string_view source) {
  std::vector<std::string> found;
  const std::size_t at = source.rfind("// Compile cmd\n// ");
  if (at == source.npos) return found;
  std::istringstream line{std::string{source.substr(at, source.find('\n', at + 18) - at)}};
  for (std::string word; line >> word;) found.push_back(std::move(word));
  return found;
}

/// Those that define macros and choose instructions; for kernels, also those that choose how code
/// is generated.
std::string options(std::string_view source, bool kernels, bool gcc) {
  std::string out;
  const auto all = arguments(source);
  for (std::size_t i = 0; i + 1 < all.size(); ++i) {
    const std::string& word = all[i];
    if (word == "-D" && !all[i + 1].starts_with("TORCH_INDUCTOR_PRECOMPILE") &&
        all[i + 1] != "USE_MMAP_SELF") {
      out += "-D" + all[i + 1] + "\n";
    }
    const bool only_gcc = word == "-fno-tree-loop-vectorize" || word == "-fexcess-precision=fast";
    const bool generates = word.starts_with("-O") || (word.starts_with("-f") && (gcc || !only_gcc));
    if (word.starts_with("-m") || (kernels && generates && word != "-fPIC")) out += word + "\n";
  }
  return out + "-fopenmp\n";
}

/// Adds all names in a source that begin with one of these: kernels have helpers of their own.
void add_helpers(std::string_view source, std::set<std::string>& names) {
  const std::set<std::string> kernels = names;
  const auto is_part = [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  for (std::size_t at = 0; at < source.size(); ++at) {
    std::size_t end = at;
    while (end < source.size() && is_part(source[end])) ++end;
    const std::string_view word = source.substr(at, end - at);
    for (const std::string& kernel : kernels) {
      if (word.starts_with(kernel)) names.emplace(word);
    }
    at = end;
  }
}

/// The names of the functions that a file of kernels defines for C.
void collect_kernels(std::string_view source, std::set<std::string>& names) {
  constexpr std::string_view start = "extern \"C\"";
  for (std::size_t at = 0; (at = source.find(start, at)) != source.npos; at += start.size()) {
    const std::size_t open = source.find('(', at);
    if (open == source.npos) break;
    const std::size_t end = source.find_last_not_of(" \n", open - 1) + 1;
    const std::size_t begin = source.find_last_of(" \n*", end - 1) + 1;
    names.emplace(source.substr(begin, end - begin));
  }
}

/// The names of the functions that a wrapper defines at the C boundary.
std::set<std::string> boundary(std::string_view wrapper) {
  std::set<std::string> names;
  constexpr std::string_view type = "AOTIRuntimeError";
  for (std::size_t at = 0; (at = wrapper.find(type, at)) != wrapper.npos;) {
    const std::size_t begin = wrapper.find_first_not_of(" \n", at += type.size());
    const std::size_t end = wrapper.find_first_of("( ;,)\n", begin);
    if (end == wrapper.npos) break;
    const std::string_view name = wrapper.substr(begin, end - begin);
    if (wrapper[end] == '(' && name.starts_with("AOTInductor")) names.emplace(name);
  }
  return names;
}

/// The weights that are part of the image, as the model's code expects them.
Result<std::string> embedded(const aoti::PackagedModel& model, std::string_view wrapper) {
  if (model.image.empty()) return std::string{};
  AOTI_TRY(const auto image, aoti::Image::parse(model.image, model.origin));
  const Bytes constants = image.constants();
  bool appended = false;
  for (const std::string& word : arguments(wrapper)) appended |= word == "USE_MMAP_SELF";
  std::uint64_t size = 0;
  if (!appended || constants.size() < sizeof size) return std::string{text_of(constants)};
  std::memcpy(&size, constants.data(), sizeof size);
  if (size > model.image.size()) {
    return Error{Errc::damaged_package, model.origin, "the weights at the image's end are cut off"};
  }
  return std::string{text_of(model.image.last(size))};
}

Result<void> unpack(const std::string& path, const std::string& wanted, const std::string& name,
                    const std::string& folder, bool gcc) {
  AOTI_TRY(const auto package, aoti::Package::open(path));
  AOTI_TRY(const auto model, package.model(wanted));
  std::string_view wrapper;
  std::string kernels, kernel_options;
  std::set<std::string> functions;
  std::vector<aoti::Entry> rest;
  for (const aoti::Entry& file : model.files) {
    if (file.name.ends_with(".wrapper.cpp")) {
      wrapper = text_of(file.data);
    } else if (file.name.ends_with(".cpp")) {
      const std::string_view source = text_of(file.data);
      collect_kernels(source, functions);
      kernels.append(source).append("\n");
      kernel_options = options(source, true, gcc);
    } else if (!file.name.ends_with(".so") && !file.name.ends_with("_metadata.json")) {
      rest.push_back(file);
    }
  }
  if (wrapper.empty()) {
    return Error{Errc::unsupported, model.origin,
                 "the package lacks the model's C++ (….wrapper.cpp); compile it by aoti.export or "
                 "torch 2.6 or later"};
  }
  if (model.metadata.device_key() != "cpu") {
    return Error{Errc::wrong_device, model.origin,
                 "only models for the CPU can become part of a program"};
  }

  add_helpers(kernels, functions);
  functions.merge(boundary(wrapper));
  for (const char* other : {"aot_inductor", "g_aoti_last_error", "AOTINoGradGuard",
                            "_binary_constants_bin_start", "_binary_constants_bin_end"}) {
    functions.emplace(other);
  }
  std::string names;
  for (const std::string& one : functions) {
    names += "#define " + one + " " + name + "_" + one + "\n";
  }
  const bool views = functions.contains("AOTInductorModelRunMinimalArrayrefInterfaceV2");

  // Data of the program that is a file, between two symbols.
  const auto lie = [&](const std::string& begin, const std::string& end, const std::string& file) {
    const auto mark = [](const std::string& symbol) {
      return ".globl " + symbol + "\\n.hidden " + symbol + "\\n" + symbol + ":\\n";
    };
    return "asm(\".pushsection .data\\n.balign 64\\n" + mark(begin) + ".incbin \\\"" + file +
           "\\\"\\n" + mark(end) + ".byte 0\\n.popsection\");\n";
  };
  const std::string base = folder + "/" + name;
  const std::string program =
      "// Written by aoti_models unpack.\n"
      "#include <aoti/model/exported.hpp>\n"
      "#include <aoti/model/generated.hpp>\n"
      "#include \"" +
      name +
      ".names.h\"\n"
      "#include \"" +
      name +
      ".wrapper.cpp\"\n"
      "using Model = aoti::model::Generated<torch::aot_inductor::AOTInductorModel, " +
      (views ? "true" : "false") +
      ">;\n"
      "static constexpr aoti::abi::ModelExports exported = aoti::model::Exported<Model>::table();\n"
      "#include \"" +
      name + ".hpp\"\n" +
      lie(name + "__binary_constants_bin_start", name + "__binary_constants_bin_end",
          base + ".constants") +
      lie(name + "_package", name + "_package_end", base + ".package.pt2") +
      "extern \"C\" std::byte " + name + "_package[], " + name +
      "_package_end[];\n"
      "aoti::LinkedModel " +
      name +
      "::linked() noexcept {\n"
      "  return {\"" +
      name + "\", &exported, {" + name + "_package, " + name +
      "_package_end}, nullptr, true};\n}\n";

  AOTI_TRY(const std::string weights, embedded(model, wrapper));
  AOTI_TRYV(write(base + ".constants", weights));
  const aoti::ModelFiles without_image{
      .image = {}, .weights = {}, .metadata = model.metadata, .files = rest};
  AOTI_TRYV(aoti::write_package(base + ".package.pt2", {&without_image, 1}));
  AOTI_TRYV(write(base + ".wrapper.cpp", wrapper));
  AOTI_TRYV(write(base + ".names.h", names));
  AOTI_TRYV(write(base + ".kernels.cpp", "#include \"" + name + ".names.h\"\n" + kernels));
  AOTI_TRYV(write(base + ".wrapper.options", options(wrapper, false, gcc)));
  AOTI_TRYV(write(base + ".kernels.options", kernel_options));
  return write(base + ".cpp", program);
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> given(arguments + 1, arguments + count);
  Result<void> done = Error{Errc::invalid_argument, "aoti_models",
                            "expected: pack MODEL.so PACKAGE.pt2, or unpack PACKAGE.pt2 MODEL NAME "
                            "FOLDER COMPILER"};
  if (given.size() == 3 && given[0] == "pack") done = pack(given[1], given[2]);
  if (given.size() == 6 && given[0] == "unpack") {
    done = unpack(given[1], given[2], given[3], given[4], given[5] == "GNU");
  }
  if (done) return 0;
  std::fprintf(stderr, "%s\n", done.error().message().c_str());
  return 1;
}
