// What a JPEG may ask for. All limits are checked on the header, before anything is allocated for
// the picture; a file over one of them ends in an Error that names the limit and the value found.
#pragma once

#include <cstdint>

namespace imagine_deblur {

struct JpegLimits {
  std::int64_t max_pixels = 268'435'456;         // rows x columns: 16384 x 16384
  int max_dimension = 65'500;                    // rows, and columns
  int max_scans = 200;                           // progressive scans; real files have 3 to 12
  std::int64_t max_memory_bytes = 64LL << 20;    // libjpeg's own memory for one picture
  std::int64_t max_metadata_bytes = 16LL << 20;  // all APPn and COM payloads together
};

}  // namespace imagine_deblur
