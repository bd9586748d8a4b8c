# Code that must not compile, beside the same code without the mistake, which must.
file(GLOB sources CONFIGURE_DEPENDS compile_fail/*.cpp)
get_target_property(boost_include_dirs Boost::headers INTERFACE_INCLUDE_DIRECTORIES)
separate_arguments(flags UNIX_COMMAND "${CMAKE_CXX_FLAGS}")
set(compile
    "${CMAKE_CXX_COMPILER}" -std=c++20 ${flags}
    -I "${PROJECT_SOURCE_DIR}/include" -idirafter "${AOTI_RAPIDJSON_INCLUDE_DIR}" -idirafter "${boost_include_dirs}")

# What most of them include is compiled once.
set(common "${CMAKE_CURRENT_BINARY_DIR}/compile_fail/common.hpp")
file(CONFIGURE OUTPUT "${common}" CONTENT "#include <aoti/aoti.hpp>\n#include \"${CMAKE_CURRENT_SOURCE_DIR}/support/fake_runtime.hpp\"\n")
add_test(NAME compile_fail/common COMMAND ${compile} -x c++-header "${common}" -o "${common}.gch")
set_tests_properties(compile_fail/common PROPERTIES FIXTURES_SETUP compile_fail LABELS core)
list(APPEND compile -fsyntax-only -Winvalid-pch -include "${common}")

foreach(source IN LISTS sources)
  cmake_path(GET source STEM name)
  file(STRINGS "${source}" expected REGEX "^// expected: ")
  string(REPLACE "// expected: " "" expected "${expected}")
  if(NOT expected)
    message(FATAL_ERROR "${source} has no line \"// expected: \", with a regular expression for the message")
  endif()
  add_test(NAME compile_fail/${name} COMMAND ${compile} -DCOMPILE_FAIL "${source}")
  add_test(NAME compile_fail/${name}_twin COMMAND ${compile} "${source}")
  set_tests_properties(compile_fail/${name} PROPERTIES PASS_REGULAR_EXPRESSION "${expected}")
  set_tests_properties(compile_fail/${name} compile_fail/${name}_twin PROPERTIES FIXTURES_REQUIRED compile_fail
                                                                                 LABELS core)
endforeach()
