// SPDX-License-Identifier: BSD-3-Clause
// What went wrong: a code to branch on and a sentence to read.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "aoti/version.hpp"

namespace aoti::inline AOTI_ABI {

/// Why an operation failed. The codes are stable; the texts are for people.
enum class Errc : std::uint8_t {
  none,
  // The file
  not_found,        ///< No file or entry of that name, or it cannot be read.
  not_a_package,    ///< The file is neither a .pt2 package nor a shared object.
  damaged_package,  ///< A package or image that is cut off, altered, or contradicts itself.
  no_such_model,    ///< The package holds no model of that name, or none at all.
  ambiguous_model,  ///< The package holds several models and none was named.
  // The match of model, machine and process
  wrong_machine,        ///< Compiled for another processor, instruction set or system.
  wrong_device,         ///< Compiled for another kind of device than the runner's.
  device_unavailable,   ///< There is no such device, or it cannot be used.
  missing_export,       ///< The image lacks a function that every model must have.
  unsupported,          ///< The model or this library lacks what was asked for.
  missing_import,       ///< The model needs functions that this process does not provide.
  library_load_failed,  ///< The system's loader refused the image.
  // The call
  invalid_argument,  ///< An argument that no model could accept.
  input_count,
  input_dtype,
  input_device,
  input_layout,  ///< A sparse or otherwise not strided tensor.
  input_rank,
  input_shape,
  undefined_tensor,
  output_count,
  // The weights
  no_such_constant,
  missing_constants,  ///< The model was not given all weights that it needs.
  constant_conflict,  ///< One weight was given two values, under two of its names.
  constant_dtype,
  constant_device,
  constant_layout,
  constant_shape,
  // The run
  out_of_memory,
  model_failed,  ///< The model returned an error, or less than it promised.
  model_threw,   ///< An exception crossed the C boundary.
  bad_state,     ///< Not possible now: for example, another thread is inside an unshared runner.
};

constexpr std::string_view to_string(Errc code) noexcept {
  switch (code) {
    case Errc::none:
      return "no error";
    case Errc::not_found:
      return "not found";
    case Errc::not_a_package:
      return "not a package";
    case Errc::damaged_package:
      return "damaged package";
    case Errc::no_such_model:
      return "no such model";
    case Errc::ambiguous_model:
      return "ambiguous model";
    case Errc::wrong_machine:
      return "wrong machine";
    case Errc::wrong_device:
      return "wrong device";
    case Errc::device_unavailable:
      return "device not available";
    case Errc::missing_export:
      return "missing export";
    case Errc::unsupported:
      return "unsupported";
    case Errc::missing_import:
      return "missing import";
    case Errc::library_load_failed:
      return "library load failed";
    case Errc::invalid_argument:
      return "invalid argument";
    case Errc::input_count:
      return "wrong number of inputs";
    case Errc::input_dtype:
      return "wrong input dtype";
    case Errc::input_device:
      return "wrong input device";
    case Errc::input_layout:
      return "wrong input layout";
    case Errc::input_rank:
      return "wrong input rank";
    case Errc::input_shape:
      return "wrong input shape";
    case Errc::undefined_tensor:
      return "undefined tensor";
    case Errc::output_count:
      return "wrong number of outputs";
    case Errc::no_such_constant:
      return "no such constant";
    case Errc::missing_constants:
      return "missing constants";
    case Errc::constant_conflict:
      return "conflicting values of a constant";
    case Errc::constant_dtype:
      return "wrong dtype of a constant";
    case Errc::constant_device:
      return "wrong device of a constant";
    case Errc::constant_layout:
      return "wrong layout of a constant";
    case Errc::constant_shape:
      return "wrong shape of a constant";
    case Errc::out_of_memory:
      return "out of memory";
    case Errc::model_failed:
      return "the model failed";
    case Errc::model_threw:
      return "the model threw";
    case Errc::bad_state:
      return "bad state";
  }
  return "unknown error";
}

/// An error: code, operation, native code and text. Two words, move-only; the texts live on the
/// heap and are built only on failure. If there is no memory for them, only the code remains.
class [[nodiscard]] Error {
 public:
  Error() noexcept = default;

  /// @param operation what was done and to what: a C function, a file, an input
  /// @param text      what was found and what was expected, or what the model or system said
  /// @param native    errno, or what the C function returned; 0 if there is none
  [[gnu::cold]] Error(Errc code, std::string operation, std::string text, int native = 0)
      : code_{code},
        native_{native},
        detail_{new (std::nothrow) Detail{std::move(operation), std::move(text)}} {}

  explicit Error(Errc code) noexcept : code_{code} {}

  Error(Error&& other) noexcept
      : code_{other.code_},
        native_{other.native_},
        detail_{std::exchange(other.detail_, nullptr)} {}
  Error& operator=(Error&& other) noexcept {
    code_ = other.code_;
    native_ = other.native_;
    std::swap(detail_, other.detail_);
    return *this;
  }
  ~Error() {
    if (detail_ != nullptr) [[unlikely]]
      discard();
  }

  Errc code() const noexcept { return code_; }
  int native_code() const noexcept { return native_; }
  std::string_view operation() const noexcept {
    return detail_ != nullptr ? std::string_view{detail_->operation} : std::string_view{};
  }
  std::string_view text() const noexcept {
    return detail_ != nullptr ? std::string_view{detail_->text} : std::string_view{};
  }

  /// One line for a log: "<operation>: <code>: <text>".
  std::string message() const {
    std::string out{operation()};
    if (!out.empty()) out += ": ";
    out += to_string(code_);
    if (!text().empty()) out.append(": ").append(text());
    return out;
  }

 private:
  struct Detail {
    std::string operation;
    std::string text;
  };
  [[gnu::cold, gnu::noinline]] void discard() noexcept { delete detail_; }

  Errc code_ = Errc::none;
  std::int32_t native_ = 0;
  Detail* detail_ = nullptr;
};

namespace detail {

/// A text or a number, as a text.
struct Piece {
  std::string text;

  Piece(std::string_view piece) : text{piece} {}
  Piece(const char* piece) : text{piece} {}
  Piece(const std::string& piece) : text{piece} {}
  Piece(int number) : text{std::to_string(number)} {}
  Piece(unsigned number) : text{std::to_string(number)} {}
  Piece(long number) : text{std::to_string(number)} {}
  Piece(unsigned long number) : text{std::to_string(number)} {}
  Piece(long long number) : text{std::to_string(number)} {}
  Piece(unsigned long long number) : text{std::to_string(number)} {}
};

/// Joins texts and numbers: concat({"found ", 3, " inputs"}).
[[gnu::cold]] inline std::string concat(std::initializer_list<Piece> pieces) {
  std::string out;
  for (const Piece& piece : pieces) out += piece.text;
  return out;
}

/// "a, b, c"; `range` holds texts or numbers.
template <class Range> [[gnu::cold]] std::string join(const Range& range) {
  std::string out;
  for (const auto& item : range) {
    if (!out.empty()) out += ", ";
    out += Piece{item}.text;
  }
  return out;
}

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
