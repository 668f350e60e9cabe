#include "jpeg/byte_source.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace imagine_deblur::jpeg_internal {
namespace {

constexpr std::size_t kBufferBytes = 64 << 10;
constexpr std::uint8_t kEndOfImage[] = {0xFF, 0xD9};

}  // namespace

ByteSource::ByteSource(const std::uint8_t* data, std::size_t size) noexcept
    : jpeg_source_mgr{},
      memory_(data),
      memory_bytes_(size),
      length_(static_cast<std::int64_t>(size)) {}

ByteSource::ByteSource(int descriptor)
    : jpeg_source_mgr{}, descriptor_(descriptor), buffer_(kBufferBytes) {
  first_ = ::lseek(descriptor, 0, SEEK_CUR);
  struct stat status{};
  if (first_ >= 0 && ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) {
    length_ = std::max<std::int64_t>(0, status.st_size - first_);
  }
}

void ByteSource::attach(jpeg_decompress_struct& decoder, EndHandler on_end) noexcept {
  on_end_ = on_end;
  init_source = start;
  fill_input_buffer = refill;
  skip_input_data = skip;
  resync_to_restart = jpeg_resync_to_restart;
  term_source = stop;
  next_input_byte = nullptr;
  bytes_in_buffer = 0;
  decoder.src = this;
}

bool ByteSource::rewind(std::int64_t end) noexcept {
  if (descriptor_ >= 0 && (first_ < 0 || ::lseek(descriptor_, first_, SEEK_SET) < 0)) {
    return false;
  }
  end_ = end;
  block_ = nullptr;
  block_bytes_ = 0;
  block_offset_ = 0;
  block_fresh_ = false;
  ended_ = false;
  return true;
}

std::ptrdiff_t ByteSource::peek(std::uint8_t* to, std::size_t count) noexcept {
  if (!load()) {
    return -1;
  }
  block_fresh_ = true;
  const std::size_t found = std::min(count, block_bytes_);
  if (found > 0) {
    std::memcpy(to, block_, found);
  }
  return static_cast<std::ptrdiff_t>(found);
}

std::int64_t ByteSource::taken() const noexcept {
  const std::size_t left = ended_ ? 0 : bytes_in_buffer;
  return block_offset_ + static_cast<std::int64_t>(block_bytes_ - left);
}

// An empty block means the end. A short read of a pipe is a block like any other, but the first
// one is filled so that `peek` sees a whole signature.
bool ByteSource::load() noexcept {
  block_offset_ += static_cast<std::int64_t>(block_bytes_);
  block_bytes_ = 0;
  if (descriptor_ < 0) {
    if (block_ == nullptr) {
      block_ = memory_;
      block_bytes_ = memory_bytes_;
    }
  } else {
    block_ = buffer_.data();
    while (block_bytes_ < buffer_.size()) {
      const ssize_t got =
          ::read(descriptor_, buffer_.data() + block_bytes_, buffer_.size() - block_bytes_);
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got < 0) {
        return false;
      }
      if (got == 0) {
        break;
      }
      block_bytes_ += static_cast<std::size_t>(got);
    }
  }
  if (end_ >= 0) {
    const std::int64_t left = std::max<std::int64_t>(0, end_ - block_offset_);
    block_bytes_ = std::min(block_bytes_, static_cast<std::size_t>(left));
  }
  return true;
}

void ByteSource::start(j_decompress_ptr /*decoder*/) {}

boolean ByteSource::refill(j_decompress_ptr decoder) {
  ByteSource& self = *static_cast<ByteSource*>(decoder->src);
  if (self.block_fresh_) {
    self.block_fresh_ = false;
  } else if (!self.load()) {
    fail(guard_of(decoder), Failure::kSystem, errno, "cannot read");
  }
  if (self.block_bytes_ > 0) {
    self.next_input_byte = self.block_;
    self.bytes_in_buffer = self.block_bytes_;
    return TRUE;
  }
  self.ended_ = true;
  self.bytes_in_buffer = 0;
  self.on_end_(guard_of(decoder));
  self.next_input_byte = kEndOfImage;
  self.bytes_in_buffer = sizeof(kEndOfImage);
  return TRUE;
}

void ByteSource::skip(j_decompress_ptr decoder, long count) {
  ByteSource& self = *static_cast<ByteSource*>(decoder->src);
  if (count <= 0) {
    return;
  }
  auto left = static_cast<std::size_t>(count);
  while (left > self.bytes_in_buffer) {
    left -= self.bytes_in_buffer;
    self.bytes_in_buffer = 0;
    refill(decoder);
  }
  self.next_input_byte += left;
  self.bytes_in_buffer -= left;
}

void ByteSource::stop(j_decompress_ptr /*decoder*/) {}

}  // namespace imagine_deblur::jpeg_internal
