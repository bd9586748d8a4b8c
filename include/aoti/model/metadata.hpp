// SPDX-License-Identifier: BSD-3-Clause
// What a package says about a model that is written in C++.
#pragma once

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "aoti/abi/types.hpp"
#include "aoti/model/declarations.hpp"
#include "aoti/package/package.hpp"
#include "aoti/package/spec.hpp"

namespace aoti::inline AOTI_ABI::model {

namespace detail {

/// Writes the input spec of a model, see ModelSpec.
class SpecWriter {
 public:
  explicit SpecWriter(std::string_view device) noexcept : device_{device} {}

  template <class M> std::string text() {
    json_.StartObject();
    json_.Key("version");
    json_.Int(1);
    ports("inputs", M::inputs);
    ports("outputs", M::outputs);
    json_.Key("constants");
    json_.StartArray();
    for (const Declared& one : M::constants) constant(one);
    json_.EndArray();
    json_.EndObject();
    return {buffer_.GetString(), buffer_.GetSize()};
  }

 private:
  void ports(const char* key, std::span<const Port> all) {
    json_.Key(key);
    json_.StartArray();
    for (const Port& one : all) {
      json_.StartObject();
      tensor(one.name, one.dtype);
      for (const Dim& dim : std::span{one.dims}.first(one.rank)) size(dim);
      json_.EndArray();
      json_.EndObject();
    }
    json_.EndArray();
  }

  void constant(const Declared& one) {
    json_.StartObject();
    tensor(one.name, one.dtype);
    for (std::size_t d = 0; d < one.shape.rank; ++d) json_.Int64(one.shape.sizes[d]);
    json_.EndArray();
    member("fqn", one.kind == ConstantKind::folded ? "" : one.name);
    if (one.kind == ConstantKind::buffer) {
      json_.Key("mutated");
      json_.Bool(true);
    }
    json_.EndObject();
  }

  /// Leaves the array of sizes open.
  void tensor(std::string_view name, DType dtype) {
    member("name", name);
    member("dtype", to_string(dtype));
    member("device", device_);
    json_.Key("shape");
    json_.StartArray();
  }

  void size(const Dim& dim) {
    if (dim.size >= 0) {
      json_.Int64(dim.size);
      return;
    }
    json_.StartObject();
    if (dim.name != nullptr) member("symbol", dim.name);
    json_.EndObject();
  }

  void member(const char* key, std::string_view value) {
    json_.Key(key);
    json_.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  }

  std::string_view device_;
  rapidjson::StringBuffer buffer_;
  rapidjson::Writer<rapidjson::StringBuffer> json_{buffer_};
};

}  // namespace detail

/// The metadata for a package with this model, the input spec included.
template <class M> Metadata metadata() {
  using Device = typename M::Device;
  const std::string device{Device::key};
  Metadata all;
  all.items.emplace_back("AOTI_DEVICE_KEY", device);
#if defined(__linux__)
  all.items.emplace_back("AOTI_PLATFORM", "linux");
#endif
#if defined(__x86_64__)
  all.items.emplace_back("AOTI_MACHINE", "x86_64");
#elif defined(__aarch64__)
  all.items.emplace_back("AOTI_MACHINE", "aarch64");
#endif
  all.items.emplace_back(ModelSpec::metadata_key, detail::SpecWriter{device}.template text<M>());
  return all;
}

}  // namespace aoti::inline AOTI_ABI::model
