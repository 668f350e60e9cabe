// The quality setting that a file's quantisation tables came from.
#pragma once

#include <vector>

#include "jpeg/jpeg_info.h"

namespace imagine_deblur {

struct QualityEstimate {
  int quality = 0;     // 1..100; 0 where there is no table
  bool exact = false;  // every entry agrees
};

// `tables` holds one table a component; the first is compared with the example luminance table of
// ITU-T T.81 (K.1) and the second, in files with chrominance, with K.2, both scaled the way the
// Independent JPEG Group's library does: by 5000 / q percent below 50, 200 - 2 q from 50 on.
// Returns the quality whose tables differ least in the sum of absolute differences. A file whose
// encoder used tables of its own still gets the nearest value, with `exact` false.
QualityEstimate estimate_quality(const std::vector<QuantisationTable>& tables, JpegColour colour);

}  // namespace imagine_deblur
