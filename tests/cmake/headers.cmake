# Each header compiles alone and twice, all of them link when two files include them, and none leaks a macro. The cost
# of including all of the core stays within bounds.

# The macros that are part of the interface.
set(public_macros "AOTI_(VERSION_(MAJOR|MINOR|PATCH)|ABI|ABI_(JOIN_?|SANITIZER|EXCEPTIONS|STRINGS)|TRYV?|TRY_(AT|AS)|MODEL_ABI)")

file(GLOB_RECURSE headers RELATIVE "${PROJECT_SOURCE_DIR}/include" CONFIGURE_DEPENDS
     "${PROJECT_SOURCE_DIR}/include/aoti/*.hpp")
list(FILTER headers EXCLUDE REGEX "^aoti/(python/|export_model)") # that one defines functions, once in a library
set(torch_headers ${headers})
list(FILTER torch_headers INCLUDE REGEX "^aoti/(runtime/libtorch|drop_in)")
list(REMOVE_ITEM headers ${torch_headers})
foreach(other IN ITEMS onednn fftw lapack)
  set(${other}_headers ${headers})
  list(FILTER ${other}_headers INCLUDE REGEX "^aoti/runtime/${other}")
  list(REMOVE_ITEM headers ${${other}_headers})
endforeach()

set(generated_dir "${CMAKE_CURRENT_BINARY_DIR}/headers")

# Adds an object library with one source file for each header, which includes only that header.
function(add_header_tests target library)
  set(sources)
  foreach(header IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER "${header}" name)
    file(CONFIGURE OUTPUT "${generated_dir}/${name}.cpp" CONTENT "#include <${header}>\n#include <${header}>\n")
    list(APPEND sources "${generated_dir}/${name}.cpp")
  endforeach()
  add_library(${target} OBJECT ${sources})
  target_link_libraries(${target} PRIVATE ${library} aoti_warnings)
  set_target_properties(${target} PROPERTIES COMPILE_WARNING_AS_ERROR ON)
endfunction()

if(TARGET aoti::libtorch AND torch_headers)
  add_header_tests(torch_header_tests aoti::libtorch ${torch_headers})
endif()
if(NOT AOTI_TEST_CORE)
  return()
endif()
add_header_tests(header_tests aoti::aoti ${headers})
foreach(other IN ITEMS onednn fftw lapack)
  if(TARGET aoti::${other} AND ${other}_headers)
    add_header_tests(${other}_header_tests aoti::${other} ${${other}_headers})
  endif()
endforeach()

list(TRANSFORM headers REPLACE "(.+)" "#include <\\1>" OUTPUT_VARIABLE includes)
list(JOIN includes "\n" includes)
file(CONFIGURE OUTPUT "${generated_dir}/all.cpp" CONTENT "${includes}\n")
file(CONFIGURE OUTPUT "${generated_dir}/all_and_main.cpp" CONTENT "${includes}\nint main() {}\n")

add_executable(double_link "${generated_dir}/all.cpp" "${generated_dir}/all_and_main.cpp")
target_link_libraries(double_link PRIVATE aoti::aoti aoti_warnings)
add_test(NAME headers/linked_twice COMMAND double_link)

add_library(macros OBJECT "${generated_dir}/all.cpp")
target_link_libraries(macros PRIVATE aoti::aoti)
target_compile_options(macros PRIVATE -E -dM)
add_test(NAME headers/no_macro_leaks
         COMMAND "${CMAKE_COMMAND}" -D "preprocessed=$<TARGET_OBJECTS:macros>" -D "allowed=${public_macros}"
                 -P "${CMAKE_CURRENT_LIST_DIR}/macro_leak.cmake")

file(CONFIGURE OUTPUT "${generated_dir}/core.cpp" CONTENT "#include <aoti/aoti.hpp>\n")
file(CONFIGURE OUTPUT "${generated_dir}/standard.cpp" CONTENT "#include <span>\n#include <string>\n#include <vector>\n")
add_library(preprocessed OBJECT "${generated_dir}/core.cpp" "${generated_dir}/standard.cpp")
target_link_libraries(preprocessed PRIVATE aoti::aoti)
target_compile_options(preprocessed PRIVATE -E -P -dI)
add_test(NAME headers/include_cost COMMAND "${CMAKE_COMMAND}" -D "preprocessed=$<TARGET_OBJECTS:preprocessed>"
                                           -P "${CMAKE_CURRENT_LIST_DIR}/include_cost.cmake")
set_tests_properties(headers/linked_twice headers/no_macro_leaks headers/include_cost PROPERTIES LABELS core)
