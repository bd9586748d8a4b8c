// SPDX-License-Identifier: BSD-3-Clause
// Result<T>: a value or an Error, on Boost.Outcome.
#pragma once

#include <boost/outcome/basic_result.hpp>
#include <boost/outcome/policy/terminate.hpp>
#include <exception>
#include <initializer_list>
#include <new>
#include <string_view>
#include <utility>

#include "aoti/error.hpp"

namespace aoti::inline AOTI_ABI {

/// What every fallible function returns. `if (!result)` tests it; `value()` and `error()` access
/// its contents. Calling value() on a failed result, or error() on a good one, is a bug in the
/// caller and ends the process by std::terminate(). All files of a program that include aoti must
/// be compiled with exceptions, or all without.
template <class T>
using Result = boost::outcome_v2::basic_result<T, Error, boost::outcome_v2::policy::terminate>;

/// A good Result<void>.
inline auto success() { return boost::outcome_v2::success(); }

/// AOTI_TRY(auto x, f()) makes x the value of f(), and AOTI_TRY(x, f()) assigns it. AOTI_TRYV(f())
/// is for a Result<void>. If f() fails, the enclosing function returns the error. Boost.Outcome's
/// own macros for this changed their syntax in Boost 1.76.
#define AOTI_TRYV(...)                             \
  if (auto aoti_done = (__VA_ARGS__); aoti_done) { \
  } else return std::move(aoti_done).error()
#define AOTI_TRY(declaration, ...) AOTI_TRY_AT(__LINE__, declaration, __VA_ARGS__)
#define AOTI_TRY_AT(line, declaration, ...) AOTI_TRY_AS(line, declaration, __VA_ARGS__)
#define AOTI_TRY_AS(line, declaration, ...)                              \
  auto aoti_result_##line = (__VA_ARGS__);                               \
  if (!aoti_result_##line) return std::move(aoti_result_##line).error(); \
  declaration = std::move(aoti_result_##line).value()

namespace detail {

/// Whether a text says that the host or a device ran out of memory.
[[gnu::cold]] inline bool tells_of_memory(std::string_view text) noexcept {
  for (const std::string_view part :
       {"out of memory", "bad_alloc", "not enough memory", "can't allocate memory"}) {
    if (text.find(part) != text.npos) return true;
  }
  return false;
}

#if defined(__cpp_exceptions)
/// The exception that is being handled, as an error with its text: out_of_memory if it is
/// std::bad_alloc or says so, else `code`.
[[gnu::cold, gnu::noinline]] inline Error caught(Errc code, const char* operation) noexcept {
  try {
    try {
      throw;
    } catch (const std::bad_alloc&) {
      code = Errc::out_of_memory;
      return Error{code, operation, "memory could not be allocated"};
    } catch (const std::exception& e) {
      if (tells_of_memory(e.what())) code = Errc::out_of_memory;
      return Error{code, operation, e.what()};
    } catch (...) {
      return Error{code, operation, "an exception that is not a std::exception"};
    }
  } catch (...) {
    return Error{code};  // there is no memory for the text
  }
}
#endif

/// Calls `body`, which returns a Result, and turns an exception into an error. Costs nothing if
/// nothing is thrown.
template <class Body>
[[gnu::always_inline]] inline auto guard(Errc code, const char* operation, Body&& body)
    -> decltype(body()) {
#if defined(__cpp_exceptions)
  try {
    return body();
  } catch (...) {
    return caught(code, operation);
  }
#else
  static_cast<void>(code), static_cast<void>(operation);
  return body();
#endif
}

/// The error that `describe` returns, or one without text if there is no memory for the text: for
/// errors outside of any guard().
template <class Describe>
[[gnu::cold, gnu::noinline]] Error described(Describe&& describe) noexcept {
  auto failed = guard(Errc::out_of_memory, "", [&]() -> Result<void> { return describe(); });
  return std::move(failed).error();
}

}  // namespace detail
}  // namespace aoti::inline AOTI_ABI
