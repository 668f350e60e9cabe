// Damaged and hostile JPEGs: cut, broken, too large, or none at all.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "jpeg/codec.h"
#include "jpeg_fixtures.h"
#include "jpeg_helpers.h"

using namespace imagine_deblur;
using namespace jpeg_helpers;
using jpeg_fixtures::Recipe;

namespace {

void truncated_files_name_the_scanline() {
  for (const bool progressive : {false, true}) {
    for (const int restart_rows : {0, 1}) {
      Recipe recipe;
      recipe.rows = 250;
      recipe.columns = 200;
      recipe.horizontal = recipe.vertical = 2;
      recipe.progressive = progressive;
      recipe.restart_rows = restart_rows;
      const Bytes file = jpeg_fixtures::make(recipe);
      const Bytes whole = jpeg_fixtures::decode(file);
      const std::size_t header = jpeg_fixtures::find_marker(file, 0xDA);
      std::int64_t last = 0;
      for (std::size_t sixteenth = 1; sixteenth < 16; ++sixteenth) {
        const std::size_t bytes = file.size() * sixteenth / 16;
        const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(bytes));
        const Error error = error_of(cut);
        CHECK(error.kind() == ErrorKind::kTruncatedJpeg);
        CHECK(error.context().scanline >= 0 && error.context().scanline < recipe.rows);
        const TemporaryFile on_disk(cut);
        try {
          ScanlineReader by_path = ScanlineReader::from_path(on_disk.path());
          read_all(by_path, 16);
          CHECK(false);
        } catch (const Error& same) {
          CHECK(same.kind() == ErrorKind::kTruncatedJpeg);
          CHECK(same.context().path == on_disk.path());
          CHECK(same.context().scanline == error.context().scanline);
          CHECK(contains(same.what(), on_disk.path()));
        }
        if (bytes <= header) {
          continue;
        }
        ReaderOptions salvage;
        salvage.salvage = true;
        const DecodedJpeg rescued = decode(cut, salvage);
        CHECK(rescued.salvage.salvaged && !rescued.salvage.message.empty());
        CHECK(rescued.salvage.first_bad_scanline == error.context().scanline);
        CHECK(rescued.samples.size() == whole.size());
        if (progressive) {
          continue;
        }
        // A file of even noise ends where its bytes do, and the rows above are the true ones (the
        // last of them looks at the row below when chroma is interpolated).
        const double share =
            static_cast<double>(bytes - header) / static_cast<double>(file.size() - header);
        CHECK(std::abs(static_cast<double>(error.context().scanline) - share * recipe.rows) < 25);
        CHECK(error.context().scanline >= last);
        last = error.context().scanline;
        const std::ptrdiff_t sound = std::max<std::int64_t>(0, last - 1) * 600;
        CHECK(std::equal(whole.begin(), whole.begin() + sound, rescued.samples.begin()));
      }
    }
  }
}

void every_shorter_file_is_an_error() {
  for (const bool progressive : {false, true}) {
    Recipe recipe;
    recipe.progressive = progressive;
    const Bytes file = jpeg_fixtures::make(recipe);
    for (std::size_t bytes = 0; bytes < file.size(); ++bytes) {
      const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(bytes));
      const ErrorKind kind = error_of(cut).kind();
      CHECK(kind == (bytes < 2 ? ErrorKind::kInputImage : ErrorKind::kTruncatedJpeg));
    }
  }
}

void a_reader_stays_in_its_error() {
  Recipe recipe;
  recipe.rows = 200;
  recipe.columns = 200;
  Bytes file = jpeg_fixtures::make(recipe);
  file.resize(file.size() / 2);
  ScanlineReader reader = ScanlineReader::from_memory(file.data(), file.size());
  Bytes rows(16 * 600);
  int sound = 0;
  for (int i = 0; i < 30; ++i) {
    try {
      CHECK(reader.read_rows(16, rows.data(), 600) == 16);
      CHECK(sound == i);
      ++sound;
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kTruncatedJpeg);
    }
  }
  CHECK(sound >= 4 && sound <= 7);
}

void a_broken_later_scan_is_salvaged() {
  Recipe recipe;
  recipe.rows = 320;  // its first scans fill more than one input buffer
  recipe.columns = 450;
  recipe.quality = 97;
  recipe.progressive = true;
  Bytes file = jpeg_fixtures::make(recipe);
  // The Huffman table of the third scan: more codes than there is room for. libjpeg gives up.
  const std::size_t table = jpeg_fixtures::find_marker(file, 0xC4, 3);
  CHECK(table < file.size());
  for (std::size_t i = 0; i < 16; ++i) {
    file[table + 5 + i] = 255;
  }
  CHECK(error_of(file).kind() == ErrorKind::kTruncatedJpeg);
  ReaderOptions salvage;
  salvage.salvage = true;
  const TemporaryFile on_disk(file);
  ScanlineReader by_path = ScanlineReader::from_path(on_disk.path(), salvage);
  const Bytes rescued = read_all(by_path, 16);
  CHECK(rescued == decode(file, salvage).samples);
  CHECK(by_path.salvaged().salvaged && contains(by_path.salvaged().message, "scan"));
  Bytes first_scans(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(table));
  first_scans.insert(first_scans.end(), {0xFF, 0xD9});
  CHECK(rescued == jpeg_fixtures::decode(first_scans));
}

// Found by fuzzing: libjpeg takes the size of a second frame header before it refuses it.
void a_second_frame_header_changes_nothing() {
  Recipe recipe;
  recipe.rows = 60;
  recipe.progressive = true;
  Bytes file = jpeg_fixtures::make(recipe);
  Bytes other = jpeg_fixtures::with_size(file, 9, 9, true);
  const std::size_t frame = jpeg_fixtures::find_marker(other, 0xC2);
  const auto from = other.begin() + static_cast<std::ptrdiff_t>(frame);
  const std::size_t scan = jpeg_fixtures::find_marker(file, 0xDA, 2);
  file.insert(file.begin() + static_cast<std::ptrdiff_t>(scan), from, from + 19);
  const Error error = error_of(file);
  CHECK(error.kind() == ErrorKind::kTruncatedJpeg && error.context().scanline == 0);
  ReaderOptions salvage;
  salvage.salvage = true;
  const DecodedJpeg rescued = decode(file, salvage);
  CHECK(rescued.info.rows == 60 && rescued.salvage.salvaged);
  // After the last scanline of a baseline file the same header is only noise behind the picture.
  recipe.progressive = false;
  file = jpeg_fixtures::make(recipe);
  other = jpeg_fixtures::with_size(file, 9, 9, false);
  const auto baseline =
      other.begin() + static_cast<std::ptrdiff_t>(jpeg_fixtures::find_marker(other, 0xC0));
  file.insert(file.end() - 2, baseline, baseline + 19);
  CHECK(error_of(file).context().scanline == 59);
  CHECK(decode(file, salvage).salvage.first_bad_scanline == 59);
}

void what_is_not_a_jpeg_is_named() {
  const auto message = [](const std::string& text) {
    const Error error = error_of(Bytes(text.begin(), text.end()));
    CHECK(error.kind() == ErrorKind::kInputImage);
    return std::string(error.what());
  };
  CHECK(contains(message(""), "empty"));
  CHECK(contains(message("\x89PNG\r\n\x1a\n...."), "PNG"));
  CHECK(contains(message(std::string("II*\0....", 8)), "TIFF"));
  CHECK(contains(message("RIFF....WEBPVP8 "), "WebP"));
  CHECK(contains(message("hello, world"), "68 65 6c 6c 6f"));
  CHECK_THROWS(ScanlineReader::from_path("/nonexistent/capture.jpg"), ErrorKind::kIo);
  CHECK_THROWS(ScanlineReader::from_path("/tmp"), ErrorKind::kIo);
  try {
    ScanlineReader::from_path("/nonexistent/capture.jpg");
  } catch (const Error& error) {
    CHECK(error.context().code == ENOENT);
    CHECK(error.context().path == "/nonexistent/capture.jpg");
  }
  Bytes file = jpeg_fixtures::make({});
  const std::size_t frame = jpeg_fixtures::find_marker(file, 0xC0);
  Bytes twelve = file;
  twelve[frame + 4] = 12;
  CHECK(contains(error_of(twelve).what(), "8"));
  CHECK(error_of(twelve).kind() == ErrorKind::kInputImage);
  Bytes hierarchical = file;
  hierarchical[frame + 1] = 0xC5;
  CHECK(error_of(hierarchical).kind() == ErrorKind::kInputImage);
  Bytes tables(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(frame));
  tables.insert(tables.end(), {0xFF, 0xD9});
  CHECK(error_of(tables).kind() == ErrorKind::kInputImage);
  Bytes no_rows = jpeg_fixtures::with_size(file, 0, 33, false);
  CHECK(error_of(no_rows).kind() == ErrorKind::kInputImage);
}

void limits_come_before_memory() {
  const Bytes small = jpeg_fixtures::make({});
  Recipe recipe;
  recipe.progressive = true;
  const Bytes progressive = jpeg_fixtures::make(recipe);
  const auto kind = [](const Bytes& file, const ReaderOptions& options = {}) {
    return error_of(file, options).kind();
  };
  ReaderOptions salvage;
  salvage.salvage = true;
  CHECK(kind(jpeg_fixtures::with_size(small, 65'500, 65'500, false)) == ErrorKind::kInputImage);
  CHECK(kind(jpeg_fixtures::with_size(small, 65'535, 8, false)) == ErrorKind::kInputImage);
  CHECK(kind(jpeg_fixtures::with_size(small, 65'500, 65'500, false), salvage) ==
        ErrorKind::kInputImage);
  CHECK(kind(jpeg_fixtures::with_size(small, 16'000, 16'000, false)) == ErrorKind::kTruncatedJpeg);
  try {
    const Bytes huge = jpeg_fixtures::with_size(progressive, 16'000, 16'000, true);
    ScanlineReader::from_memory(huge.data(), huge.size(), salvage);
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kMemoryBudget);
    CHECK(error.context().allowed == 64 << 20);
    CHECK(error.context().wanted >= 16'000LL * 16'000 * 6);
  }
  ReaderOptions tight;
  tight.limits.max_pixels = 17 * 33 - 1;
  CHECK(kind(small, tight) == ErrorKind::kInputImage);
  tight.limits.max_pixels = 17 * 33;
  CHECK(decode(small, tight).info.rows == 17);
  tight.limits.max_dimension = 32;
  CHECK(kind(small, tight) == ErrorKind::kInputImage);
  tight = {};
  const std::int64_t needed = decode(progressive).info.decoder_bytes;
  tight.limits.max_memory_bytes = needed - 1;
  CHECK(kind(progressive, tight) == ErrorKind::kMemoryBudget);
  tight.limits.max_memory_bytes = needed;
  CHECK(decode(progressive, tight).samples == jpeg_fixtures::decode(progressive));
}

void scan_bombs_end_early() {
  Recipe recipe;
  recipe.stored = JCS_GRAYSCALE;
  const auto add = [&](int first, int last, int high, int low) {
    jpeg_scan_info scan{};
    scan.comps_in_scan = 1;
    scan.Ss = first;
    scan.Se = last;
    scan.Ah = high;
    scan.Al = low;
    recipe.scans.push_back(scan);
  };
  add(0, 0, 0, 0);
  for (int k = 1; k < 64; ++k) {
    add(k, k, 0, 3);
    for (int low = 2; low >= 0; --low) {
      add(k, k, low + 1, low);
    }
  }
  const Bytes file = jpeg_fixtures::make(recipe);
  ReaderOptions options;
  CHECK(error_of(file, options).kind() == ErrorKind::kInputImage);
  CHECK(contains(error_of(file, options).what(), "200 scans"));
  options.salvage = true;
  CHECK(error_of(file, options).kind() == ErrorKind::kInputImage);
  options.salvage = false;
  options.limits.max_scans = 253;
  CHECK(decode(file, options).samples == jpeg_fixtures::decode(file));
}

void flipped_bits_never_do_worse_than_an_error() {
  std::vector<Bytes> files;
  for (const J_COLOR_SPACE stored : {JCS_GRAYSCALE, JCS_YCbCr, JCS_CMYK, JCS_YCCK}) {
    for (int variant = 0; variant < 4; ++variant) {
      Recipe recipe;
      recipe.stored = stored;
      recipe.horizontal = 2;
      recipe.vertical = 1 + (variant & 1);
      recipe.progressive = variant >= 2;
      recipe.restart_rows = variant & 1;
      recipe.segments = {{kMarkerApp1, Bytes(40, 'e')}, {kMarkerComment, Bytes(9, 'c')}};
      files.push_back(jpeg_fixtures::make(recipe));
    }
  }
  std::mt19937 random(20260101);
  int errors = 0;
  int pictures = 0;
  for (int i = 0; i < 2000; ++i) {
    Bytes file = files[random() % files.size()];
    const unsigned flips = 1U + random() % 8U;
    for (unsigned f = 0; f < flips; ++f) {
      file[random() % file.size()] ^= static_cast<std::uint8_t>(1U << (random() % 8U));
    }
    ReaderOptions options;
    options.salvage = i % 2 == 1;
    options.limits.max_pixels = 1 << 20;
    options.limits.max_memory_bytes = 8 << 20;
    try {
      const DecodedJpeg decoded = decode(file, options);
      CHECK(decoded.samples.size() ==
            static_cast<std::size_t>(decoded.info.rows) *
                static_cast<std::size_t>(decoded.info.columns * decoded.info.bands));
      CHECK(options.salvage || !decoded.salvage.salvaged);
      ++pictures;
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kInputImage || error.kind() == ErrorKind::kTruncatedJpeg ||
            error.kind() == ErrorKind::kMemoryBudget);
      CHECK(std::strlen(error.what()) > 0);
      ++errors;
    }
  }
  CHECK(errors > 500 && pictures > 500);
}

}  // namespace

int main() {
  const int before = open_descriptors();
  truncated_files_name_the_scanline();
  every_shorter_file_is_an_error();
  a_reader_stays_in_its_error();
  a_broken_later_scan_is_salvaged();
  a_second_frame_header_changes_nothing();
  what_is_not_a_jpeg_is_named();
  limits_come_before_memory();
  scan_bombs_end_early();
  flipped_bits_never_do_worse_than_an_error();
  CHECK(open_descriptors() == before);
  return 0;
}
