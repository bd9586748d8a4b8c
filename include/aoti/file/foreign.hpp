// SPDX-License-Identifier: BSD-3-Clause
// Says what a file that is not a package is, and the way out, for errors.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "aoti/file/bytes.hpp"

namespace aoti::inline AOTI_ABI::detail {

/// For a file that is not a zip file.
[[gnu::cold]] inline std::string_view describe_foreign(Bytes bytes) noexcept {
  struct Format {
    std::size_t at;
    std::string_view magic;
    std::string_view text;
  };
  static constexpr std::string_view packed =
      "it is compressed or packed by a program other than zip: unpack it first";
  static constexpr std::string_view pickle =
      "it is a pickle, as old releases of torch.save and torch.jit.save wrote: load it in Python, "
      "and compile the module with aoti.export or aoti_compile_and_package";
  static constexpr std::string_view other =
      "it is a model of another runtime (GGUF, TFLite, ExecuTorch, HDF5): compile the module in "
      "PyTorch with aoti.export or aoti_compile_and_package";
  static constexpr Format formats[] = {
      {0, "\x80\x02", pickle},
      {0, "\x80\x03", pickle},
      {0, "\x80\x04", pickle},
      {0, "\x80\x05", pickle},
      {0, "GGUF", other},
      {4, "TFL3", other},
      {4, "ET12", other},
      {0, "\x89HDF", other},
      {0, "\x93NUMPY", "it is a numpy array, not a model"},
      {0, "\x1f\x8b", packed},
      {0, "BZh", packed},
      {0,
       "\xfd"
       "7zXZ",
       packed},
      {0, "7z\xbc\xaf", packed},
      {0, "\x28\xb5\x2f\xfd", packed},
      {257, "ustar", packed},
      {0, "version https://git-lfs",
       "it is a pointer of Git LFS: fetch the file with `git lfs pull`"},
      {0, "<!DOCTYPE", "it is a web page, perhaps of a download that failed"},
      {0, "<!doctype", "it is a web page, perhaps of a download that failed"},
      {0, "<html", "it is a web page, perhaps of a download that failed"},
  };
  const std::string_view text = as_text(bytes);
  for (const Format& format : formats) {
    if (text.size() > format.at && text.substr(format.at).starts_with(format.magic)) {
      return format.text;
    }
  }
  // The length of a JSON header, and the header.
  std::uint64_t header = 0;
  if (read(bytes, 0, header) && within(8, header, bytes.size()) &&
      text.substr(8, static_cast<std::size_t>(header)).starts_with("{\"")) {
    return "it is a safetensors file, which holds weights but no model: load them into the module "
           "in Python, and compile that with aoti.export or aoti_compile_and_package";
  }
  return bytes.empty() ? "the file is empty" : "the file does not begin as a zip file does";
}

/// For a zip file or a directory without a compiled model; empty if nothing is known.
template <class Entries>
[[gnu::cold]] std::string_view describe_foreign_archive(const Entries& entries) noexcept {
  bool archive = false, program = false, script = false, saved = false, arrays = false;
  for (const auto& entry : entries) {
    const std::string_view name = entry.name;
    const std::string_view file = name.substr(name.rfind('/') + 1);
    if (name.find("data/aotinductor/") != name.npos) return {};
    archive |= file == "archive_format" || file == "serialized_exported_program.json";
    program |= file == "serialized_exported_program.json" ||
               (name.find("models/") != name.npos && name.ends_with(".json"));
    script |= file == "constants.pkl" || file == "bytecode.pkl";
    saved |= file == "data.pkl";
    arrays |= name.ends_with(".npy");
  }
  if (archive && program) {
    return "it is an exported program, as torch.export.save writes them: compile it with "
           "aoti.export(path, aoti.Model(torch.export.load(file))) or aoti_compile_and_package";
  }
  if (script) {
    return "it is a TorchScript file, as torch.jit.save writes them: export the module with "
           "torch.export, and compile it with aoti.export or aoti_compile_and_package";
  }
  if (saved) {
    return "it is a file of torch.save, which holds weights or a pickled module: load it in "
           "Python, and compile the module with aoti.export or aoti_compile_and_package";
  }
  return arrays ? std::string_view{"it holds numpy arrays, but no model"} : std::string_view{};
}

}  // namespace aoti::inline AOTI_ABI::detail
