// The JPEG reader against libjpeg used directly.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if __GLIBC_PREREQ(2, 33)
#include <malloc.h>
#define COUNTS_ALLOCATIONS
#endif
#endif

#include "base/error.h"
#include "check.h"
#include "jpeg/codec.h"
#include "jpeg_fixtures.h"
#include "jpeg_helpers.h"

using namespace imagine_deblur;
using namespace jpeg_helpers;
using jpeg_fixtures::Recipe;

namespace {

// R = C K / 255 on samples where 255 is no ink, in floating point.
Bytes cmyk_reference(const Bytes& cmyk, bool inverted) {
  Bytes rgb;
  for (std::size_t i = 0; i < cmyk.size(); i += 4) {
    for (std::size_t b = 0; b < 3; ++b) {
      const double light = inverted ? cmyk[i + b] : 255.0 - cmyk[i + b];
      const double key = inverted ? cmyk[i + 3] : 255.0 - cmyk[i + 3];
      rgb.push_back(static_cast<std::uint8_t>(std::lround(light * key / 255.0)));
    }
  }
  return rgb;
}

void every_kind_of_file_is_read_like_libjpeg_reads_it() {
  const std::pair<int, int> sizes[] = {{1, 1}, {3, 8}, {17, 33}, {65, 15}};
  const struct {
    int horizontal;
    int vertical;
    const char* name;
  } samplings[] = {
      {1, 1, "4:4:4"}, {2, 1, "4:2:2"}, {2, 2, "4:2:0"}, {1, 2, "4:4:0"}, {4, 1, "4:1:1"}};
  const std::pair<J_COLOR_SPACE, JpegColour> colours[] = {{JCS_GRAYSCALE, JpegColour::kGrey},
                                                          {JCS_RGB, JpegColour::kRgb},
                                                          {JCS_YCbCr, JpegColour::kYcbcr},
                                                          {JCS_CMYK, JpegColour::kCmyk},
                                                          {JCS_YCCK, JpegColour::kYcck}};
  for (const auto& [rows, columns] : sizes) {
    for (const auto& sampling : samplings) {
      for (const auto& [stored, colour] : colours) {
        for (int variant = 0; variant < 8; ++variant) {
          Recipe recipe;
          recipe.rows = rows;
          recipe.columns = columns;
          recipe.stored = stored;
          recipe.horizontal = sampling.horizontal;
          recipe.vertical = sampling.vertical;
          recipe.progressive = (variant & 1) != 0;
          recipe.restart_rows = (variant & 2) != 0 ? 1 : 0;
          recipe.adobe_marker = (variant & 4) == 0 || stored == JCS_YCCK;
          const Bytes file = jpeg_fixtures::make(recipe);
          Bytes expected = jpeg_fixtures::decode(file);
          if (jpeg_fixtures::bands_in(recipe) == 4) {
            expected = cmyk_reference(expected, recipe.adobe_marker);
          }
          ScanlineReader reader = ScanlineReader::from_memory(file.data(), file.size());
          const JpegInfo& info = reader.info();
          CHECK(info.rows == rows && info.columns == columns);
          CHECK(info.colour == colour);
          CHECK(info.bands == (stored == JCS_GRAYSCALE ? 1 : 3));
          CHECK(info.progressive == recipe.progressive);
          CHECK((info.restart_interval > 0) == (recipe.restart_rows > 0));
          CHECK(info.subsampling == (stored == JCS_GRAYSCALE ? "4:0:0" : sampling.name));
          CHECK(info.estimated_quality == 90 && info.quality_exact);
          CHECK(read_all(reader, 1 + variant) == expected);
          CHECK(!reader.salvaged().salvaged);
          CHECK(decode(file).samples == expected);
        }
      }
    }
  }
}

void non_interleaved_scans_are_read() {
  Recipe recipe;
  for (int component = 0; component < 3; ++component) {
    jpeg_scan_info scan{};
    scan.comps_in_scan = 1;
    scan.component_index[0] = component;
    scan.Se = 63;
    recipe.scans.push_back(scan);
  }
  const Bytes file = jpeg_fixtures::make(recipe);
  const DecodedJpeg decoded = decode(file);
  CHECK(decoded.info.multiple_scans && !decoded.info.progressive);
  CHECK(decoded.samples == jpeg_fixtures::decode(file));
}

void arithmetic_coding_is_read_or_refused() {
#ifdef C_ARITH_CODING_SUPPORTED
  for (const bool progressive : {false, true}) {
    Recipe recipe;
    recipe.arithmetic = true;
    recipe.progressive = progressive;
    const Bytes file = jpeg_fixtures::make(recipe);
#ifdef D_ARITH_CODING_SUPPORTED
    const DecodedJpeg decoded = decode(file);
    CHECK(decoded.info.arithmetic);
    CHECK(decoded.samples == jpeg_fixtures::decode(file));
#else
    CHECK(error_of(file).kind() == ErrorKind::kInputImage);
#endif
  }
#endif
}

// What the header promises about libjpeg's memory, against what the allocator hands out.
void memory_stays_below_the_estimate() {
#ifdef COUNTS_ALLOCATIONS
  const auto in_use = [] {
    const struct mallinfo2 counts = ::mallinfo2();
    return static_cast<std::int64_t>(counts.uordblks + counts.hblkhd);
  };
  constexpr std::int64_t kOwnBuffer = 64 << 10;
  constexpr std::int64_t kOwnState = 16 << 10;  // reader, metadata, tables
  for (const auto& [rows, columns] : {std::pair{17, 33}, {700, 1100}, {16, 6000}}) {
    for (const auto& [horizontal, vertical] : {std::pair{1, 1}, {2, 1}, {2, 2}, {1, 2}}) {
      for (const J_COLOR_SPACE stored : {JCS_GRAYSCALE, JCS_YCbCr, JCS_YCCK}) {
        for (const bool progressive : {false, true}) {
          Recipe recipe;
          recipe.rows = rows;
          recipe.columns = columns;
          recipe.stored = stored;
          recipe.horizontal = horizontal;
          recipe.vertical = vertical;
          recipe.progressive = progressive;
          const Bytes file = jpeg_fixtures::make(recipe);
          const int bands = stored == JCS_GRAYSCALE ? 1 : 3;
          Bytes row(static_cast<std::size_t>(columns * bands));
          std::int64_t before = in_use();
          ScanlineReader reader = ScanlineReader::from_memory(file.data(), file.size());
          reader.read_rows(rows / 2, row.data(), 0);
          CHECK(in_use() - before <= reader.info().decoder_bytes + 4 * columns + kOwnState);
          if (stored == JCS_YCCK || vertical > horizontal) {
            continue;  // not written
          }
          Bytes out;
          out.reserve(file.size() + (1 << 20));
          WriterOptions options;
          options.progressive = progressive;
          options.subsampling = horizontal == 1 ? Subsampling::k444
                                : vertical == 1 ? Subsampling::k422
                                                : Subsampling::k420;
          before = in_use();
          ScanlineWriter writer = ScanlineWriter::to_memory(out, rows, columns, bands, options);
          writer.write_rows(rows, row.data(), 0);
          CHECK(in_use() - before <= writer.encoder_bytes() + kOwnBuffer + kOwnState);
          CHECK(in_use() - before > 0);
        }
      }
    }
  }
#endif
}

void inks_become_light() {
  // Adobe's way: 255 is no ink. Half cyan, no magenta, full yellow, no black.
  Recipe recipe;
  recipe.rows = 8;
  recipe.columns = 8;
  recipe.stored = JCS_CMYK;
  recipe.quality = 100;
  Bytes inks;
  for (int i = 0; i < 64; ++i) {
    inks.insert(inks.end(), {128, 255, 0, 255});
  }
  const Bytes adobe = decode(jpeg_fixtures::encode(recipe, inks)).samples;
  CHECK(std::abs(adobe[0] - 128) <= 1 && adobe[1] >= 254 && adobe[2] <= 1);
  recipe.adobe_marker = false;  // then the same samples are ink: full magenta, full black
  const Bytes plain = decode(jpeg_fixtures::encode(recipe, inks)).samples;
  CHECK(plain[0] <= 1 && plain[1] <= 1 && plain[2] <= 1);
}

void quality_and_tables_are_found() {
  for (int quality = 1; quality <= 100; ++quality) {
    Recipe recipe;
    recipe.quality = quality;
    const Bytes file = jpeg_fixtures::make(recipe);
    const ScanlineReader reader = ScanlineReader::from_memory(file.data(), file.size());
    CHECK(reader.info().estimated_quality == quality && reader.info().quality_exact);
    CHECK(reader.info().quantisation.size() == 3);
    const int percent = quality < 50 ? 5000 / quality : 200 - 2 * quality;
    // Natural order: row 1, column 0 is 12 in the luminance example table, row 0, column 1 is 11.
    const QuantisationTable& luma = reader.info().quantisation[0];
    CHECK(luma[8] == std::clamp((12 * percent + 50) / 100, 1, 255));
    CHECK(luma[1] == std::clamp((11 * percent + 50) / 100, 1, 255));
  }
}

void files_and_pipes_read_like_memory() {
  const int before = open_descriptors();
  Recipe recipe;
  recipe.rows = 300;  // longer than one input buffer
  recipe.columns = 400;
  recipe.quality = 97;
  for (const bool progressive : {false, true}) {
    recipe.progressive = progressive;
    const Bytes file = jpeg_fixtures::make(recipe);
    CHECK(file.size() > (128U << 10));
    const Bytes expected = jpeg_fixtures::decode(file);
    const TemporaryFile on_disk(file);
    ScanlineReader by_path = ScanlineReader::from_path(on_disk.path());
    CHECK(read_all(by_path, 16) == expected);
    int ends[2];
    CHECK(::pipe(ends) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
      std::size_t sent = 0;
      while (sent < file.size()) {  // in pieces that split markers
        const ssize_t put =
            ::write(ends[1], file.data() + sent, std::min<std::size_t>(file.size() - sent, 1001));
        if (put <= 0) {
          ::_exit(1);
        }
        sent += static_cast<std::size_t>(put);
      }
      ::_exit(0);
    }
    ::close(ends[1]);
    ScanlineReader by_descriptor = ScanlineReader::from_descriptor(ends[0]);
    CHECK(read_all(by_descriptor, 7) == expected);
    ::close(ends[0]);
  }
  CHECK(open_descriptors() == before);
}

}  // namespace

int main() {
  const int before = open_descriptors();
  every_kind_of_file_is_read_like_libjpeg_reads_it();
  non_interleaved_scans_are_read();
  arithmetic_coding_is_read_or_refused();
  memory_stays_below_the_estimate();
  inks_become_light();
  quality_and_tables_are_found();
  files_and_pipes_read_like_memory();
  CHECK(open_descriptors() == before);
  return 0;
}
