# find_package(aoti) gives aoti::aoti, and aoti::libtorch where libtorch is found.
# find_package(aoti COMPONENTS libtorch) fails where it is not.
cmake_policy(VERSION 3.25...3.31)
include(CMakeFindDependencyMacro)
include("${CMAKE_CURRENT_LIST_DIR}/AotiDependencies.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/aotiTargets.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotiTorch.cmake")

foreach(component IN LISTS aoti_FIND_COMPONENTS)
  if(aoti_FIND_REQUIRED_${component} AND NOT aoti_${component}_FOUND)
    set(aoti_FOUND FALSE)
    set(aoti_NOT_FOUND_MESSAGE "no component ${component}. ${aoti_${component}_NOT_FOUND_MESSAGE}")
  endif()
endforeach()
