// Metadata of a JPEG: carried byte for byte, left out, or added to.
#include <algorithm>
#include <cstddef>
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
  metadata.segments.push_back(segment(kMarkerApp2, string("ICC_PROFILE\0\1\3", 14), 65'533, 5));
  metadata.segments.push_back(segment(kMarkerApp2, string("ICC_PROFILE\0\2\3", 14), 65'533, 6));
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
  CHECK(std::equal(profile.begin(), profile.begin() + 100, given.segments[4].payload.begin() + 14));
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

}  // namespace

int main() {
  const int before = open_descriptors();
  metadata_comes_through_byte_for_byte();
  some_segments_are_left_out();
  provenance_leaves_an_existing_packet_alone();
  CHECK(open_descriptors() == before);
  return 0;
}
