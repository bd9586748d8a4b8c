# Code that must not compile, beside the same code without the mistake, which must.
file(GLOB sources CONFIGURE_DEPENDS compile_fail/*.cpp)
get_target_property(boost_include_dirs Boost::headers INTERFACE_INCLUDE_DIRECTORIES)
separate_arguments(flags UNIX_COMMAND "${CMAKE_CXX_FLAGS}")
set(compile
    "${CMAKE_CXX_COMPILER}" -std=c++20 -fsyntax-only ${flags}
    -I "${PROJECT_SOURCE_DIR}/include" -idirafter "${AOTI_RAPIDJSON_INCLUDE_DIR}" -idirafter "${boost_include_dirs}")

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
  set_tests_properties(compile_fail/${name} compile_fail/${name}_twin PROPERTIES LABELS core)
endforeach()
