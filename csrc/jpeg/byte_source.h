// Where libjpeg's input comes from: borrowed memory, or a file descriptor read through one small
// buffer. Internal to csrc/jpeg.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "jpeg/guard.h"

namespace imagine_deblur::jpeg_internal {

class ByteSource : private jpeg_source_mgr {
 public:
  // Borrowed for the life of the source.
  ByteSource(const std::uint8_t* data, std::size_t size) noexcept;
  // Borrowed; read from where it stands.
  explicit ByteSource(int descriptor);

  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  // Called (inside a step) where the bytes end too early: it fails, or returns to let an
  // end-of-image marker be made up.
  using EndHandler = void (*)(Guard&);

  // Hands this source to `decoder`. Once per decoder.
  void attach(jpeg_decompress_struct& decoder, EndHandler on_end) noexcept;

  // Goes back to the first byte and lets the input end at byte `end`. False where the descriptor
  // cannot seek.
  bool rewind(std::int64_t end) noexcept;

  // Looks at the first bytes without taking them: their number, at most `count`; -1 with errno set.
  std::ptrdiff_t peek(std::uint8_t* to, std::size_t count) noexcept;  // before `attach` only

  // Bytes taken by the decoder so far.
  std::int64_t taken() const noexcept;

  // Length of the input in bytes; -1 where it cannot be known (a pipe).
  std::int64_t length() const noexcept { return length_; }

 private:
  static void start(j_decompress_ptr decoder);
  static boolean refill(j_decompress_ptr decoder);
  static void skip(j_decompress_ptr decoder, long count);
  static void stop(j_decompress_ptr decoder);

  bool load() noexcept;  // the next block; false with errno set when reading failed

  EndHandler on_end_ = nullptr;
  const std::uint8_t* block_ = nullptr;  // the bytes now offered to the decoder
  std::size_t block_bytes_ = 0;
  std::int64_t block_offset_ = 0;  // of block_[0] in the input
  bool block_fresh_ = false;       // loaded by `peek`, not yet offered
  bool ended_ = false;             // what is offered now is a made-up end marker
  std::int64_t end_ = -1;          // the input is taken to end here; -1: where it ends
  const std::uint8_t* memory_ = nullptr;
  std::size_t memory_bytes_ = 0;
  int descriptor_ = -1;
  std::int64_t first_ = -1;  // the descriptor's position at the start; -1: cannot seek
  std::int64_t length_ = -1;
  std::vector<std::uint8_t> buffer_;
};

}  // namespace imagine_deblur::jpeg_internal
