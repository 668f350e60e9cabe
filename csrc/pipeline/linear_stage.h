// The global linear stage: what runs on whole strips before the tiles, and looks at them
// afterwards.
#pragma once

#include <cstddef>
#include <span>

#include "tiling/plane_window.h"
#include "tiling/tile_plan.h"

namespace imagine_deblur {

// The strip now in memory. Rows are frame rows. Planes are borrowed for the call.
struct Strip {
  int index = 0;
  int count = 1;
  RowRange window;            // rows of the capture in memory
  RowRange planes;            // rows of the linear planes, inside `window`
  RowRange columns;           // columns in which the linear planes are made
  RowRange finished;          // rows of the restored planes
  RowRange finished_columns;  // of them that tiles restored; beside them the base planes show
  int group_columns = 0;      // most `columns` of any part of the frame
  std::span<const PlaneWindow> capture;  // one per band, the frame's sample type
  // kFixed16 for uint8 frames, kFloat32 for float32 ones, of `columns`; in the review the first
  // bands alone, of the whole frame.
  std::span<const PlaneWindow> linear;
  std::span<const PlaneWindow> restored;  // one per band, the frame's sample type
  std::span<std::byte> scratch;
};

// Called from the thread that runs the pipeline only.
class LinearStage {
 public:
  virtual ~LinearStage() = default;

  // Fills rows strip.planes of every plane in strip.linear; strip.restored is not ready.
  virtual void restore(const Strip& strip) = 0;
  // After the tiles: may replace samples of strip.restored. Returns how many blocks it replaced.
  virtual int review(const Strip& strip) = 0;
};

}  // namespace imagine_deblur
