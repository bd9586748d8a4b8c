# Fails if `preprocessed` (the output of -dM -E) defines a macro AOTI_… that `allowed` (a regex) does not match.
file(STRINGS "${preprocessed}" leaked REGEX "^#define _*AOTI_")
list(FILTER leaked EXCLUDE REGEX "^#define ${allowed}([ (]|$)")
if(leaked)
  list(JOIN leaked "\n  " leaked)
  message(FATAL_ERROR "macros leak from the headers:\n  ${leaked}")
endif()
