#include "jpeg/byte_sink.h"

#include <unistd.h>

#include <cerrno>
#include <exception>

namespace imagine_deblur::jpeg_internal {
namespace {

constexpr std::size_t kBufferBytes = 64 << 10;

}  // namespace

ByteSink::ByteSink(int descriptor)
    : jpeg_destination_mgr{}, descriptor_(descriptor), buffer_(kBufferBytes) {}

ByteSink::ByteSink(std::vector<std::uint8_t>& to, std::int64_t limit)
    : jpeg_destination_mgr{}, to_(&to), limit_(limit), buffer_(kBufferBytes) {}

void ByteSink::attach(jpeg_compress_struct& encoder) noexcept {
  init_destination = start;
  empty_output_buffer = empty;
  term_destination = stop;
  encoder.dest = this;
}

void ByteSink::start(j_compress_ptr encoder) {
  ByteSink& self = *static_cast<ByteSink*>(encoder->dest);
  self.next_output_byte = self.buffer_.data();
  self.free_in_buffer = self.buffer_.size();
}

// The library calls this with a full buffer, whatever `free_in_buffer` says.
boolean ByteSink::empty(j_compress_ptr encoder) {
  ByteSink& self = *static_cast<ByteSink*>(encoder->dest);
  self.hand_on(guard_of(encoder), self.buffer_.size());
  start(encoder);
  return TRUE;
}

void ByteSink::stop(j_compress_ptr encoder) {
  ByteSink& self = *static_cast<ByteSink*>(encoder->dest);
  self.hand_on(guard_of(encoder), self.buffer_.size() - self.free_in_buffer);
}

void ByteSink::hand_on(Guard& guard, std::size_t bytes) noexcept {
  if (to_ != nullptr) {
    const std::int64_t wanted = written_ + static_cast<std::int64_t>(bytes);
    guard.wanted = wanted;
    guard.allowed = limit_;
    if (wanted > limit_) {
      fail(guard, Failure::kOutput, 0, "the encoded picture is longer than allowed");
    }
    if (!append(bytes)) {
      fail(guard, Failure::kNoMemory, 0, "no memory for the encoded picture");
    }
    written_ = wanted;
    return;
  }
  const std::uint8_t* from = buffer_.data();
  while (bytes > 0) {
    const ssize_t put = ::write(descriptor_, from, bytes);
    if (put < 0 && errno == EINTR) {
      continue;
    }
    if (put <= 0) {
      fail(guard, Failure::kSystem, put < 0 ? errno : EIO, "cannot write");
    }
    from += put;
    bytes -= static_cast<std::size_t>(put);
    written_ += put;
  }
}

bool ByteSink::append(std::size_t bytes) noexcept {
  try {
    to_->insert(to_->end(), buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(bytes));
  } catch (const std::exception&) {
    return false;
  }
  return true;
}

}  // namespace imagine_deblur::jpeg_internal
