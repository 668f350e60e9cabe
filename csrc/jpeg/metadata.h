// What a JPEG carries beside its pixels: EXIF, XMP, ICC, IPTC, other application segments and
// comments, as an ordered list of raw segments. Nothing is parsed or rewritten: the writer puts the
// same bytes in the same order into the new file.
//
// Left out on purpose: APP0 (JFIF, written anew with the density kept here; a JFXX thumbnail would
// show the unrestored picture), APP14 (Adobe, describes the colour transform of the encoded data)
// and the APP2 "MPF" index (byte offsets of further pictures that the new file does not hold).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace imagine_deblur {

inline constexpr int kMarkerApp0 = 0xE0;
inline constexpr int kMarkerApp1 = 0xE1;
inline constexpr int kMarkerApp2 = 0xE2;
inline constexpr int kMarkerApp13 = 0xED;
inline constexpr int kMarkerApp14 = 0xEE;
inline constexpr int kMarkerApp15 = 0xEF;
inline constexpr int kMarkerComment = 0xFE;
inline constexpr std::size_t kMaxSegmentBytes = 65'533;  // a segment's 16-bit length counts itself

// One segment without its marker code and length.
struct MetadataSegment {
  int marker = 0;
  std::vector<std::byte> payload;

  friend bool operator==(const MetadataSegment&, const MetadataSegment&) = default;
};

// The JFIF density: unit 0 is an aspect ratio, 1 dots per inch, 2 dots per centimetre.
struct Density {
  int unit = 0;
  int x = 1;
  int y = 1;

  friend bool operator==(const Density&, const Density&) = default;
};

struct Metadata {
  std::vector<MetadataSegment> segments;
  Density density;

  friend bool operator==(const Metadata&, const Metadata&) = default;
};

bool is_exif(const MetadataSegment& segment) noexcept;
bool is_xmp(const MetadataSegment& segment) noexcept;  // the main packet, not an extension
bool is_icc(const MetadataSegment& segment) noexcept;  // one chunk of a profile
bool is_multi_picture(const MetadataSegment& segment) noexcept;  // APP2 "MPF"

bool has_xmp(const Metadata& metadata) noexcept;

// The ICC profile put together from its chunks; empty where there is none or a chunk is missing.
std::vector<std::byte> icc_profile(const Metadata& metadata);

// Removes every ICC chunk; true when there was one.
bool remove_icc(Metadata& metadata);

// Appends a COM segment. Error kOptions when `text` is longer than a segment.
void add_comment(Metadata& metadata, std::string_view text);

// Says in the file what was done to it. A file without XMP gets `xmp` (a whole packet) after its
// leading APP1 segments; a file that has XMP keeps it untouched and gets `comment` as COM. Returns
// true when the packet was added. Error kOptions when either is longer than a segment.
bool add_provenance(Metadata& metadata, std::string_view xmp, std::string_view comment);

}  // namespace imagine_deblur
