// For our own mistakes, never for user input or hardware. Stays on in release builds.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace imagine_deblur {

// Ends the program with the place and the reason when `condition` does not hold.
inline void ensure(bool condition, const char* what,
                   const std::source_location where = std::source_location::current()) noexcept {
  if (condition) [[likely]]
    return;
  std::fprintf(stderr, "imagine_deblur: %s:%u: %s\n", where.file_name(), where.line(), what);
  std::abort();
}

}  // namespace imagine_deblur
