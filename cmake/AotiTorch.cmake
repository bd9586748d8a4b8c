# Finds libtorch and defines aoti::libtorch: torch's headers, libtorch_cpu and libc10. If torch was built for CUDA, it
# also defines aoti::libtorch_cuda, which loads libtorch_cuda, too: programs for CUDA link that one.
#
# Torch's own CMake config requires a CUDA toolkit if torch was built for CUDA, so it is not used. Searches, in
# this order: AOTI_LIBTORCH (a CMake or an environment variable; a libtorch or torch directory), CMAKE_PREFIX_PATH,
# the torch of the active Python, and the .venv that ./dev makes.
#
# Sets aoti_libtorch_FOUND, AOTI_TORCH_DIR and AOTI_TORCH_VERSION, or aoti_libtorch_NOT_FOUND_MESSAGE.

# Sets `out` to the directories to try, best first.
function(_aoti_torch_candidates out)
  set(directories)
  string(REPLACE ":" ";" environment_prefixes "$ENV{CMAKE_PREFIX_PATH}")
  foreach(prefix IN LISTS CMAKE_PREFIX_PATH environment_prefixes)
    file(GLOB site_packages "${prefix}/lib/python3*/site-packages/torch")
    # torch.utils.cmake_prefix_path is <torch>/share/cmake.
    list(APPEND directories "${prefix}" "${prefix}/../.." ${site_packages})
  endforeach()

  set(python python3)
  if(DEFINED ENV{VIRTUAL_ENV})
    set(python "$ENV{VIRTUAL_ENV}/bin/python3")
  endif()
  execute_process(
    COMMAND "${python}" -c
            "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
    OUTPUT_VARIABLE from_python OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    list(APPEND directories ${from_python})
  endif()

  file(GLOB from_dev "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../.venv/lib/python3*/site-packages/torch")
  set(${out} ${directories} ${from_dev} PARENT_SCOPE)
endfunction()

# Defines the targets from the first directory that holds a libtorch with AOTInductor.
function(_aoti_torch_define)
  foreach(directory IN LISTS ARGN)
    if(NOT EXISTS "${directory}/include/torch/csrc/inductor/aoti_torch/c/shim.h")
      continue()
    endif()
    set(where PATHS "${directory}/lib" "${directory}/lib64" NO_DEFAULT_PATH NO_CACHE)
    find_library(torch_cpu torch_cpu ${where})
    find_library(c10 c10 ${where})
    if(NOT torch_cpu OR NOT c10)
      continue()
    endif()
    cmake_path(NORMAL_PATH directory)
    string(REGEX REPLACE "/$" "" directory "${directory}")
    set(include "${directory}/include")

    set(version)
    foreach(header IN ITEMS torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
      if(EXISTS "${include}/${header}" AND NOT version)
        file(STRINGS "${include}/${header}" lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
        string(REGEX MATCHALL "[0-9]+" version "${lines}")
        list(JOIN version "." version)
      endif()
    endforeach()

    foreach(library IN ITEMS torch_cpu c10)
      add_library(aoti::${library} SHARED IMPORTED GLOBAL)
      set_target_properties(aoti::${library} PROPERTIES IMPORTED_LOCATION "${${library}}")
      target_include_directories(aoti::${library} INTERFACE "${include}" "${include}/torch/csrc/api/include")
    endforeach()
    # A libtorch from before 2.6 may use the old std::string, which only its symbols reveal.
    file(STRINGS "${c10}" new_abi REGEX "__cxx1112basic_string" LIMIT_COUNT 1)
    if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT new_abi)
      target_compile_definitions(aoti::c10 INTERFACE _GLIBCXX_USE_CXX11_ABI=0)
    endif()

    add_library(aoti::libtorch INTERFACE IMPORTED GLOBAL)
    target_link_libraries(aoti::libtorch INTERFACE aoti::aoti aoti::torch_cpu aoti::c10)
    set_target_properties(aoti::libtorch PROPERTIES AOTI_TORCH_DIR "${directory}" AOTI_TORCH_VERSION "${version}")
    find_library(torch_cuda torch_cuda ${where})
    if(torch_cuda)
      add_library(aoti::libtorch_cuda INTERFACE IMPORTED GLOBAL)
      # Nothing in a program refers to it by name.
      target_link_libraries(aoti::libtorch_cuda INTERFACE aoti::libtorch -Wl,--push-state,--no-as-needed
                                                          "${torch_cuda}" -Wl,--pop-state)
    endif()
    message(STATUS "aoti: libtorch ${version} in ${directory}")
    return()
  endforeach()
endfunction()

if(NOT TARGET aoti::libtorch)
  if(DEFINED ENV{AOTI_LIBTORCH}) # cached, for builds that reconfigure without it
    set(aoti_libtorch_environment "$ENV{AOTI_LIBTORCH}" CACHE INTERNAL "")
  endif()
  if(NOT AOTI_LIBTORCH)
    set(AOTI_LIBTORCH "${aoti_libtorch_environment}")
  endif()
  if(AOTI_LIBTORCH)
    _aoti_torch_define("${AOTI_LIBTORCH}")
    set(aoti_libtorch_NOT_FOUND_MESSAGE
        "AOTI_LIBTORCH is ${AOTI_LIBTORCH}, which holds no libtorch with AOTInductor (2.4 or newer).")
  else()
    _aoti_torch_candidates(directories)
    _aoti_torch_define(${directories})
    set(aoti_libtorch_NOT_FOUND_MESSAGE
        "libtorch was not found: set AOTI_LIBTORCH to a libtorch or torch directory, or activate a Python that has torch.")
  endif()
endif()

if(TARGET aoti::libtorch)
  set(aoti_libtorch_FOUND TRUE)
  get_target_property(AOTI_TORCH_DIR aoti::libtorch AOTI_TORCH_DIR)
  get_target_property(AOTI_TORCH_VERSION aoti::libtorch AOTI_TORCH_VERSION)
  unset(aoti_libtorch_NOT_FOUND_MESSAGE)
else()
  set(aoti_libtorch_FOUND FALSE)
  message(STATUS "aoti: ${aoti_libtorch_NOT_FOUND_MESSAGE}")
endif()
