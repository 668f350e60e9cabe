#include "jpeg/quality.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace imagine_deblur {
namespace {

// ITU-T T.81, table K.1.
constexpr QuantisationTable kLuminance = {16, 11, 10, 16, 24,  40,  51,  61,   //
                                          12, 12, 14, 19, 26,  58,  60,  55,   //
                                          14, 13, 16, 24, 40,  57,  69,  56,   //
                                          14, 17, 22, 29, 51,  87,  80,  62,   //
                                          18, 22, 37, 56, 68,  109, 103, 77,   //
                                          24, 35, 55, 64, 81,  104, 113, 92,   //
                                          49, 64, 78, 87, 103, 121, 120, 101,  //
                                          72, 92, 95, 98, 112, 100, 103, 99};

// ITU-T T.81, table K.2.
constexpr QuantisationTable kChrominance = {17, 18, 24, 47, 99, 99, 99, 99,  //
                                            18, 21, 26, 66, 99, 99, 99, 99,  //
                                            24, 26, 56, 99, 99, 99, 99, 99,  //
                                            47, 66, 99, 99, 99, 99, 99, 99,  //
                                            99, 99, 99, 99, 99, 99, 99, 99,  //
                                            99, 99, 99, 99, 99, 99, 99, 99,  //
                                            99, 99, 99, 99, 99, 99, 99, 99,  //
                                            99, 99, 99, 99, 99, 99, 99, 99};

int difference(const QuantisationTable& table, const QuantisationTable& standard, int quality) {
  const int percent = quality < 50 ? 5000 / quality : 200 - 2 * quality;
  int sum = 0;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const int expected = std::clamp((standard[i] * percent + 50) / 100, 1, 255);
    sum += std::abs(static_cast<int>(table[i]) - expected);
  }
  return sum;
}

}  // namespace

QualityEstimate estimate_quality(const std::vector<QuantisationTable>& tables, JpegColour colour) {
  QualityEstimate best;
  if (tables.empty() || tables[0][0] == 0) {
    return best;
  }
  const bool chrominance = tables.size() >= 3 && tables[1][0] != 0 &&
                           (colour == JpegColour::kYcbcr || colour == JpegColour::kYcck);
  int least = std::numeric_limits<int>::max();
  for (int quality = 1; quality <= 100; ++quality) {
    int found = difference(tables[0], kLuminance, quality);
    if (chrominance) {
      found += difference(tables[1], kChrominance, quality);
    }
    if (found < least) {
      least = found;
      best.quality = quality;
    }
  }
  best.exact = least == 0;
  return best;
}

}  // namespace imagine_deblur
