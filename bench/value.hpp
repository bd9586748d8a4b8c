// A result's value, or the end of the program with the error's message.
#pragma once

#include <aoti/result.hpp>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace bench {

template <class T> T value(aoti::Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().message().c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

}  // namespace bench
