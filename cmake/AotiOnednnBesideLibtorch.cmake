# Defines aoti_onednn_beside_libtorch, for programs that use both: libtorch exports functions of the oneDNN inside it,
# and the two would call each other's. This links a copy of oneDNN that prefers its own functions.
if(TARGET aoti::onednn AND TARGET aoti::libtorch AND NOT TARGET aoti_onednn_beside_libtorch)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  file(REAL_PATH "${AOTI_ONEDNN_LIBRARY}" onednn_real)
  file(STRINGS "${onednn_real}" onednn_soname REGEX "^libdnnl\\.so\\.[0-9]+$" LIMIT_COUNT 1)
  set(onednn_copy "${CMAKE_BINARY_DIR}/aoti_onednn/${onednn_soname}")
  if("${onednn_real}" IS_NEWER_THAN "${onednn_copy}")
    execute_process(COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/symbolic.py" "${onednn_real}"
                            "${onednn_copy}" COMMAND_ERROR_IS_FATAL ANY)
  endif()
  add_library(aoti_onednn_beside_libtorch INTERFACE)
  target_include_directories(aoti_onednn_beside_libtorch
                             INTERFACE $<TARGET_PROPERTY:aoti::onednn,INTERFACE_INCLUDE_DIRECTORIES>)
  target_link_libraries(aoti_onednn_beside_libtorch INTERFACE "${onednn_copy}")
endif()
