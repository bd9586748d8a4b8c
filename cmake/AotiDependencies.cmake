# What aoti::aoti needs: Boost's headers and RapidJSON's.
find_package(Boost 1.74 REQUIRED)

if(NOT TARGET aoti::rapidjson)
  find_path(AOTI_RAPIDJSON_INCLUDE_DIR rapidjson/reader.h)
  mark_as_advanced(AOTI_RAPIDJSON_INCLUDE_DIR)
  if(NOT AOTI_RAPIDJSON_INCLUDE_DIR)
    message(FATAL_ERROR "aoti: RapidJSON's headers (rapidjson/reader.h) were not found. "
                        "Debian and Ubuntu have them as rapidjson-dev.")
  endif()
  add_library(aoti::rapidjson INTERFACE IMPORTED GLOBAL)
  target_include_directories(aoti::rapidjson INTERFACE "${AOTI_RAPIDJSON_INCLUDE_DIR}")
endif()
