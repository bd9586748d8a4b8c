// What the fake `trouble` does, selected by the first element of its first input.
#pragma once

namespace aoti_test {

enum class Trouble {
  none,           // adds, as `add` does
  fails,          // returns an error, having taken nothing
  fails_late,     // returns an error, having taken one input and made one output
  out_of_memory,  // returns an error whose text blames memory
  import_fails,   // returns the error that torch's macro builds when an imported function fails
  silent,         // returns an error without a text
  few_outputs,    // returns success with only one of its two outputs
  no_outputs,     // returns success without any
  throws,         // throws a std::runtime_error
  throws_late,    // throws, having taken one input and made one output
  throws_memory,  // throws a std::bad_alloc
  throws_int,     // throws something other than a std::exception
};

}  // namespace aoti_test
