# Which compilers build this. Also runs alone (cmake -P), so that a check can ask it (integration/checks/compiler.py).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  message(FATAL_ERROR "g++ ${CMAKE_CXX_COMPILER_VERSION} miscompiles coroutines (temporaries in co_await expressions are "
    "destroyed twice). Use clang-19 (apt-get install clang-19; cmake --preset dev) or g++ 13 or newer.")
endif()
