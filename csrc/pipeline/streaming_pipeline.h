// The pipeline that flies: strips, tiles, bounded memory.
//
// A frame is cut into strips of whole rows of tiles, as tall as the pool's budget allows; most
// frames are one strip. For each strip, on the calling thread:
//
//   read    capture rows of the strip, its network halo and the linear stage's margin
//   linear  the global stage fills its planes
//   tiles   gather -> engine -> store, one tile after the other
//   review  the linear stage looks at the result and may replace blocks
//   write   finished rows leave
//
// Nothing is allocated after the first strip begins: planes and buffers are leased from the pool, of
// the size of the largest strip, and what is dead makes room for what follows. Engines may use threads
// of their own.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "memory/buffer_pool.h"
#include "pipeline/frame_io.h"
#include "pipeline/linear_stage.h"
#include "pipeline/report.h"
#include "threads/executor.h"
#include "tiling/tile_plan.h"

namespace imagine_deblur {

struct PipelineOptions {
  int overlap = 0;          // px, for engines that are not local
  int multiple_of = 1;      // tiles begin on multiples of this in the frame
  std::vector<int> inputs;  // engine input -> plane: capture bands first, then linear planes
  bool drop_scratch = false;     // give the linear stage's memory back before the tiles run
  bool require_numbers = false;  // refuse an engine that answers NaN or infinite values
};

// Fraction done, in [0, 1]; returning false ends the run with kCancelled. May throw.
using KeepGoing = std::function<bool(double)>;

// Bytes the pool must hold to run the frame in strips of `tile_rows` rows of tiles. Throws kOptions
// for options that do not fit the engine.
std::size_t pipeline_bytes(const FrameShape& shape, const Engine& engine, const LinearStage* linear,
                           const PipelineOptions& options, int tile_rows);

// Runs one frame from `source` to `sink`. `linear` may be null. Throws kMemoryBudget when the pool
// is too small for strips of one row of tiles, and whatever its parts throw.
PipelineReport run_pipeline(FrameSource& source, FrameSink& sink, Engine& engine,
                            LinearStage* linear, BufferPool& pool, Executor& executor,
                            const PipelineOptions& options, const KeepGoing& keep_going);

}  // namespace imagine_deblur
