// libjpeg reports errors by calling back and must not be returned to afterwards; C++ wants an
// exception. The guard keeps the two apart: a library call runs inside `run_guarded`, an error
// jumps back there, and the C++ code above looks at `failure` and throws.
//
// The rule that makes the jump lawful: a Step, and everything it calls before the library, holds no
// object with a destructor. Internal to csrc/jpeg.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>  // jpeglib.h needs size_t and FILE

#include <jpeglib.h>

namespace imagine_deblur::jpeg_internal {

enum class Failure {
  kNone,
  kLibrary,    // libjpeg gave up; `code` is its message code
  kWarning,    // libjpeg would go on with damaged data
  kEndOfFile,  // the bytes end before the end-of-image marker
  kSystem,     // read or write failed; `code` is errno
  kScans,      // more scans than allowed
  kMetadata,   // more metadata than allowed; `wanted` and `allowed` in bytes
  kOutput,     // the encoded picture is longer than allowed; `wanted` and `allowed` in bytes
  kNoMemory,   // the allocator refused `wanted` bytes
};

struct Guard : jpeg_error_mgr {
  std::jmp_buf return_point{};
  Failure failure = Failure::kNone;
  int code = 0;
  std::int64_t wanted = -1;
  std::int64_t allowed = -1;
  char message[JMSG_LENGTH_MAX] = {};
  void* owner = nullptr;                               // what the callbacks work on
  void (*on_warning)(Guard&, j_common_ptr) = nullptr;  // may fail; null: warnings pass
};

using Step = void (*)(void* argument);

// Prepares the error manager; the owner then sets the library object's `err` to `&guard`.
void set_up(Guard& guard, void* owner) noexcept;

// The guard of a library object whose `err` is one.
template <typename Object>
Guard& guard_of(Object* object) noexcept {
  return *static_cast<Guard*>(object->err);
}

// Runs `step(argument)`; false when it ended in `fail`.
bool run_guarded(Guard& guard, Step step, void* argument) noexcept;

// Leaves the running step. `message` is copied; null keeps what is there.
[[noreturn]] void fail(Guard& guard, Failure failure, int code, const char* message) noexcept;

// Copies libjpeg's words for its latest message into `guard.message`.
void keep_library_message(Guard& guard, j_common_ptr object) noexcept;

}  // namespace imagine_deblur::jpeg_internal
