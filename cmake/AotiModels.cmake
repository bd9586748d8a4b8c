# Functions that build models, and build models into programs.

# The program that aoti_add_model and aoti_add_static_model run at build time.
function(_aoti_models_tool)
  if(CMAKE_CROSSCOMPILING)
    message(FATAL_ERROR "aoti_add_model with PACKAGE and aoti_add_static_model run a program at build time, and cannot be "
                        "used when cross-compiling")
  endif()
  if(NOT TARGET aoti_models)
    add_executable(aoti_models EXCLUDE_FROM_ALL "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/aoti_models.cpp")
    target_link_libraries(aoti_models PRIVATE aoti::aoti)
  endif()
endfunction()

# aoti_add_model(NAME SOURCES FILE… [PACKAGE FILE])
#
# Makes the shared object NAME of a model that is written in C++: one of the sources has AOTI_EXPORT_MODEL. It can be
# loaded wherever compiled models can, torch's runners included; libtorch need not be there when it is built. With
# PACKAGE, also makes a .pt2 of it, with its input spec; a relative path is below the current binary directory.
function(aoti_add_model name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "PACKAGE" "SOURCES")
  if(NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "aoti_add_model(${name} SOURCES file… [PACKAGE file]): found \"${ARGN}\"")
  endif()
  # Processes in which torch is loaded, but not for everyone, as in Python, find its functions only in libraries that a
  # shared object names. This one has the name.
  if(NOT TARGET aoti_torch_cpu)
    set(empty "${CMAKE_BINARY_DIR}/aoti_torch_cpu/empty.cpp")
    file(CONFIGURE OUTPUT "${empty}" CONTENT "")
    add_library(aoti_torch_cpu SHARED "${empty}")
    set_target_properties(aoti_torch_cpu PROPERTIES OUTPUT_NAME torch_cpu PREFIX lib LIBRARY_OUTPUT_DIRECTORY
                                                    "${CMAKE_BINARY_DIR}/aoti_torch_cpu")
  endif()
  add_library(${name} MODULE ${arg_SOURCES})
  set_target_properties(${name} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON SKIP_BUILD_RPATH ON)
  target_link_libraries(${name} PRIVATE aoti::aoti -Wl,--no-as-needed aoti_torch_cpu -Wl,--as-needed)
  target_link_options(${name} PRIVATE -Wl,-z,lazy)

  if(arg_PACKAGE)
    _aoti_models_tool()
    cmake_path(ABSOLUTE_PATH arg_PACKAGE BASE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
    add_custom_command(
      OUTPUT "${arg_PACKAGE}"
      COMMAND "${CMAKE_COMMAND}" -E env --modify
              "LD_LIBRARY_PATH=path_list_prepend:$<TARGET_FILE_DIR:aoti_torch_cpu>" $<TARGET_FILE:aoti_models>
              pack $<TARGET_FILE:${name}> "${arg_PACKAGE}"
      DEPENDS ${name} aoti_models
      COMMENT "Packaging ${name}"
      VERBATIM)
    add_custom_target(${name}_package ALL DEPENDS "${arg_PACKAGE}")
  endif()
endfunction()

# aoti_add_static_model(TARGET PACKAGE FILE [MODEL MODEL] [NAME NAME] [ONEDNN | RUNTIME TYPE HEADER FILE [LINK TARGET…]])
#
# Compiles the C++ of a model that torch compiled for the CPU, which packages contain, into a program or library. There,
# <NAME.hpp> declares a type NAME, and aoti::linked<NAME>() is what Runner<Cpu, Native>::open and ArrayRefModel::open
# take. NAME is by default the package's, without its extension. The model calls the functions of a native runtime
# directly; one that it lacks is an error of the compiler. By default that is aoti::NativeWith<aoti::PlainOperators>, with
# ONEDNN aoti::NativeOnednn; RUNTIME names another, which HEADER defines, and LINK what it needs. Torch's headers are
# needed, its libraries are not. The package is read when the target is built.
function(aoti_add_static_model target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "ONEDNN" "PACKAGE;MODEL;NAME;RUNTIME;HEADER" "LINK")
  if(NOT arg_PACKAGE OR arg_UNPARSED_ARGUMENTS OR (arg_RUNTIME AND (arg_ONEDNN OR NOT arg_HEADER)))
    message(FATAL_ERROR "aoti_add_static_model(${target} PACKAGE file [MODEL model] [NAME name] "
                        "[ONEDNN | RUNTIME type HEADER file [LINK target…]]): found \"${ARGN}\"")
  endif()
  if(NOT TARGET aoti::libtorch)
    message(FATAL_ERROR "aoti_add_static_model compiles C++ that includes torch's headers, and libtorch was not found: set "
                        "AOTI_LIBTORCH to a libtorch or torch directory")
  endif()
  get_target_property(torch aoti::libtorch AOTI_TORCH_DIR)
  get_target_property(version aoti::libtorch AOTI_TORCH_VERSION)
  if(version VERSION_LESS 2.15)
    message(FATAL_ERROR "aoti_add_static_model needs the headers of torch 2.15 or later, and packages made by it; found "
                        "${version} in ${torch}")
  endif()
  _aoti_models_tool()
  cmake_path(ABSOLUTE_PATH arg_PACKAGE)
  if(NOT arg_NAME)
    cmake_path(GET arg_PACKAGE STEM arg_NAME)
  endif()
  set(name "${arg_NAME}")
  if(NOT name MATCHES "^[A-Za-z_][A-Za-z0-9_]*$")
    message(FATAL_ERROR "aoti_add_static_model: '${name}' cannot be the name of a type; give it another NAME")
  endif()

  set(folder "${CMAKE_CURRENT_BINARY_DIR}/aoti_static_models/${target}/${name}")
  set(base "${folder}/${name}")
  file(CONFIGURE OUTPUT "${base}.hpp" CONTENT "#pragma once

#include <aoti/package/source.hpp>

/// Stands for a model that is part of the program: aoti::linked<${name}>().
struct ${name} {
  static aoti::LinkedModel linked() noexcept;
};
" @ONLY)
  add_custom_command(
    OUTPUT "${base}.cpp" "${base}.kernels.cpp"
    BYPRODUCTS "${base}.wrapper.cpp" "${base}.names.h" "${base}.constants" "${base}.package.pt2" "${base}.wrapper.options"
               "${base}.kernels.options"
    COMMAND aoti_models unpack "${arg_PACKAGE}" "${arg_MODEL}" ${name} "${folder}" "${CMAKE_CXX_COMPILER_ID}"
    DEPENDS "${arg_PACKAGE}" aoti_models
    COMMENT "Unpacking ${name}"
    VERBATIM)

  set(runtime "aoti::NativeWith<aoti::PlainOperators>")
  set(header "aoti/runtime/plain_operators.hpp")
  set(libraries aoti::aoti)
  if(arg_RUNTIME)
    set(runtime "${arg_RUNTIME}")
    set(header "${arg_HEADER}")
    list(APPEND libraries ${arg_LINK})
  elseif(arg_ONEDNN)
    set(runtime "aoti::NativeOnednn")
    set(header "aoti/runtime/onednn.hpp")
    set(libraries aoti::onednn)
    if(NOT TARGET aoti::onednn)
      message(FATAL_ERROR "aoti_add_static_model(${target} … ONEDNN): ${aoti_onednn_NOT_FOUND_MESSAGE}")
    endif()
  endif()
  set(objects "aoti_model_${target}_${name}")
  add_library(${objects} OBJECT EXCLUDE_FROM_ALL "${base}.cpp")
  add_library(${objects}_kernels OBJECT EXCLUDE_FROM_ALL "${base}.kernels.cpp")
  get_target_property(stand_ins aoti::aoti AOTI_STAND_INS)
  foreach(part IN ITEMS ${objects} ${objects}_kernels)
    set_target_properties(${part} PROPERTIES UNITY_BUILD OFF CXX_CLANG_TIDY "" POSITION_INDEPENDENT_CODE ON)
    # Before others: it stands in for some of torch's headers.
    target_include_directories(${part} BEFORE PRIVATE "${stand_ins}")
    target_include_directories(${part} SYSTEM PRIVATE "${torch}/include")
    target_link_libraries(${part} PRIVATE ${libraries})
    target_compile_definitions(${part} PRIVATE "AOTI_LINKED_RUNTIME=${runtime}")
    target_compile_options(${part} PRIVATE -w -ffunction-sections -fdata-sections "SHELL:-include ${header}")
  endforeach()
  # What is chosen here, and when the package is made, comes after what this build chooses. Without optimisation, code of
  # torch's headers stays that needs libtorch.
  target_compile_options(${objects} PRIVATE -O2 "@${base}.wrapper.options")
  target_compile_options(${objects}_kernels PRIVATE "@${base}.kernels.options")

  target_sources(${target} PRIVATE $<TARGET_OBJECTS:${objects}> $<TARGET_OBJECTS:${objects}_kernels>)
  target_include_directories(${target} PRIVATE "${folder}")
  target_link_libraries(${target} PRIVATE ${libraries} -fopenmp)
endfunction()
