# Headers that take most of the time to compile, compiled once for all programs of this project with the same flags:
# aoti_precompile(NAME LIBRARY HEADER…), then target_precompile_headers(PROGRAM REUSE_FROM NAME). It pays where many
# programs are built. The library's headers are not among them, and are compiled alone elsewhere: in those, no missing
# #include is hidden.
function(aoti_precompile name library)
  file(CONFIGURE OUTPUT "${name}.cpp" CONTENT "")
  add_library(${name} OBJECT EXCLUDE_FROM_ALL "${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp")
  target_link_libraries(${name} PRIVATE ${library} aoti_warnings)
  target_precompile_headers(${name} PRIVATE ${ARGN})
endfunction()
