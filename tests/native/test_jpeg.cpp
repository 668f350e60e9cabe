// The JPEG reader and writer against libjpeg used directly, damaged files, limits and scarcity.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

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

using namespace imagine_deblur;
using jpeg_fixtures::Bytes;
using jpeg_fixtures::Recipe;

namespace {

int open_descriptors() {
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

Bytes read_all(ScanlineReader& reader, int rows_at_a_time) {
  const std::size_t row_bytes = static_cast<std::size_t>(reader.info().columns) *
                                static_cast<std::size_t>(reader.info().bands);
  Bytes samples(row_bytes * static_cast<std::size_t>(reader.info().rows));
  int row = 0;
  for (;;) {
    const int got = reader.read_rows(rows_at_a_time,
                                     samples.data() + static_cast<std::size_t>(row) * row_bytes,
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

DecodedJpeg decode(const Bytes& file, const ReaderOptions& options = {}) {
  return decode_jpeg(file.data(), file.size(), options);
}

Error error_of(const Bytes& file, const ReaderOptions& options = {}) {
  try {
    decode(file, options);
  } catch (const Error& error) {
    return error;
  }
  std::fprintf(stderr, "no error where one was due\n");
  std::exit(1);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

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
  } samplings[] = {{1, 1, "4:4:4"}, {2, 1, "4:2:2"}, {2, 2, "4:2:0"},
                   {1, 2, "4:4:0"}, {4, 1, "4:1:1"}};
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
        const ssize_t put = ::write(ends[1], file.data() + sent,
                                    std::min<std::size_t>(file.size() - sent, 1001));
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

Metadata full_metadata() {
  const auto segment = [](int marker, const std::string& name, std::size_t bytes, unsigned seed) {
    std::mt19937 random(seed);
    MetadataSegment made{marker, {}};
    for (const char c : name) {
      made.payload.push_back(static_cast<std::byte>(c));
    }
    while (made.payload.size() < bytes) {
      made.payload.push_back(static_cast<std::byte>(random() & 255U));
    }
    return made;
  };
  using std::string;
  Metadata metadata;
  metadata.density = {1, 300, 301};
  metadata.segments.push_back(segment(kMarkerComment, "first of all", 12, 1));
  metadata.segments.push_back(segment(kMarkerApp1, string("Exif\0\0II*\0", 10), 4000, 2));
  metadata.segments.push_back(
      segment(kMarkerApp1, string("http://ns.adobe.com/xap/1.0/\0<x/>", 33), 2000, 3));
  metadata.segments.push_back(
      segment(kMarkerApp1, string("http://ns.adobe.com/xmp/extension/\0", 35), 65'533, 4));
  metadata.segments.push_back(
      segment(kMarkerApp2, string("ICC_PROFILE\0\1\3", 14), 65'533, 5));
  metadata.segments.push_back(
      segment(kMarkerApp2, string("ICC_PROFILE\0\2\3", 14), 65'533, 6));
  metadata.segments.push_back(segment(kMarkerApp2, string("ICC_PROFILE\0\3\3", 14), 1234, 7));
  metadata.segments.push_back(segment(kMarkerApp13, string("Photoshop 3.0\0", 14), 700, 8));
  metadata.segments.push_back(segment(0xE5, "maker", 99, 9));
  metadata.segments.push_back(segment(kMarkerApp15, "", 0, 10));
  metadata.segments.push_back(segment(kMarkerComment, "last", 4, 11));
  return metadata;
}

void metadata_comes_through_byte_for_byte() {
  const Metadata given = full_metadata();
  const Bytes samples = jpeg_fixtures::scene(17, 33, 3);
  WriterOptions options;
  options.metadata = given;
  const Bytes once = encode_jpeg(samples.data(), 17, 33, 3, 99, options);
  const DecodedJpeg decoded = decode(once);
  CHECK(decoded.metadata == given);
  options.metadata = decoded.metadata;
  CHECK(encode_jpeg(samples.data(), 17, 33, 3, 99, options) == once);

  // The same through libjpeg's own writer, and through a file.
  Recipe recipe;
  recipe.density_unit = 1;
  recipe.density_x = 300;
  recipe.density_y = 301;
  for (const MetadataSegment& segment : given.segments) {
    Bytes payload(segment.payload.size());
    if (!payload.empty()) {
      std::memcpy(payload.data(), segment.payload.data(), payload.size());
    }
    recipe.segments.emplace_back(segment.marker, payload);
  }
  const TemporaryFile on_disk(jpeg_fixtures::make(recipe));
  CHECK(ScanlineReader::from_path(on_disk.path()).metadata() == given);

  const std::vector<std::byte> profile = icc_profile(given);
  CHECK(profile.size() == 65'519U + 65'519U + 1220U);
  CHECK(std::equal(profile.begin(), profile.begin() + 100,
                   given.segments[4].payload.begin() + 14));
  Metadata broken = given;
  broken.segments.erase(broken.segments.begin() + 5);
  CHECK(icc_profile(broken).empty());
  CHECK(remove_icc(broken) && broken.segments.size() == given.segments.size() - 3);

  ReaderOptions strict;
  strict.limits.max_metadata_bytes = 100'000;
  CHECK(error_of(once, strict).kind() == ErrorKind::kInputImage);
}

void some_segments_are_left_out() {
  Recipe recipe;
  recipe.segments = {{kMarkerApp0, {'J', 'F', 'X', 'X', 0, 16}},
                     {kMarkerApp2, {'M', 'P', 'F', 0, 1, 2, 3}},
                     {kMarkerApp2, {'m', 'i', 'n', 'e'}}};
  const DecodedJpeg decoded = decode(jpeg_fixtures::make(recipe));
  CHECK(decoded.metadata.segments.size() == 1);
  CHECK(decoded.metadata.segments[0].payload.size() == 4);

  // A density in a unit that JFIF does not know could not be written again.
  recipe.density_unit = 9;
  CHECK(decode(jpeg_fixtures::make(recipe)).metadata.density == Density{});

  // A profile for inks does not describe the RGB that comes out; a profile for RGB would stay.
  Bytes profile{'I', 'C', 'C', '_', 'P', 'R', 'O', 'F', 'I', 'L', 'E', 0, 1, 1};
  profile.resize(14 + 128);
  std::memcpy(profile.data() + 14 + 16, "CMYK", 4);
  recipe.stored = JCS_CMYK;
  recipe.segments = {{kMarkerApp2, profile}};
  const DecodedJpeg inks = decode(jpeg_fixtures::make(recipe));
  CHECK(inks.info.icc_dropped && inks.metadata.segments.empty());
  recipe.stored = JCS_YCbCr;
  std::memcpy(profile.data() + 14 + 16, "RGB ", 4);
  recipe.segments = {{kMarkerApp2, profile}};
  const DecodedJpeg light = decode(jpeg_fixtures::make(recipe));
  CHECK(!light.info.icc_dropped && light.metadata.segments.size() == 1);
}

void provenance_leaves_an_existing_packet_alone() {
  Metadata metadata = full_metadata();
  const Metadata before = metadata;
  CHECK(!add_provenance(metadata, "<packet/>", "restored"));
  CHECK(metadata.segments.size() == before.segments.size() + 1);
  CHECK(metadata.segments.back().marker == kMarkerComment);
  metadata.segments.pop_back();
  CHECK(metadata == before);

  Metadata bare;
  bare.segments.push_back(before.segments[1]);  // EXIF
  bare.segments.push_back(before.segments[7]);  // IPTC
  CHECK(add_provenance(bare, "<packet/>", "restored"));
  CHECK(bare.segments.size() == 3 && is_exif(bare.segments[0]) && is_xmp(bare.segments[1]));
  const std::string too_long(kMaxSegmentBytes + 1, 'x');
  CHECK_THROWS(add_comment(bare, too_long), ErrorKind::kOptions);
  CHECK_THROWS(add_provenance(bare, too_long, ""), ErrorKind::kOptions);
}

void the_writer_writes_what_libjpeg_writes() {
  for (const auto& [rows, columns] : {std::pair{1, 1}, {3, 8}, {17, 33}, {65, 15}, {200, 301}}) {
    for (const int bands : {1, 3}) {
      for (const Subsampling subsampling :
           {Subsampling::k444, Subsampling::k422, Subsampling::k420}) {
        for (int variant = 0; variant < 8; ++variant) {
          Recipe recipe;
          recipe.rows = rows;
          recipe.columns = columns;
          recipe.stored = bands == 1 ? JCS_GRAYSCALE : JCS_YCbCr;
          recipe.horizontal = bands == 1 || subsampling == Subsampling::k444 ? 1 : 2;
          recipe.vertical = bands == 3 && subsampling == Subsampling::k420 ? 2 : 1;
          recipe.quality = 40 + 7 * variant;
          recipe.progressive = (variant & 1) != 0;
          recipe.optimise = (variant & 2) != 0;
          recipe.restart_rows = (variant & 4) != 0 ? 2 : 0;
          WriterOptions options;
          options.quality = recipe.quality;
          options.subsampling = subsampling;
          options.progressive = recipe.progressive;
          options.optimise = recipe.optimise;
          options.restart_rows = recipe.restart_rows;
          const Bytes samples = jpeg_fixtures::scene(rows, columns, bands);
          const Bytes expected = jpeg_fixtures::encode(recipe, samples);
          const std::ptrdiff_t row_bytes = static_cast<std::ptrdiff_t>(columns) * bands;
          CHECK(encode_jpeg(samples.data(), rows, columns, bands, row_bytes, options) == expected);

          // In pieces, from rows that lie apart, to a file.
          const TemporaryFile target({});
          const int descriptor = ::open(target.path().c_str(), O_RDWR | O_CLOEXEC);
          Bytes apart(static_cast<std::size_t>(rows) *
                      (static_cast<std::size_t>(row_bytes) + 5));
          for (int r = 0; r < rows; ++r) {
            std::copy_n(samples.data() + r * row_bytes, row_bytes,
                        apart.data() + r * (row_bytes + 5));
          }
          ScanlineWriter writer =
              ScanlineWriter::to_descriptor(descriptor, rows, columns, bands, options);
          for (int r = 0; r < rows; r += 7) {
            writer.write_rows(std::min(7, rows - r), apart.data() + r * (row_bytes + 5),
                              row_bytes + 5);
          }
          writer.finish();
          CHECK(writer.bytes_written() == static_cast<std::int64_t>(expected.size()));
          Bytes written(expected.size() + 1);
          CHECK(::pread(descriptor, written.data(), written.size(), 0) ==
                static_cast<ssize_t>(expected.size()));
          written.pop_back();
          CHECK(written == expected);
          ::close(descriptor);
        }
      }
    }
  }
}

void the_writer_refuses_what_it_cannot_do() {
  Bytes out;
  const Bytes row(300, 90);
  const auto open = [&](int rows, int columns, int bands, const WriterOptions& options) {
    return ScanlineWriter::to_memory(out, rows, columns, bands, options);
  };
  WriterOptions options;
  CHECK_THROWS(open(0, 1, 1, options), ErrorKind::kOptions);
  CHECK_THROWS(open(1, 65'501, 1, options), ErrorKind::kOptions);
  CHECK_THROWS(open(1, 1, 4, options), ErrorKind::kOptions);
  options.quality = 0;
  CHECK_THROWS(open(1, 1, 1, options), ErrorKind::kOptions);
  options.quality = 101;
  CHECK_THROWS(open(1, 1, 1, options), ErrorKind::kOptions);
  options = {};
  options.restart_rows = -1;
  CHECK_THROWS(open(1, 1, 1, options), ErrorKind::kOptions);
  options = {};
  options.metadata.segments.push_back({kMarkerApp14, {}});
  CHECK_THROWS(open(1, 1, 1, options), ErrorKind::kOptions);
  options = {};
  options.progressive = true;
  CHECK_THROWS(open(10'000, 10'000, 3, options), ErrorKind::kMemoryBudget);
  options = {};
  options.max_output_bytes = 300;
  ScanlineWriter limited = open(2, 100, 3, options);
  limited.write_rows(2, row.data(), 0);
  CHECK_THROWS(limited.finish(), ErrorKind::kMemoryBudget);
  CHECK_THROWS(limited.finish(), ErrorKind::kMemoryBudget);
  options = {};
  ScanlineWriter short_of_rows = open(2, 100, 3, options);
  short_of_rows.write_rows(1, row.data(), 300);
  CHECK_THROWS(short_of_rows.finish(), ErrorKind::kOptions);
  CHECK_THROWS(short_of_rows.write_rows(2, row.data(), 0), ErrorKind::kOptions);
}

void a_full_disk_is_an_error_with_its_number() {
  const int before = open_descriptors();
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  if (full < 0) {
    std::fprintf(stderr, "no /dev/full here: not checked\n");
    return;
  }
  const Bytes samples = jpeg_fixtures::scene(400, 400, 3);
  WriterOptions options;
  options.quality = 98;
  int errors = 0;
  {
    ScanlineWriter writer = ScanlineWriter::to_descriptor(full, 400, 400, 3, options, "target");
    try {
      writer.write_rows(400, samples.data(), 1200);
      writer.finish();
    } catch (const Error& error) {
      ++errors;
      CHECK(error.kind() == ErrorKind::kIo && error.context().code == ENOSPC);
      CHECK(error.context().path == "target");
    }
    CHECK_THROWS(writer.write_rows(1, samples.data(), 1200), ErrorKind::kIo);
    CHECK_THROWS(writer.finish(), ErrorKind::kIo);
  }
  CHECK(errors == 1);
  ::close(full);
  CHECK(open_descriptors() == before);
}

void an_abandoned_file_has_no_end_marker() {
  const Bytes samples = jpeg_fixtures::scene(400, 400, 3);
  Bytes out;
  {
    ScanlineWriter writer = ScanlineWriter::to_memory(out, 401, 400, 3, {});
    writer.write_rows(400, samples.data(), 1200);
  }
  CHECK(out.size() >= 2 && out.size() % (64U << 10) == 0);  // whole buffers, nothing flushed
  CHECK(!(out[out.size() - 2] == 0xFF && out[out.size() - 1] == 0xD9));
  CHECK(error_of(out).kind() == ErrorKind::kTruncatedJpeg);
}

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
        const double share = static_cast<double>(bytes - header) /
                             static_cast<double>(file.size() - header);
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
  const auto baseline = other.begin() +
                        static_cast<std::ptrdiff_t>(jpeg_fixtures::find_marker(other, 0xC0));
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
  CHECK(kind(jpeg_fixtures::with_size(small, 16'000, 16'000, false)) ==
        ErrorKind::kTruncatedJpeg);
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
  every_kind_of_file_is_read_like_libjpeg_reads_it();
  non_interleaved_scans_are_read();
  arithmetic_coding_is_read_or_refused();
  memory_stays_below_the_estimate();
  inks_become_light();
  quality_and_tables_are_found();
  files_and_pipes_read_like_memory();
  metadata_comes_through_byte_for_byte();
  some_segments_are_left_out();
  provenance_leaves_an_existing_packet_alone();
  the_writer_writes_what_libjpeg_writes();
  the_writer_refuses_what_it_cannot_do();
  a_full_disk_is_an_error_with_its_number();
  an_abandoned_file_has_no_end_marker();
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
