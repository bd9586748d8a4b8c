// SPDX-License-Identifier: BSD-3-Clause
// Errors as Python exceptions of the classes in aoti/errors.py.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "aoti/result.hpp"

namespace aoti::inline AOTI_ABI::python {

namespace py = pybind11;

/// The class in aoti.errors for a code.
constexpr const char* exception_of(Errc code) noexcept {
  if (code <= Errc::ambiguous_model) return "PackageError";
  if (code <= Errc::library_load_failed) return "LoadError";
  if (code <= Errc::output_count) return "InputError";
  if (code <= Errc::constant_shape) return "WeightsError";
  return "RunError";
}

/// Text that may contain file names, which may not be UTF-8.
inline py::str text_of(std::string_view text) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace"));
}

/// Raises an error in Python, with `code` and the text: a plain RuntimeError if the package aoti is
/// not installed. An exception raised by an operator in Python becomes its cause, or is raised
/// itself if it is not an Exception, such as a KeyboardInterrupt. The caller has the GIL.
[[noreturn, gnu::cold]] inline void raise(const Error& error) {
  std::optional<py::error_already_set> cause;
  if (PyErr_Occurred() != nullptr) cause.emplace();
  if (cause && !cause->matches(PyExc_Exception)) throw py::error_already_set{*cause};
  py::object module;
  try {
    module = py::module_::import("aoti.errors");
  } catch (py::error_already_set&) {  // another extension's, if the package is not installed
    py::set_error(PyExc_RuntimeError, error.message().c_str());
    throw py::error_already_set{};
  }
  const py::object type = module.attr(exception_of(error.code()));
  const py::object raised = type(text_of(error.message()), text_of(to_string(error.code())));
  if (cause) {
    const py::object value = cause->value();
    if (cause->trace()) PyException_SetTraceback(value.ptr(), cause->trace().ptr());
    PyException_SetCause(raised.ptr(), py::object{value}.release().ptr());
  }
  py::set_error(type, raised);
  throw py::error_already_set{};
}

/// Returns the value of a call made without the GIL, or raises its error.
template <class T> T value_or_raise(Result<T> result) {
  if (!result) [[unlikely]]
    raise(result.error());
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

/// Stops this thread until the process ends.
[[noreturn]] inline void hang() noexcept {
  for (;;) ::pause();
}

/// Calls `acquire`, which waits for the GIL. During interpreter shutdown, CPython before 3.14 ends
/// the waiting thread by unwinding its stack, on which C++ calls std::terminate; later versions
/// hang the thread, as this does.
template <class Acquire> auto acquire_gil(Acquire&& acquire) noexcept {
  try {
    return acquire();
  } catch (...) {
    hang();
  }
}

/// Releases the GIL during its lifetime; faster than pybind11's.
class WithoutGil {
 public:
  WithoutGil() noexcept : state_{PyEval_SaveThread()} {}
  WithoutGil(const WithoutGil&) = delete;
  ~WithoutGil() {
    acquire_gil([&] { PyEval_RestoreThread(state_); });
  }

 private:
  PyThreadState* state_;
};

/// Holds the GIL during its lifetime, in any thread.
class WithGil {
 public:
  WithGil() noexcept : state_{acquire_gil([] { return PyGILState_Ensure(); })} {}
  WithGil(const WithGil&) = delete;
  ~WithGil() { PyGILState_Release(state_); }

 private:
  PyGILState_STATE state_;
};

/// A path for C functions. Raises a ValueError for a NUL, as Python's own functions do.
inline const std::string& checked_path(const std::string& path) {
  if (path.find('\0') != std::string::npos) throw py::value_error("embedded null byte");
  return path;
}

/// Calls `body` without the GIL, and raises the error that it returns.
template <class Body> auto without_gil(Body&& body) {
  auto result = [&] {
    const WithoutGil released;
    return body();
  }();
  return value_or_raise(std::move(result));
}

/// The return value of a function that CPython calls: that of `body`, or null with an exception
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

}  // namespace aoti::inline AOTI_ABI::python
