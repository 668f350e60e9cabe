// Ink to light, one row at a time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagine_deblur {

// CMYK samples to RGB without a profile: R = C K / 255 and likewise G from M, B from Y, rounded.
// `inverted`: the samples are stored as 255 - ink, as Adobe's programs write them (255 is no ink);
// otherwise each sample is 255 - s first. `cmyk` holds 4 x `columns` bytes, `rgb` 3 x `columns`;
// they must not overlap. The colours are plausible, not colorimetric: a file with an ICC profile
// for its inks would need a colour management system.
void cmyk_row_to_rgb(const std::uint8_t* cmyk, std::size_t columns, bool inverted,
                     std::uint8_t* rgb) noexcept;

}  // namespace imagine_deblur
