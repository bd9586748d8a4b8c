# Projects that use the library: one by find_package from an installed copy, one by add_subdirectory.
set(prefix "${CMAKE_CURRENT_BINARY_DIR}/installed")
add_test(NAME consumers/installation COMMAND "${CMAKE_COMMAND}" --install "${PROJECT_BINARY_DIR}" --prefix "${prefix}")
set_tests_properties(consumers/installation PROPERTIES FIXTURES_SETUP installation)

# Adds a test that configures and builds consumers/<source>, and runs its program. With libtorch, the machine's own
# compiler builds it.
function(add_consumer name source program)
  set(binary_dir "${CMAKE_CURRENT_BINARY_DIR}/consumers/${name}")
  add_test(
    NAME consumers/${name}
    COMMAND "${CMAKE_CTEST_COMMAND}" --build-and-test "${CMAKE_CURRENT_SOURCE_DIR}/consumers/${source}" "${binary_dir}"
            --build-generator "${CMAKE_GENERATOR}" --build-options ${ARGN}
            --test-command "${binary_dir}/${program}")
  set_tests_properties(consumers/${name} PROPERTIES PASS_REGULAR_EXPRESSION "aoti ${PROJECT_VERSION}" LABELS core)
endfunction()

if(AOTI_TEST_CORE)
  add_consumer(subdirectory subdirectory consumer "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}"
               "-DAOTI_SOURCE_DIR=${PROJECT_SOURCE_DIR}" -DAOTI_WITH_LIBTORCH=OFF)
  add_consumer(install install consumer "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}" "-DCMAKE_PREFIX_PATH=${prefix}")
  set_tests_properties(consumers/install PROPERTIES FIXTURES_REQUIRED installation)
endif()
if(TARGET aoti::libtorch)
  add_consumer(install_libtorch install torch_consumer "-DCMAKE_PREFIX_PATH=${prefix}"
               "-DAOTI_LIBTORCH=${AOTI_TORCH_DIR}" -DWITH_LIBTORCH=ON)
  set_tests_properties(consumers/install_libtorch PROPERTIES FIXTURES_REQUIRED installation LABELS libtorch)
  if(TARGET aoti::onednn AND AOTI_TORCH_VERSION VERSION_GREATER_EQUAL 2.15)
    set(demo "${AOTI_DEMO_DIR}")
    if(NOT demo)
      set(demo "${PROJECT_SOURCE_DIR}/build/demo")
    endif()
    add_consumer(linked linked linked_models "-DCMAKE_PREFIX_PATH=${prefix}" "-DAOTI_LIBTORCH=${AOTI_TORCH_DIR}"
                 "-DMODELS_DIR=${AOTI_TEST_MODELS_DIR}" "-DDEMO_DIR=${demo}" "-DTESTS_DIR=${CMAKE_CURRENT_SOURCE_DIR}")
    set_tests_properties(consumers/linked PROPERTIES FIXTURES_REQUIRED installation LABELS libtorch PASS_REGULAR_EXPRESSION
                                                                                                    "PASSED  . [0-9]+ tests")
  endif()
endif()
