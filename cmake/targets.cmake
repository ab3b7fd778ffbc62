# edgemesh_library(NAME name DIR dir DEPS ...): a static library of dir's *.cc and a test program <name>_test of its *_test.cc.
#   One folder, one library: adding a file needs no edit here. *_linux.cc etc. are ordinary sources.
#   *_main.cc and *_fuzz.cc are left out (programs of their own).
# edgemesh_proto(target file.proto ...): C++ of the schemas beside the module, included as "tunnel/signal/signal.pb.h".
function(edgemesh_library)
  cmake_parse_arguments(A "" "NAME;DIR" "DEPS;TEST_DEPS" ${ARGN})
  file(GLOB srcs CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${A_DIR}/*.cc)
  set(tests ${srcs})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER srcs EXCLUDE REGEX "_(test|main|fuzz)\\.cc$")
  if(srcs)
    add_library(${A_NAME} STATIC ${srcs})
    set(kind PUBLIC)
  else()
    add_library(${A_NAME} INTERFACE)
    set(kind INTERFACE)
  endif()
  target_include_directories(${A_NAME} ${kind} ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/proto)
  target_link_libraries(${A_NAME} ${kind} ${A_DEPS})
  if(tests)
    add_executable(${A_NAME}_test EXCLUDE_FROM_ALL ${tests})
    target_link_libraries(${A_NAME}_test PRIVATE ${A_NAME} ${A_TEST_DEPS} GTest::gtest GTest::gtest_main)
    set_property(GLOBAL APPEND PROPERTY EDGEMESH_TESTS ${A_NAME}_test)
    add_test(NAME ${A_NAME} COMMAND ${A_NAME}_test)
  endif()
endfunction()

function(edgemesh_proto target)
  foreach(f ${ARGN})
    string(REGEX REPLACE "\\.proto$" "" stem ${f})
    set(out ${CMAKE_BINARY_DIR}/proto/${stem})
    get_filename_component(dir ${out} DIRECTORY)
    add_custom_command(OUTPUT ${out}.pb.cc ${out}.pb.h
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/proto
      COMMAND protobuf::protoc --proto_path=${CMAKE_SOURCE_DIR} --cpp_out=${CMAKE_BINARY_DIR}/proto ${CMAKE_SOURCE_DIR}/${f}
      DEPENDS ${CMAKE_SOURCE_DIR}/${f} VERBATIM)
    set_source_files_properties(${out}.pb.cc PROPERTIES COMPILE_OPTIONS "-w")
    list(APPEND outs ${out}.pb.cc ${out}.pb.h)
  endforeach()
  add_library(${target} STATIC ${outs})
  target_include_directories(${target} SYSTEM PUBLIC ${CMAKE_BINARY_DIR}/proto)
  target_link_libraries(${target} PUBLIC protobuf::libprotobuf-lite)
endfunction()

# edgemesh_fuzz(name dir/file_fuzz.cc DEPS ...): a libFuzzer program in the fuzz preset; in every other preset a program that
# replays the checked-in corpus integration/fuzz/<name>/ (run by ctest).
function(edgemesh_fuzz name source)
  cmake_parse_arguments(A "" "" "DEPS" ${ARGN})
  if(EDGEMESH_FUZZ)
    add_executable(${name} EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/${source})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set_property(GLOBAL APPEND PROPERTY EDGEMESH_FUZZERS ${name})
  else()
    add_executable(${name} EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/${source} ${CMAKE_SOURCE_DIR}/integration/fuzz/replay_main.cc)
    set_property(GLOBAL APPEND PROPERTY EDGEMESH_TESTS ${name})
    add_test(NAME ${name} COMMAND ${name} ${CMAKE_SOURCE_DIR}/integration/fuzz/${name})
  endif()
  target_link_libraries(${name} PRIVATE ${A_DEPS})
endfunction()
