// Result<T>: a value or an Error, on Boost.Outcome.
#pragma once

#include <boost/outcome/basic_result.hpp>
#include <boost/outcome/policy/terminate.hpp>
#include <exception>
#include <new>

#include "aoti/error.hpp"

namespace aoti {

/// What every fallible function returns. `if (!result)` tests it, `value()` and `error()` look in.
/// Asking for what is not there, the value of a failed result or the error of a good one, is a
/// bug in the caller and ends the process by std::terminate().
template <class T>
using Result = boost::outcome_v2::basic_result<T, Error, boost::outcome_v2::policy::terminate>;

/// A good Result<void>.
inline auto success() { return boost::outcome_v2::success(); }

namespace detail {

#if defined(__cpp_exceptions)
/// The exception that is being handled, as an error: out_of_memory for std::bad_alloc, else `code`
/// with the exception's text.
[[gnu::cold, gnu::noinline]] inline Error caught(Errc code, const char* operation) noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return Error{Errc::out_of_memory};
  } catch (const std::exception& e) {
    try {
      return Error{code, operation, e.what()};
    } catch (...) {
      return Error{code};
    }
  } catch (...) {
    return Error{code};
  }
}
#endif

/// Calls `body`, which returns a Result, and turns an exception into an error. Costs nothing when
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

}  // namespace detail
}  // namespace aoti
