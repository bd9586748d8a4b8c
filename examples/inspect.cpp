// Prints what packages hold and need, which runtimes provide that, and whether this machine and
// this process can run them (with libtorch, if this program was built with it):
// inspect PATH…   (a package, an unpacked one, or a folder of packages)
#include <dirent.h>

#include <algorithm>
#include <aoti/aoti.hpp>
#include <aoti/load/native_needs.hpp>
#include <aoti/load/regions.hpp>
#include <aoti/runtime/native.hpp>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#if __has_include(<ATen/core/Tensor.h>)
#include <ATen/Parallel.h>

#include <aoti/runtime/libtorch_operators.hpp>
#endif

namespace {

#if __has_include(<ATen/core/Tensor.h>)
using Runtime = aoti::LibtorchWithOperators;
#else
using Runtime = aoti::Native;
#endif
using Runner = aoti::Runner<aoti::Cpu, Runtime>;

template <class R> bool has_operator(const std::string& name) {
  if constexpr (requires { R::Operators::has(name); }) {
    return R::Operators::has(name);
  } else {
    return false;
  }
}

void line(const char* label, std::string_view text) {
  std::printf("  %-16s %.*s\n", label, static_cast<int>(text.size()), text.data());
}

std::string describe(const aoti::TensorSpec& tensor, const aoti::ModelSpec& spec) {
  if (tensor.none) return tensor.name + ": None";
  std::string text = tensor.name + ": ";
  text.append(to_string(tensor.dtype)).append(" on ").append(to_string(tensor.device)).append(" [");
  for (const aoti::Dimension& size : tensor.shape) {
    if (&size != tensor.shape.data()) text += ", ";
    if (size.min == size.max) {
      text += std::to_string(size.min);
      continue;
    }
    if (size.symbol >= 0) {
      if (size.scale != 1) text += std::to_string(size.scale) + "*";
      text += spec.symbols[static_cast<std::size_t>(size.symbol)];
      if (size.offset != 0) text += " + " + std::to_string(size.offset);
      text += ' ';
    }
    text += std::to_string(size.min) + "..";
    if (size.max != aoti::Dimension::unbounded) text += std::to_string(size.max);
  }
  text += ']';
  for (std::size_t i = 0; i < tensor.order.size(); ++i) {
    text += (i == 0 ? " in order " : ",") + std::to_string(tensor.order[i]);
  }
  return text;
}

/// How many threads a model would run with here, if known.
std::string threads() {
#if __has_include(<ATen/core/Tensor.h>)
  return std::to_string(at::get_num_threads());
#else
  return std::to_string(std::thread::hardware_concurrency());
#endif
}

void print_constants(const Runner& runner) {
  const std::vector<aoti::Constant>& constants = runner.constants();
  std::size_t bytes = 0;
  for (const aoti::Constant& constant : constants) bytes += constant.bytes;
  line("constants", std::to_string(constants.size()) + ", " + std::to_string(bytes) + " bytes");
  for (const aoti::Constant& constant : constants) {
    line("", (constant.fqn.empty() ? constant.name : constant.fqn) + ": " +
                 std::string{to_string(constant.dtype)} + ", " + std::to_string(constant.bytes) +
                 " bytes" + (constant.folded ? ", folded" : ""));
  }
}

template <class Names> std::string listed(const Names& names) {
  std::string text;
  for (const auto& name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

/// Whether a model runs without libtorch, and with what.
void print_needs(const aoti::PackagedModel& model) {
  const auto needs = aoti::native_needs(model);
  if (!needs) return line("without libtorch", needs.error().message());
  const aoti::NativeNeeds& found = needs.value();
  if (!found.missing.empty()) return line("without libtorch", "lacks " + listed(found.missing));
  line("without libtorch",
       found.libraries.empty() ? "runs as it is" : "runs with " + listed(found.libraries));
}

void print_image(const aoti::Image& image) {
  line("machine", aoti::machine_name(image.machine()));
  std::string needed;
  for (const std::string_view name : image.needed()) needed.append(name).append(" ");
  line("needs", needed);
  if (const auto path = image.layout().search_path(); !path.empty()) line("looks in", path);
  if (image.wants_executable_stack()) line("stack", "asks for an executable one, and gets none");
  std::size_t exports = 0;
  aoti::abi::TorchVersion latest{0, 0};
  for (const aoti::abi::Row& row : aoti::abi::export_rows) {
    if (!image.has_export(row.symbol)) continue;
    ++exports;
    if (std::pair{row.since.major, row.since.minor} > std::pair{latest.major, latest.minor}) {
      latest = row.since;
    }
  }
  line("exports", std::to_string(exports) + " of " +
                      std::to_string(std::size(aoti::abi::export_rows)) +
                      " known functions; the latest came with torch " +
                      std::to_string(latest.major) + "." + std::to_string(latest.minor));
  for (const aoti::abi::Row& row : aoti::abi::export_rows) {
    line("", std::string{image.has_export(row.symbol) ? "has    " : "lacks  "} + row.symbol + " (" +
                 std::to_string(row.since.major) + "." + std::to_string(row.since.minor) + ")");
  }
  for (const aoti::ImageImport& import : image.imports()) {
    if (aoti::abi::is_runtime_symbol(import.name)) line("imports", import.name);
  }
}

void print_model(const aoti::Package& package, const std::string& name) {
  std::printf("\n  model %s\n", name.c_str());
  auto model = package.model(name);
  if (!model) return line("unreadable", model.error().message());
  for (const auto& [key, value] : model.value().metadata.items) {
    if (key == aoti::ModelSpec::metadata_key) continue;
    line(key.c_str(), key == "aoti.threads" ? value + " (this machine: " + threads() + ")" : value);
  }
  line("image", std::to_string(model.value().image.size()) + " bytes");
  line("weights beside", std::to_string(model.value().weights.size()) + " bytes");
  if (auto image = aoti::Image::parse(model.value().image, model.value().origin)) {
    if (!aoti::reports_failed_checks(model.value(), image.value())) {
      line("checks", "one that fails on several threads ends the process");
    }
    print_image(image.value());
  }
  print_needs(model.value());
  if (auto calls = aoti::OperatorCalls::read(model.value()); !calls) {
    line("operators", calls.error().message());
  } else {
    for (const std::string& called : calls.value().names) {
      line("operator", (has_operator<Runtime>(called) ? "has    " : "lacks  ") + called);
    }
  }
  const auto text = model.value().metadata[aoti::ModelSpec::metadata_key];
  if (!text.empty()) {
    auto spec = aoti::ModelSpec::parse(text, model.value().origin);
    if (!spec) return line("spec", spec.error().message());
    for (const auto& input : spec.value().inputs) line("input", describe(input, spec.value()));
    for (const auto& input : spec.value().inputs) {
      for (const aoti::Guard& guard : input.guards) line("guard", guard.text);
    }
    for (const auto& output : spec.value().outputs) line("output", describe(output, spec.value()));
  }
  // So far, nothing of the package has been run. For the rest, a model that fits is loaded.
  auto fit = aoti::preflight<aoti::Cpu, Runtime>(model.value());
  if (!fit) return line("runs here", fit.error().message());
  auto runner = Runner::open(package, {.model = name});
  line("runs here", runner ? "yes" : runner.error().message());
  if (!runner) return;
  const Runner& opened = runner.value();
  for (std::size_t i = 0; text.empty() && i < opened.input_count(); ++i) {
    line("input", opened.input_name(i).value());
  }
  for (std::size_t i = 0; text.empty() && i < opened.output_count(); ++i) {
    line("output", opened.output_name(i).value());
  }
  print_constants(opened);
}

bool print_package(const std::string& path) {
  std::printf("\n%s\n", path.c_str());
  auto package = aoti::Package::open(path);
  if (!package) {
    line("no package", package.error().message());
    return false;
  }
  for (const aoti::Entry& entry : package.value().files()) {
    line("file", std::string{entry.name} + ", " + std::to_string(entry.data.size()) + " bytes");
  }
  for (const std::string& name : package.value().model_names()) print_model(package.value(), name);
  return true;
}

/// The packages in a folder, or the path itself.
std::vector<std::string> packages(const std::string& path) {
  std::vector<std::string> found;
  if (DIR* folder = ::opendir(path.c_str())) {
    while (const dirent* item = ::readdir(folder)) {
      const std::string name = item->d_name;
      if (name.ends_with(".pt2")) found.push_back(path + "/" + name);
    }
    ::closedir(folder);
  }
  if (found.empty()) found.push_back(path);
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: inspect PATH…\n", stderr);
    return 2;
  }
  bool any = false;
  for (int i = 1; i < argc; ++i) {
    for (const std::string& path : packages(argv[i])) any |= print_package(path);
  }
  return any ? 0 : 1;
}
