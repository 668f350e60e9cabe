#include "pipeline/streaming_pipeline.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "tiling/blender.h"
#include "tiling/gather.h"

namespace imagine_deblur {
namespace {

// Adds the time between construction and destruction to a counter.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Throws where an engine answers NaN or infinite values: stored, they would pass for a picture.
void require_numbers(std::span<const float> samples, const Tile& tile) {
  float none = 0.0F;  // stays zero unless a sample is no number
  for (const float sample : samples) none += sample * 0.0F;
  if (none == 0.0F) return;
  throw Error(ErrorKind::kEngine,
              "the network answers NaN or infinite values in the tile at row " +
                  std::to_string(tile.read.top) + ", column " +
                  std::to_string(tile.read.left) +
                  ": use another network, or leave the reblur check on, which replaces them");
}

// Sizes of one frame's buffers for a given strip height; pure arithmetic.
struct StripPlan {
  StripPlan(const FrameShape& frame, const Engine& engine, const LinearStage* stage,
            const PipelineOptions& options)
      : shape(frame),
        linear(stage),
        spec(engine.spec()),
        plan(frame.rows, frame.columns,
             TileSpec{.rows = spec.tile_rows,
                      .columns = spec.tile_columns,
                      .overlap = spec.local ? 0 : options.overlap,
                      .halo = spec.halo,
                      .multiple_of = options.multiple_of,
                      .may_shrink = false}),
        linear_planes(stage == nullptr ? 0 : stage->plane_count(frame.bands)) {
    if (static_cast<int>(options.inputs.size()) != spec.input_planes) {
      throw Error(ErrorKind::kOptions,
                  "the engine takes " + std::to_string(spec.input_planes) + " planes, " +
                      std::to_string(options.inputs.size()) + " were named",
                  {.field = "inputs"});
    }
    for (const int input : options.inputs) {
      if (input < 0 || input >= shape.bands + linear_planes) {
        throw Error(ErrorKind::kOptions,
                    "input plane " + std::to_string(input) + " does not exist; there are " +
                        std::to_string(shape.bands + linear_planes),
                    {.field = "inputs"});
      }
    }
    if (spec.output_bands != shape.bands && !(spec.output_bands == 3 && shape.bands == 1)) {
      throw Error(ErrorKind::kOptions,
                  "the engine makes " + std::to_string(spec.output_bands) +
                      " bands, the frame has " + std::to_string(shape.bands),
                  {.field = "engine"});
    }
  }

  RowRange clip(RowRange rows) const {
    return {std::max(rows.first, 0), std::min(rows.last, shape.rows)};
  }
  RowRange planes(int first, int last) const {
    return {plan.first_row_needed(first),
            std::max(plan.source_rows(last - 1).last, plan.core_rows(last - 1).last)};
  }
  RowRange window(int first, int last) const {
    const RowRange rows = planes(first, last);
    const bool whole = first == 0 && last == plan.grid_rows();
    const int margin = linear == nullptr || whole ? 0 : linear->margin_rows();
    return clip({rows.first - margin, rows.last + margin});
  }
  RowRange finished(int first, int last) const {
    return {plan.finished_rows(first).first, plan.finished_rows(last - 1).last};
  }

  SampleType linear_type() const {
    return shape.type == SampleType::kUint8 ? SampleType::kFixed16 : SampleType::kFloat32;
  }
  std::size_t plane_bytes(int rows, SampleType type) const {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(shape.columns) *
           sample_bytes(type);
  }
  std::size_t tile_samples() const {
    return static_cast<std::size_t>(spec.tile_rows) * static_cast<std::size_t>(spec.tile_columns);
  }

  // The largest strip of `height` rows of tiles, by part.
  struct Sizes {
    int window_rows = 0;
    int plane_rows = 0;
    int finished_rows = 0;
    std::size_t scratch = 0;
  };
  Sizes sizes(int height) const {
    Sizes s;
    for (int first = 0; first < plan.grid_rows(); first += height) {
      const int last = std::min(first + height, plan.grid_rows());
      s.window_rows = std::max(s.window_rows, window(first, last).size());
      s.plane_rows = std::max(s.plane_rows, planes(first, last).size());
      s.finished_rows = std::max(s.finished_rows, finished(first, last).size());
    }
    if (linear != nullptr) {
      s.scratch = linear->scratch_bytes(s.window_rows, shape.columns, shape.bands);
    }
    return s;
  }
  std::size_t bytes(int height) const {
    const Sizes s = sizes(height);
    const auto planes_of = [&](int count, int rows, SampleType type) {
      return static_cast<std::size_t>(count) * BufferPool::footprint(plane_bytes(rows, type));
    };
    std::size_t total = planes_of(shape.bands, s.window_rows, shape.type) +
                        planes_of(linear_planes, s.plane_rows, linear_type()) +
                        planes_of(shape.bands, s.finished_rows, shape.type);
    // The tiles' buffers take the place of the linear stage's scratch.
    const std::size_t tiles =
        BufferPool::footprint(input_bytes()) + BufferPool::footprint(output_bytes());
    total += std::max(tiles, s.scratch > 0 ? BufferPool::footprint(s.scratch) : 0);
    if (plan.blends()) total += BufferPool::footprint(blender_bytes());
    // Big buffers begin on a page, so each kind may leave a gap behind smaller ones.
    constexpr std::size_t kKinds = 7;
    return total + kKinds * page_bytes();
  }
  std::size_t input_bytes() const {
    return tile_samples() * static_cast<std::size_t>(spec.input_planes) * sizeof(float);
  }
  std::size_t output_bytes() const {
    return tile_samples() * static_cast<std::size_t>(spec.output_bands) * sizeof(float);
  }
  std::size_t blender_bytes() const {
    return RowBlender::memory_floats(plan, shape.bands) * sizeof(float);
  }

  FrameShape shape;
  const LinearStage* linear;
  EngineSpec spec;
  TilePlan plan;
  int linear_planes;
};

// The tallest strips, in rows of tiles, that fit `capacity`, evened out over the frame.
int strip_height(const StripPlan& plan, std::size_t capacity) {
  const int rows = plan.plan.grid_rows();
  for (int strips = 1; strips <= rows; ++strips) {
    const int height = (rows + strips - 1) / strips;
    if (plan.bytes(height) <= capacity) return height;
    strips = std::max(strips, (rows + height - 1) / height);  // skip counts of equal height
  }
  const std::size_t wanted = plan.bytes(1);
  throw Error(ErrorKind::kMemoryBudget,
              "a frame of " + std::to_string(plan.shape.rows) + " x " +
                  std::to_string(plan.shape.columns) + " needs a buffer pool of at least " +
                  std::to_string(wanted >> 20U) + " MiB even in strips of one row of tiles; " +
                  std::to_string(capacity >> 20U) + " MiB were allowed: raise max_ram",
              {.field = "max_ram",
               .wanted = static_cast<std::int64_t>(wanted),
               .allowed = static_cast<std::int64_t>(capacity)});
}

// Planes of equal size in leases of their own, showing some rows of a frame.
class PlaneSet {
 public:
  PlaneSet(BufferPool& pool, const char* name, int count, int rows, const FrameShape& shape,
           SampleType type)
      : stride_(static_cast<std::ptrdiff_t>(shape.columns) *
                static_cast<std::ptrdiff_t>(sample_bytes(type))) {
    for (int i = 0; i < count; ++i) {
      leases_.push_back(pool.lease(name + std::to_string(i),
                                   static_cast<std::size_t>(stride_) *
                                       static_cast<std::size_t>(rows)));
      windows_.push_back({PlaneView{leases_.back().data(), type, rows, shape.columns, stride_}, 0,
                          shape.rows});
    }
  }

  std::span<const PlaneWindow> windows() const { return windows_; }

  // From now on the planes show `rows`.
  void show(RowRange rows) {
    for (PlaneWindow& window : windows_) {
      window.first_row = rows.first;
      window.view.rows = rows.size();
    }
  }

  // What the planes hold of rows above `row` is dead. They are shown once.
  void drop_above(BufferPool& pool, int row) {
    if (windows_.empty()) return;
    const PlaneWindow& window = windows_.front();
    const int rows = std::clamp(row - window.first_row, 0, window.view.rows);
    std::size_t end = static_cast<std::size_t>(stride_) * static_cast<std::size_t>(rows);
    end -= end % page_bytes();  // the rest goes with the next rows
    if (end <= dropped_) return;
    for (const Lease& lease : leases_) pool.advise_dropped(lease, dropped_, end - dropped_);
    dropped_ = end;
  }

  // As show(), keeping the content of the rows that are shown before and after.
  void slide(RowRange rows) {
    for (PlaneWindow& window : windows_) {
      const int kept = window.first_row + window.view.rows - rows.first;
      if (kept > 0 && rows.first > window.first_row) {
        std::memmove(window.view.data, window.frame_row(rows.first),
                     static_cast<std::size_t>(kept) * static_cast<std::size_t>(stride_));
      }
    }
    show(rows);
  }

 private:
  std::ptrdiff_t stride_;
  std::size_t dropped_ = 0;  // bytes of each plane
  std::vector<Lease> leases_;
  std::vector<PlaneWindow> windows_;
};

// A colour engine on a grey frame: the mean of its bands becomes the first.
void average_bands(float* chw, int bands, std::size_t samples) {
  const float share = 1.0F / static_cast<float>(bands);
  for (std::size_t i = 0; i < samples; ++i) {
    float sum = 0.0F;
    for (int b = 0; b < bands; ++b) sum += chw[static_cast<std::size_t>(b) * samples + i];
    chw[i] = sum * share;
  }
}

}  // namespace

std::size_t pipeline_bytes(const FrameShape& shape, const Engine& engine, const LinearStage* linear,
                           const PipelineOptions& options, int tile_rows) {
  const StripPlan plan(shape, engine, linear, options);
  return plan.bytes(std::clamp(tile_rows, 1, plan.plan.grid_rows()));
}

PipelineReport run_pipeline(FrameSource& source, FrameSink& sink, Engine& engine,
                            LinearStage* linear, BufferPool& pool, Executor& executor,
                            const PipelineOptions& options, const KeepGoing& keep_going) {
  const FrameShape shape = source.shape();
  const StripPlan plan(shape, engine, linear, options);
  const TilePlan& tiles = plan.plan;
  const int height = strip_height(plan, pool.statistics().largest_free);
  const StripPlan::Sizes sizes = plan.sizes(height);

  PipelineReport report;
  report.tiles = tiles.size();
  report.tile_rows = tiles.tile_rows();
  report.tile_columns = tiles.tile_columns();
  report.strips = (tiles.grid_rows() + height - 1) / height;
  report.margin_rows = report.strips > 1 && linear != nullptr ? linear->margin_rows() : 0;
  report.planned_bytes = plan.bytes(height);

  PlaneSet capture(pool, "capture ", shape.bands, sizes.window_rows, shape, shape.type);
  // The base plane is kept for the review, the others go when the tiles are done.
  const int kept_planes = std::min(plan.linear_planes, shape.bands);
  PlaneSet base(pool, "base ", kept_planes, sizes.plane_rows, shape, plan.linear_type());
  PlaneSet restored(pool, "restored ", shape.bands, sizes.finished_rows, shape, shape.type);
  std::optional<Lease> blend_memory;
  std::optional<RowBlender> blender;
  if (tiles.blends()) {
    blend_memory = pool.lease("blender", plan.blender_bytes());
    blender.emplace(tiles, shape.bands,
                    std::span<float>(blend_memory->as<float>(),
                                     plan.blender_bytes() / sizeof(float)));
  }
  const auto go_on = [&](double fraction) {
    if (keep_going && !keep_going(fraction)) {
      throw Error(ErrorKind::kCancelled, "stopped before the frame was finished");
    }
  };

  // Scratch is leased for each use, so that its memory can serve the engine in between.
  const auto with_scratch = [&](Strip& strip, const auto& work) {
    if (sizes.scratch == 0) {
      work();
      return;
    }
    const Lease scratch = pool.lease("scratch", sizes.scratch);
    strip.scratch = {scratch.data(), scratch.bytes()};
    work();
    strip.scratch = {};
    if (options.drop_scratch) pool.advise_dropped(scratch);
  };

  std::vector<TileInput> inputs(options.inputs.size());
  int done = 0;
  capture.show({0, 0});
  for (int index = 0; index < report.strips; ++index) {
    const int first = index * height;
    const int last = std::min(first + height, tiles.grid_rows());
    Strip strip;
    strip.index = index;
    strip.count = report.strips;
    strip.window = plan.window(first, last);
    strip.planes = plan.planes(first, last);
    strip.finished = plan.finished(first, last);
    strip.capture = capture.windows();
    strip.restored = restored.windows();

    {
      const Stopwatch watch(report.read_seconds);
      const PlaneWindow& before = capture.windows()[0];
      const int have = before.first_row + before.view.rows;
      capture.slide(strip.window);
      source.read({have, strip.window.last}, capture.windows());
    }
    std::optional<PlaneSet> others(std::in_place, pool, "linear ", plan.linear_planes - kept_planes,
                                   sizes.plane_rows, shape, plan.linear_type());
    base.show(strip.planes);
    others->show(strip.planes);
    restored.show(strip.finished);
    std::vector<PlaneWindow> linear_windows(base.windows().begin(), base.windows().end());
    linear_windows.insert(linear_windows.end(), others->windows().begin(),
                          others->windows().end());
    strip.linear = linear_windows;
    go_on(static_cast<double>(done) / tiles.size());
    if (linear != nullptr) {
      const Stopwatch watch(report.linear_seconds);
      with_scratch(strip, [&] { linear->restore(strip); });
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const std::size_t plane = static_cast<std::size_t>(options.inputs[i]);
      const std::size_t bands = static_cast<std::size_t>(shape.bands);
      inputs[i] = {plane < bands ? capture.windows()[plane] : linear_windows[plane - bands],
                   plan.spec.input_offset};
    }
    Lease input = pool.lease("tile input", plan.input_bytes());
    Lease output = pool.lease("tile output", plan.output_bytes());
    const std::span<const float> chw(output.as<float>(), plan.output_bytes() / sizeof(float));
    for (int tile_row = first; tile_row < last; ++tile_row) {
      for (int tile_column = 0; tile_column < tiles.grid_columns(); ++tile_column) {
        const Tile tile = tiles.tile(tile_row, tile_column);
        {
          const Stopwatch watch(report.gather_seconds);
          executor.parallel_for(static_cast<int>(inputs.size()), [&](int i, int) {
            gather_plane(inputs[static_cast<std::size_t>(i)], tile.read,
                         input.as<float>() + static_cast<std::size_t>(i) * plan.tile_samples(),
                         tiles.tile_columns());
          });
        }
        {
          const Stopwatch watch(report.engine_seconds);
          engine.infer(input.as<float>(), output.as<float>());
          if (options.require_numbers) require_numbers(chw, tile);
        }
        {
          const Stopwatch watch(report.store_seconds);
          if (plan.spec.output_bands != shape.bands) {
            average_bands(output.as<float>(), plan.spec.output_bands, plan.tile_samples());
          }
          if (blender) {
            blender->add(tile, chw.data());
          } else {
            store_core(chw.data(), tile, restored.windows());
          }
        }
        go_on(static_cast<double>(++done) / tiles.size());
      }
      if (blender) {
        const Stopwatch watch(report.store_seconds);
        blender->finish_row(restored.windows());
      }
      if (options.drop_scratch) {
        others->drop_above(pool, tile_row + 1 < last ? tiles.first_row_needed(tile_row + 1)
                                                     : shape.rows);
      }
    }
    if (options.drop_scratch) {
      pool.advise_dropped(input);
      pool.advise_dropped(output);
    }
    input.release();
    output.release();
    others.reset();
    strip.linear = base.windows();
    if (linear != nullptr) {
      const Stopwatch watch(report.review_seconds);
      with_scratch(strip, [&] { report.replaced_blocks += linear->review(strip); });
    }
    const Stopwatch watch(report.write_seconds);
    sink.write(strip.finished, restored.windows());
  }
  return report;
}

}  // namespace imagine_deblur
