#include "jpeg/metadata.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>

#include "base/error.h"

namespace imagine_deblur {
namespace {

using namespace std::string_view_literals;

// Each name ends in its zero byte, which belongs to it.
constexpr std::string_view kExifName = "Exif\0"sv;
constexpr std::string_view kXmpName = "http://ns.adobe.com/xap/1.0/\0"sv;
constexpr std::string_view kIccName = "ICC_PROFILE\0"sv;
constexpr std::string_view kMpfName = "MPF\0"sv;
constexpr std::size_t kIccHeaderBytes = 14;  // the name, chunk number from 1, number of chunks

bool starts_with(const MetadataSegment& segment, int marker, std::string_view name) noexcept {
  return segment.marker == marker && segment.payload.size() >= name.size() &&
         std::memcmp(segment.payload.data(), name.data(), name.size()) == 0;
}

void append(std::vector<std::byte>& to, std::string_view text) {
  std::transform(text.begin(), text.end(), std::back_inserter(to),
                 [](char c) { return static_cast<std::byte>(c); });
}

void check_length(std::string_view field, std::size_t bytes) {
  if (bytes > kMaxSegmentBytes) {
    ErrorContext context;
    context.field = field;
    throw Error(ErrorKind::kOptions,
                std::string(field) + " has " + std::to_string(bytes) +
                    " bytes, a JPEG segment holds at most " + std::to_string(kMaxSegmentBytes) +
                    ": shorten it",
                context);
  }
}

}  // namespace

bool is_exif(const MetadataSegment& segment) noexcept {
  return starts_with(segment, kMarkerApp1, kExifName);
}

bool is_xmp(const MetadataSegment& segment) noexcept {
  return starts_with(segment, kMarkerApp1, kXmpName);
}

bool is_icc(const MetadataSegment& segment) noexcept {
  return starts_with(segment, kMarkerApp2, kIccName) && segment.payload.size() >= kIccHeaderBytes;
}

bool is_multi_picture(const MetadataSegment& segment) noexcept {
  return starts_with(segment, kMarkerApp2, kMpfName);
}

bool has_xmp(const Metadata& metadata) noexcept {
  return std::any_of(metadata.segments.begin(), metadata.segments.end(), is_xmp);
}

std::vector<std::byte> icc_profile(const Metadata& metadata) {
  std::vector<const MetadataSegment*> chunks;  // by chunk number, from 0
  std::size_t found = 0;
  for (const MetadataSegment& segment : metadata.segments) {
    if (!is_icc(segment)) {
      continue;
    }
    const auto number = std::to_integer<std::size_t>(segment.payload[kIccName.size()]);
    const auto count = std::to_integer<std::size_t>(segment.payload[kIccName.size() + 1]);
    if (chunks.empty()) {
      chunks.resize(count, nullptr);
    }
    if (count != chunks.size() || number < 1 || number > count || chunks[number - 1] != nullptr) {
      return {};
    }
    chunks[number - 1] = &segment;
    ++found;
  }
  std::vector<std::byte> profile;
  if (found != chunks.size()) {
    return profile;
  }
  for (const MetadataSegment* chunk : chunks) {
    profile.insert(profile.end(), chunk->payload.begin() + kIccHeaderBytes, chunk->payload.end());
  }
  return profile;
}

bool remove_icc(Metadata& metadata) { return std::erase_if(metadata.segments, is_icc) > 0; }

void add_comment(Metadata& metadata, std::string_view text) {
  check_length("comment", text.size());
  MetadataSegment segment{kMarkerComment, {}};
  append(segment.payload, text);
  metadata.segments.push_back(std::move(segment));
}

bool add_provenance(Metadata& metadata, std::string_view xmp, std::string_view comment) {
  check_length("xmp", kXmpName.size() + xmp.size());
  check_length("comment", comment.size());
  if (has_xmp(metadata)) {
    add_comment(metadata, comment);
    return false;
  }
  MetadataSegment segment{kMarkerApp1, {}};
  append(segment.payload, kXmpName);
  append(segment.payload, xmp);
  const auto place = std::find_if(metadata.segments.begin(), metadata.segments.end(),
                                  [](const MetadataSegment& s) { return s.marker != kMarkerApp1; });
  metadata.segments.insert(place, std::move(segment));
  return true;
}

}  // namespace imagine_deblur
