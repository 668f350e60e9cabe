#include "jpeg/jpeg_info.h"

namespace imagine_deblur {

const char* colour_name(JpegColour colour) noexcept {
  switch (colour) {
    case JpegColour::kGrey:
      return "grey";
    case JpegColour::kYcbcr:
      return "YCbCr";
    case JpegColour::kRgb:
      return "RGB";
    case JpegColour::kCmyk:
      return "CMYK";
    case JpegColour::kYcck:
      return "YCCK";
  }
  return "unknown";
}

}  // namespace imagine_deblur
