// The pipeline that flies: strips, tiles, bounded memory.
//
// A frame runs as its plan says (frame_plan.h), strip by strip, on the calling thread:
//
//   read    capture rows of the strip, its network halo and the linear stage's margin
//   linear  the global stage fills its planes, for a group of columns of tiles
//   tiles   gather -> engine -> store, one tile after the other; then the next group
//   review  the linear stage looks at the result and may replace blocks
//   write   finished rows leave
//
// Nothing is allocated after the first strip begins: planes and buffers are leased from the pool,
// of the size of the largest strip, and what is dead makes room for what follows. Engines may use
// threads of their own.
#pragma once

#include <functional>

#include "engine/engine.h"
#include "memory/buffer_pool.h"
#include "pipeline/frame_io.h"
#include "pipeline/frame_plan.h"
#include "pipeline/linear_stage.h"
#include "pipeline/report.h"
#include "threads/executor.h"

namespace imagine_deblur {

// Fraction done, in [0, 1]; returning false ends the run with kCancelled. May throw.
using KeepGoing = std::function<bool(double)>;

// Runs one frame from `source` to `sink` as `plan` says. `linear` may be null. Throws kOptions for
// a plan of another frame or engine, kMemoryBudget for a pool with less room than the plan takes,
// and whatever its parts throw.
PipelineReport run_pipeline(FrameSource& source, FrameSink& sink, Engine& engine,
                            LinearStage* linear, BufferPool& pool, Executor& executor,
                            const FramePlan& plan, const KeepGoing& keep_going);

}  // namespace imagine_deblur
