// Where libjpeg's output goes: a file descriptor through one small buffer, or a vector that may not
// grow past a limit. Internal to csrc/jpeg.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "jpeg/guard.h"

namespace imagine_deblur::jpeg_internal {

class ByteSink : private jpeg_destination_mgr {
 public:
  // Borrowed; written from where it stands.
  explicit ByteSink(int descriptor);
  // Appended to; borrowed. At most `limit` bytes are added.
  ByteSink(std::vector<std::uint8_t>& to, std::int64_t limit);

  ByteSink(const ByteSink&) = delete;
  ByteSink& operator=(const ByteSink&) = delete;

  void attach(jpeg_compress_struct& encoder) noexcept;

  // Bytes handed on so far; what waits in the buffer is not counted.
  std::int64_t written() const noexcept { return written_; }

 private:
  static void start(j_compress_ptr encoder);
  static boolean empty(j_compress_ptr encoder);
  static void stop(j_compress_ptr encoder);

  void hand_on(Guard& guard, std::size_t bytes) noexcept;
  bool append(std::size_t bytes) noexcept;  // false when the allocator refuses

  int descriptor_ = -1;
  std::vector<std::uint8_t>* to_ = nullptr;
  std::int64_t limit_ = 0;
  std::int64_t written_ = 0;
  std::vector<std::uint8_t> buffer_;
};

}  // namespace imagine_deblur::jpeg_internal
