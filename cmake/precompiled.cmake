# What nearly every file includes, parsed once per configuration: a third of a build from nothing went to these headers.
# Only the standard library, fmt and googletest; a file still includes what it uses (the ARM build goes without, and
# tells for the folders it builds; -DEDGEMESH_PRECOMPILED=OFF tells for all).
#   edgemesh_precompiled(target) or edgemesh_precompiled(target TEST)
# CMake makes the header; the targets name it by -include-pch, whose path ccache makes relative, and ccache reads beside it a .sum,
# the headers' text, in place of the .pch, which holds absolute paths. So one checkout's cache serves another checkout.
option(EDGEMESH_PRECOMPILED "precompile the standard library's headers" ON)
set(CMAKE_PCH_INSTANTIATE_TEMPLATES ON)
set(EDGEMESH_COMMON_HEADERS <algorithm> <array> <atomic> <charconv> <chrono> <cstdint> <cstring> <deque> <functional> <map> <memory> <mutex>
  <optional> <set> <span> <string> <string_view> <unordered_map> <utility> <variant> <vector> <fmt/format.h>)

function(edgemesh_precompiled_from name)
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/precompiled/${name}.cc CONTENT "")
  add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/precompiled/${name}.cc)
  target_link_libraries(${name} PRIVATE fmt::fmt $<$<STREQUAL:${name},precompiled_test>:GTest::gtest>)
  target_precompile_headers(${name} PRIVATE ${ARGN})
  set_target_properties(${name} PROPERTIES CXX_COMPILER_LAUNCHER "")
  set(header ${CMAKE_BINARY_DIR}/CMakeFiles/${name}.dir/cmake_pch.hxx)
  add_custom_command(OUTPUT ${header}.pch.sum DEPENDS ${name} $<TARGET_OBJECTS:${name}>
    COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -DFMT_SHARED -E -P -dD -x c++ ${header} -o ${header}.pch.sum VERBATIM)
  add_custom_target(${name}_sum DEPENDS ${header}.pch.sum)
endfunction()

if(EDGEMESH_PRECOMPILED AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  edgemesh_precompiled_from(precompiled ${EDGEMESH_COMMON_HEADERS})
  edgemesh_precompiled_from(precompiled_test ${EDGEMESH_COMMON_HEADERS} <gtest/gtest.h>)
endif()

function(edgemesh_precompiled target)
  if(TARGET precompiled)
    set(name precompiled)
    if("TEST" IN_LIST ARGN)
      set(name precompiled_test)
    endif()
    target_compile_options(${target} PRIVATE "SHELL:-include-pch ${CMAKE_BINARY_DIR}/CMakeFiles/${name}.dir/cmake_pch.hxx.pch")
    add_dependencies(${target} ${name}_sum)
  endif()
endfunction()
