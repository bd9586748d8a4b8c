// Errors as Python exceptions, of the classes in aoti/errors.py.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "aoti/result.hpp"

namespace aoti::python {

namespace py = pybind11;

/// The class in aoti.errors for errors of a code.
constexpr const char* exception_of(Errc code) noexcept {
  if (code <= Errc::ambiguous_model) return "PackageError";
  if (code <= Errc::library_load_failed) return "LoadError";
  if (code <= Errc::output_count) return "InputError";
  if (code <= Errc::constant_shape) return "WeightsError";
  return "RunError";
}

/// Raises an error in Python, with `code` and the text: a plain RuntimeError where the package aoti
/// is not installed. The caller has the GIL.
[[noreturn, gnu::cold]] inline void raise(const Error& error) {
  py::object module;
  try {
    module = py::module_::import("aoti.errors");
  } catch (py::error_already_set&) {  // another extension's, where the package is not installed
    py::set_error(PyExc_RuntimeError, error.message().c_str());
    throw py::error_already_set{};
  }
  const py::object type = module.attr(exception_of(error.code()));
  py::set_error(type, type(error.message(), std::string{to_string(error.code())}));
  throw py::error_already_set{};
}

/// What a call without the GIL returned, or its error raised.
template <class T> T value_or_raise(Result<T> result) {
  if (!result) [[unlikely]]
    raise(result.error());
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

/// Lets other Python threads run while it lives; quicker than pybind11's.
class WithoutGil {
 public:
  WithoutGil() noexcept : state_{PyEval_SaveThread()} {}
  WithoutGil(const WithoutGil&) = delete;
  ~WithoutGil() { PyEval_RestoreThread(state_); }

 private:
  PyThreadState* state_;
};

/// Calls `body` while other Python threads may run, and raises the error that it returns.
template <class Body> auto without_gil(Body&& body) {
  auto result = [&] {
    const WithoutGil released;
    return body();
  }();
  return value_or_raise(std::move(result));
}

/// What a function that CPython calls itself returns: that of `body`, or null with the exception
/// set.
template <class Body> PyObject* guard_python(Body&& body) noexcept {
  try {
    return body();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

}  // namespace aoti::python
