# find_package(aoti) gives aoti::aoti; aoti::libtorch if libtorch is found; and aoti::onednn, aoti::fftw and
# aoti::lapack if oneDNN, FFTW and LAPACK are found. find_package(aoti COMPONENTS libtorch onednn fftw lapack) fails
# if they are not.
cmake_policy(VERSION 3.25...3.31)
include(CMakeFindDependencyMacro)
include("${CMAKE_CURRENT_LIST_DIR}/AotiDependencies.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/aotiTargets.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotiTorch.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotiOnednn.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotiFftw.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/AotiLapack.cmake")
get_target_property(_aoti_include aoti::aoti INTERFACE_INCLUDE_DIRECTORIES)
set_property(TARGET aoti::aoti PROPERTY AOTI_STAND_INS "${_aoti_include}/aoti/model/stand_ins")
unset(_aoti_include)
include("${CMAKE_CURRENT_LIST_DIR}/AotiModels.cmake")

foreach(component IN LISTS aoti_FIND_COMPONENTS)
  if(aoti_FIND_REQUIRED_${component} AND NOT aoti_${component}_FOUND)
    set(aoti_FOUND FALSE)
    set(aoti_NOT_FOUND_MESSAGE "no component ${component}. ${aoti_${component}_NOT_FOUND_MESSAGE}")
  endif()
endforeach()
