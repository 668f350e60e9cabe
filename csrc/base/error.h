// The only exception the core throws. The binding translates each kind to one Python exception.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace imagine_deblur {

enum class ErrorKind {
  kInputImage,     // not a JPEG, over a limit, unsupported layout -> InputImageError
  kTruncatedJpeg,  // ends or breaks before its last scanline -> TruncatedJpegError
  kOptions,        // an option outside its range -> OptionsError
  kEngine,         // runtime missing or a model refused -> EngineError
  kMemoryBudget,   // budget or disk too small -> MemoryBudgetError
  kIntegrity,      // numbers changed in memory between two readings -> IntegrityError
  kIo,             // a system call failed; `code` is errno -> OSError
  kCancelled,      // the keep-going callback said stop -> KeyboardInterrupt or the callback's error
};

// What happened and with what. `path` and `scanline` apply to images, `wanted` and `allowed`
// (bytes) to memory, `code` (errno) to system calls; -1 or empty where they do not apply.
struct ErrorContext {
  std::string path{};
  std::string field{};
  std::int64_t scanline = -1;
  std::int64_t wanted = -1;
  std::int64_t allowed = -1;
  int code = 0;
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, ErrorContext context = {})
      : std::runtime_error(message), kind_(kind), context_(std::move(context)) {}

  ErrorKind kind() const noexcept { return kind_; }
  const ErrorContext& context() const noexcept { return context_; }

 private:
  ErrorKind kind_;
  ErrorContext context_;
};

}  // namespace imagine_deblur
