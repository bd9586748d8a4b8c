# The warnings for this project's own programs. Nothing here reaches a project that uses the library.
add_library(aoti_warnings INTERFACE)
target_compile_options(
  aoti_warnings
  INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Woverloaded-virtual)
