#include "jpeg/guard.h"

#include <cstring>

namespace imagine_deblur::jpeg_internal {
namespace {

[[noreturn]] void on_error(j_common_ptr object) {
  Guard& guard = guard_of(object);
  keep_library_message(guard, object);
  fail(guard, Failure::kLibrary, object->err->msg_code, nullptr);
}

// Level -1 is a warning about damaged data, 0 and above are trace messages.
void on_message(j_common_ptr object, int level) {
  Guard& guard = guard_of(object);
  if (level < 0 && guard.on_warning != nullptr) {
    guard.on_warning(guard, object);
  }
}

void print_nothing(j_common_ptr /*object*/) {}

}  // namespace

void set_up(Guard& guard, void* owner) noexcept {
  jpeg_std_error(&guard);
  guard.error_exit = on_error;
  guard.emit_message = on_message;
  guard.output_message = print_nothing;
  guard.owner = owner;
}

[[gnu::noinline]] bool run_guarded(Guard& guard, Step step, void* argument) noexcept {
  if (setjmp(guard.return_point) != 0) {
    return false;
  }
  step(argument);
  return true;
}

void fail(Guard& guard, Failure failure, int code, const char* message) noexcept {
  guard.failure = failure;
  guard.code = code;
  if (message != nullptr) {
    std::strncpy(guard.message, message, sizeof(guard.message) - 1);
    guard.message[sizeof(guard.message) - 1] = '\0';
  }
  std::longjmp(guard.return_point, 1);
}

void keep_library_message(Guard& guard, j_common_ptr object) noexcept {
  object->err->format_message(object, guard.message);
}

}  // namespace imagine_deblur::jpeg_internal
