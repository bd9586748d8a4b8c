#!/usr/bin/env bash
# Prints how many milliseconds headers add to the compilation of an empty file, best of five.
# usage: bench/include_time.sh [HEADER…]        e.g. aoti/aoti.hpp aoti/error.hpp; CXX picks the compiler
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -gt 0 ] || set -- aoti/aoti.hpp

best_ms() { # the shortest time to compile the given text
  local best=999999 start ms
  for _ in 1 2 3 4 5; do
    start=$(date +%s%N)
    printf '%s\n' "$1" | "${CXX:-g++}" -std=c++20 -Iinclude -x c++ -c -o /dev/null -
    ms=$((($(date +%s%N) - start) / 1000000))
    [ "$ms" -ge "$best" ] || best=$ms
  done
  echo "$best"
}

empty=$(best_ms '')
for header in "$@"; do
  with=$(best_ms "#include <$header>")
  echo "$header $((with - empty)) ms"
done
