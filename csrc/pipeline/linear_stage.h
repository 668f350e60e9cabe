// The global linear stage: what runs on whole strips before the tiles, and looks at them afterwards.
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
  RowRange window;    // rows of the capture in memory
  RowRange planes;    // rows of the linear planes, inside `window`
  RowRange finished;  // rows of the restored planes
  std::span<const PlaneWindow> capture;   // one per band, the frame's sample type
  // kFixed16 for uint8 frames, kFloat32 for float32 ones; in the review the first bands alone.
  std::span<const PlaneWindow> linear;
  std::span<const PlaneWindow> restored;  // one per band, the frame's sample type
  std::span<std::byte> scratch;
};

// Called from the thread that runs the pipeline only.
class LinearStage {
 public:
  virtual ~LinearStage() = default;

  // Planes made for a frame of this many bands.
  virtual int plane_count(int bands) const = 0;
  // Rows of capture needed above and below the planes' rows where a frame is cut into strips; asked
  // for only there.
  virtual int margin_rows() const = 0;
  // Scratch for a strip of so many capture rows.
  virtual std::size_t scratch_bytes(int rows, int columns, int bands) const = 0;
  // Fills rows strip.planes of every plane in strip.linear; strip.restored is not ready.
  virtual void restore(const Strip& strip) = 0;
  // After the tiles: may replace samples of strip.restored. Returns how many blocks it replaced.
  virtual int review(const Strip& strip) = 0;
};

}  // namespace imagine_deblur
