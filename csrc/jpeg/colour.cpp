#include "jpeg/colour.h"

namespace imagine_deblur {

void cmyk_row_to_rgb(const std::uint8_t* cmyk, std::size_t columns, bool inverted,
                     std::uint8_t* rgb) noexcept {
  const unsigned flip = inverted ? 0U : 255U;
  for (std::size_t column = 0; column < columns; ++column) {
    const unsigned black = cmyk[4 * column + 3] ^ flip;
    for (std::size_t band = 0; band < 3; ++band) {
      const unsigned ink = cmyk[4 * column + band] ^ flip;
      rgb[3 * column + band] = static_cast<std::uint8_t>((ink * black + 127U) / 255U);
    }
  }
}

}  // namespace imagine_deblur
