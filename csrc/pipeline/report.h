// What a run did: counts, seconds per phase, bytes.
#pragma once

#include <cstddef>

namespace imagine_deblur {

struct PipelineReport {
  int tiles = 0;
  int tile_rows = 0;
  int tile_columns = 0;
  int strips = 0;
  int margin_rows = 0;            // context of each strip, 0 when the frame was one strip
  int replaced_blocks = 0;        // by the review
  std::size_t planned_bytes = 0;  // of the pool
  double read_seconds = 0;        // decode
  double linear_seconds = 0;
  double gather_seconds = 0;
  double engine_seconds = 0;
  double store_seconds = 0;  // blend and round
  double review_seconds = 0;
  double write_seconds = 0;  // encode
};

}  // namespace imagine_deblur
