// Names what a file is by its first bytes, so that "not a JPEG" can say what it is instead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace imagine_deblur {

inline constexpr std::size_t kSignatureBytes = 12;

bool is_jpeg_signature(const std::uint8_t* bytes, std::size_t count) noexcept;

// "an empty file", "a PNG picture", "bytes 4d 41 ...".
std::string describe_signature(const std::uint8_t* bytes, std::size_t count);

}  // namespace imagine_deblur
