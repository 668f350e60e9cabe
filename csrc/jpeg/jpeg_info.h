// What a JPEG's header says about its picture.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace imagine_deblur {

// How the file stores its samples. The reader delivers grey (1 band) or RGB (3 bands).
enum class JpegColour { kGrey, kYcbcr, kRgb, kCmyk, kYcck };

using QuantisationTable = std::array<std::uint16_t, 64>;  // natural order: row by row, DC first

struct JpegInfo {
  int rows = 0;
  int columns = 0;
  int components = 0;  // in the file: 1, 3 or 4
  int bands = 0;       // as delivered: 1 or 3
  int bits = 8;
  JpegColour colour = JpegColour::kYcbcr;
  std::string subsampling;  // "4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "4:0:0" (grey), or the
                            // sampling factors, e.g. "3x1,1x1,1x1"
  bool progressive = false;
  bool arithmetic = false;
  bool multiple_scans = false;  // coefficients of the whole frame are held while decoding
  int restart_interval = 0;     // in blocks of the scan (MCUs); 0 without restart markers
  bool jfif = false;
  bool adobe = false;
  bool icc_dropped = false;  // the profile described CMYK samples and the output is RGB
  std::vector<QuantisationTable> quantisation;  // one a component, as the file orders them
  int estimated_quality = 0;       // 1..100 on the scale of the Independent JPEG Group; 0 unknown
  bool quality_exact = false;      // the tables are the ones that quality gives
  std::int64_t decoder_bytes = 0;  // libjpeg's own memory for this picture, an upper estimate
};

// "YCbCr", "grey", "RGB", "CMYK", "YCCK".
const char* colour_name(JpegColour colour) noexcept;

}  // namespace imagine_deblur
