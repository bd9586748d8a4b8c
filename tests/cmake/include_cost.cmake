# Fails if aoti/aoti.hpp includes more than it should: too many lines, or a standard header that takes long to
# compile. `preprocessed` is the output of -E -P -dI for it and for <span>, <string> and <vector>.
set(most 200) # percent of the lines of those three
set(unwanted algorithm atomic chrono filesystem functional iostream map memory mutex ranges regex sstream thread
             unordered_map)

function(count_lines file result)
  file(READ "${file}" text)
  string(REGEX REPLACE "[^\n]" "" text "${text}")
  string(LENGTH "${text}" count)
  set(${result} ${count} PARENT_SCOPE)
endfunction()

list(GET preprocessed 0 core)
list(GET preprocessed 1 standard)
count_lines("${core}" lines)
count_lines("${standard}" standard_lines)
math(EXPR percent "100 * ${lines} / ${standard_lines}")
message("${lines} lines, ${percent} % of those of <span>, <string> and <vector>")

list(JOIN unwanted "|" unwanted)
file(STRINGS "${core}" included REGEX "^ *# *include *<(${unwanted})>")
if(included OR percent GREATER most)
  message(FATAL_ERROR "expected at most ${most} %, and none of these: ${included}")
endif()
