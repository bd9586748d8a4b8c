# Each fuzz/<name>_fuzz.cpp is a libFuzzer fuzzer of file contents; the test runs it only for seconds, `./dev fuzz`
# for longer. It starts from fuzz/corpus/<name>, the few inputs that together cover the most code of earlier runs, and
# from the packages and images made for the tests.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_FLAGS MATCHES "-fsanitize=address")
  file(GLOB fuzzers CONFIGURE_DEPENDS fuzz/*_fuzz.cpp)
  foreach(source IN LISTS fuzzers)
    cmake_path(GET source STEM name)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE aoti::aoti aoti_warnings)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(${name} fakes)
    set(seeds "${packages_dir}")
    if(name STREQUAL "image_fuzz")
      set(seeds "${fakes_dir}")
    endif()
    string(REPLACE "_fuzz" "" subject "${name}")
    set(corpus "${CMAKE_CURRENT_BINARY_DIR}/fuzz/corpus/${subject}")
    file(GLOB kept CONFIGURE_DEPENDS "fuzz/corpus/${subject}/*")
    add_custom_command(
      OUTPUT "${corpus}.stamp"
      COMMAND Python3::Interpreter fuzz/unpack_corpus.py "fuzz/corpus/${subject}" "${corpus}"
      COMMAND "${CMAKE_COMMAND}" -E touch "${corpus}.stamp"
      WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
      DEPENDS fuzz/unpack_corpus.py ${kept})
    add_custom_target(${name}_corpus DEPENDS "${corpus}.stamp")
    add_dependencies(${name} ${name}_corpus)
    set(found "${CMAKE_CURRENT_BINARY_DIR}/fuzz/${name}")
    file(MAKE_DIRECTORY "${found}")
    add_test(NAME fuzz/${name} COMMAND ${name} -max_total_time=5 -max_len=300000 -verbosity=0 "${found}" "${corpus}"
                                           "${seeds}")
    set_tests_properties(fuzz/${name} PROPERTIES LABELS fuzz)
  endforeach()
endif()
