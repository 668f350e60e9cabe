// Files, descriptors and decoding for the tests of the JPEG reader and writer.
#pragma once

#include <dirent.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "check.h"
#include "jpeg/codec.h"
#include "jpeg_fixtures.h"

namespace jpeg_helpers {

using imagine_deblur::DecodedJpeg;
using imagine_deblur::Error;
using imagine_deblur::ReaderOptions;
using imagine_deblur::ScanlineReader;
using jpeg_fixtures::Bytes;

inline int open_descriptors() {
  int count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) {
    return -1;
  }
  while (::readdir(folder) != nullptr) {
    ++count;
  }
  ::closedir(folder);
  return count;
}

// A file in the temporary folder, gone with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const Bytes& content) {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder != nullptr ? folder : "/tmp") + "/imagine_deblur_XXXXXX";
    const int descriptor = ::mkstemp(path_.data());
    CHECK(descriptor >= 0);
    CHECK(::write(descriptor, content.data(), content.size()) ==
          static_cast<ssize_t>(content.size()));
    ::close(descriptor);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline Bytes read_all(ScanlineReader& reader, int rows_at_a_time) {
  const std::size_t row_bytes = static_cast<std::size_t>(reader.info().columns) *
                                static_cast<std::size_t>(reader.info().bands);
  Bytes samples(row_bytes * static_cast<std::size_t>(reader.info().rows));
  int row = 0;
  for (;;) {
    const int got =
        reader.read_rows(rows_at_a_time, samples.data() + static_cast<std::size_t>(row) * row_bytes,
                         static_cast<std::ptrdiff_t>(row_bytes));
    if (got == 0) {
      break;
    }
    row += got;
    CHECK(reader.rows_read() == row);
  }
  CHECK(row == reader.info().rows);
  return samples;
}

inline DecodedJpeg decode(const Bytes& file, const ReaderOptions& options = {}) {
  return decode_jpeg(file.data(), file.size(), options);
}

inline Error error_of(const Bytes& file, const ReaderOptions& options = {}) {
  try {
    decode(file, options);
  } catch (const Error& error) {
    return error;
  }
  std::fprintf(stderr, "no error where one was due\n");
  std::exit(1);
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace jpeg_helpers
