// Checks for the native tests: no framework, a failing check prints where and ends the test.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                                 \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                                      \
    }                                                                                    \
  } while (false)

// The statement throws `Error` of the given kind.
#define CHECK_THROWS(statement, expected_kind)                                              \
  do {                                                                                      \
    bool thrown_ = false;                                                                   \
    try {                                                                                   \
      statement;                                                                            \
    } catch (const ::imagine_deblur::Error& error_) {                                       \
      thrown_ = true;                                                                       \
      if (error_.kind() != (expected_kind)) {                                               \
        std::fprintf(stderr, "%s:%d: wrong kind: %s\n", __FILE__, __LINE__, error_.what()); \
        std::exit(1);                                                                       \
      }                                                                                     \
    }                                                                                       \
    if (!thrown_) {                                                                         \
      std::fprintf(stderr, "%s:%d: nothing thrown: %s\n", __FILE__, __LINE__, #statement);  \
      std::exit(1);                                                                         \
    }                                                                                       \
  } while (false)
