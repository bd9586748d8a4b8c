# Defines aoti::onednn, which is aoti::aoti with oneDNN, if oneDNN 2.6 or later is found. oneDNN's own CMake files are
# not used, since Debian's require OpenCL.
set(aoti_onednn_FOUND FALSE)
if(NOT TARGET aoti::onednn)
  find_path(AOTI_ONEDNN_INCLUDE_DIR oneapi/dnnl/dnnl_version.h)
  find_library(AOTI_ONEDNN_LIBRARY dnnl)
  mark_as_advanced(AOTI_ONEDNN_INCLUDE_DIR AOTI_ONEDNN_LIBRARY)
  if(AOTI_ONEDNN_INCLUDE_DIR AND AOTI_ONEDNN_LIBRARY)
    file(STRINGS "${AOTI_ONEDNN_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h" onednn_version
         REGEX "define DNNL_VERSION_(MAJOR|MINOR|PATCH) ")
    string(REGEX MATCHALL "[0-9]+" onednn_version "${onednn_version}")
    list(JOIN onednn_version "." onednn_version)
    if(onednn_version VERSION_GREATER_EQUAL 2.6)
      add_library(aoti::onednn INTERFACE IMPORTED GLOBAL)
      target_link_libraries(aoti::onednn INTERFACE aoti::aoti "${AOTI_ONEDNN_LIBRARY}")
      # Torch includes headers of another oneDNN. These come before them, under their own path, since compilers do not
      # move /usr/include forward.
      set(onednn_include "${CMAKE_BINARY_DIR}/aoti_onednn")
      file(MAKE_DIRECTORY "${onednn_include}")
      file(CREATE_LINK "${AOTI_ONEDNN_INCLUDE_DIR}/oneapi" "${onednn_include}/oneapi" SYMBOLIC)
      target_include_directories(aoti::onednn INTERFACE "${onednn_include}")
      set_target_properties(aoti::onednn PROPERTIES IMPORTED_NO_SYSTEM ON)
      message(STATUS "aoti: oneDNN ${onednn_version}")
    endif()
  endif()
endif()

if(TARGET aoti::onednn)
  set(aoti_onednn_FOUND TRUE)
else()
  set(aoti_onednn_NOT_FOUND_MESSAGE
      "oneDNN 2.6 or later was not found. Debian and Ubuntu have it as libdnnl-dev or libonednn-dev.")
  message(STATUS "aoti: ${aoti_onednn_NOT_FOUND_MESSAGE}")
endif()
