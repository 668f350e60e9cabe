#include "jpeg/signature.h"

#include <cstdio>
#include <cstring>
#include <string_view>

namespace imagine_deblur {
namespace {

using namespace std::string_view_literals;

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  const char* name;
};

constexpr Signature kSignatures[] = {
    {0, "\x89PNG\r\n\x1a\n"sv, "a PNG picture"},
    {0, "GIF8"sv, "a GIF picture"},
    {0, "II*\0"sv, "a TIFF picture"},
    {0, "MM\0*"sv, "a TIFF picture"},
    {0, "II+\0"sv, "a BigTIFF picture"},
    {0, "MM\0+"sv, "a BigTIFF picture"},
    {8, "WEBP"sv, "a WebP picture"},
    {0, "\0\0\0\x0cjP  "sv, "a JPEG 2000 picture"},
    {0, "\xff\x4f\xff\x51"sv, "a JPEG 2000 codestream"},
    {0, "\0\0\0\x0cJXL "sv, "a JPEG XL picture"},
    {0, "\xff\x0a"sv, "a JPEG XL codestream"},
    {4, "ftyp"sv, "an ISO media file (HEIF, AVIF or video)"},
    {0, "\x89HDF"sv, "an HDF5 file"},
    {0, "%PDF"sv, "a PDF document"},
    {0, "PK\x03\x04"sv, "a ZIP archive"},
    {0, "\x1f\x8b"sv, "a gzip archive"},
    {0, "BM"sv, "a BMP picture"},
};

}  // namespace

bool is_jpeg_signature(const std::uint8_t* bytes, std::size_t count) noexcept {
  return count >= 2 && bytes[0] == 0xFF && bytes[1] == 0xD8 && (count == 2 || bytes[2] == 0xFF);
}

std::string describe_signature(const std::uint8_t* bytes, std::size_t count) {
  if (count == 0) {
    return "an empty file";
  }
  for (const Signature& signature : kSignatures) {
    if (count >= signature.offset + signature.bytes.size() &&
        std::memcmp(bytes + signature.offset, signature.bytes.data(), signature.bytes.size()) ==
            0) {
      return signature.name;
    }
  }
  std::string text = "bytes";
  for (std::size_t i = 0; i < count && i < 8; ++i) {
    char digits[4];
    std::snprintf(digits, sizeof(digits), " %02x", static_cast<unsigned>(bytes[i]));
    text += digits;
  }
  return text;
}

}  // namespace imagine_deblur
