#include "pipeline/streaming_pipeline.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "pipeline/plane_set.h"
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
                  std::to_string(tile.read.top) + ", column " + std::to_string(tile.read.left) +
                  ": use another network, or leave the reblur check on, which replaces them");
}

// A colour engine on a grey frame: the mean of its bands becomes the first.
void average_bands(float* chw, int bands, std::size_t samples) {
  const float share = 1.0F / static_cast<float>(bands);
  for (std::size_t i = 0; i < samples; ++i) {
    float sum = 0.0F;
    for (int b = 0; b < bands; ++b) sum += chw[static_cast<std::size_t>(b) * samples + i];
    chw[i] = sum * share;
  }
}

// Copies samples of the base planes where no tile stores any: the review blurs across a region's
// border.
void fill_beside(std::span<const PlaneWindow> base, RowRange rows, RowRange stored,
                 std::span<float> line, std::span<const PlaneWindow> restored) {
  const int columns = restored[0].frame_columns;
  for (const RowRange part : {RowRange{0, stored.first}, RowRange{stored.last, columns}}) {
    if (part.empty()) continue;
    for (std::size_t band = 0; band < restored.size(); ++band) {
      for (int row = rows.first; row < rows.last; ++row) {
        gather_plane({base[band]}, {row, part.first, row + 1, part.last}, line.data(), columns);
        store_samples(line.data(), part.size(), restored[band].view.type,
                      restored[band].frame_row(row), part.first);
      }
    }
  }
}

// One frame on its way: what lives as long as it does.
class FrameRun {
 public:
  FrameRun(FrameSource& source, Engine& engine, LinearStage* linear, BufferPool& pool,
           Executor& executor, const FramePlan& plan, const KeepGoing& keep_going)
      : source_(source),
        engine_(engine),
        linear_(linear),
        pool_(pool),
        executor_(executor),
        plan_(plan),
        keep_going_(keep_going),
        shape_(plan.shape()),
        capture_(pool, "capture ", plan.bands, {plan.window_rows(), shape_.columns}, shape_,
                 plan.type),
        base_(pool, "base ", plan.kept_planes(), {plan.plane_rows(), shape_.columns}, shape_,
              plan.linear_type()),
        restored_(pool, "restored ", plan.bands, {plan.finished_rows(), shape_.columns}, shape_,
                  plan.type),
        inputs_(plan.inputs.size()) {
    if (plan.tiles.blends()) {
      blend_memory_ = pool.lease("blender", plan.blender_bytes());
      blender_.emplace(
          plan.tiles, plan.bands,
          std::span<float>(blend_memory_.as<float>(), plan.blender_bytes() / sizeof(float)));
    }
    capture_.show({0, 0});
    const Rect region = plan.tiles.region();
    if (linear != nullptr && region.columns() < shape_.columns) {
      line_.resize(static_cast<std::size_t>(shape_.columns));
    }
    report_.tiles = plan.tiles.size();
    report_.tile_rows = plan.tiles.tile_rows();
    report_.tile_columns = plan.tiles.tile_columns();
    report_.strips = plan.strips();
    report_.margin_rows = report_.strips > 1 ? plan.margin_rows : 0;
    report_.planned_bytes = plan.pool_bytes();
    drops_all_ = plan.drop_memory && plan.strips() * plan.groups() > 1;
  }

  PipelineReport run(FrameSink& sink) {
    for (int index = 0; index < report_.strips; ++index) {
      Strip strip;
      strip.index = index;
      strip.count = report_.strips;
      strip.window = plan_.window(index);
      strip.planes = plan_.planes(index);
      strip.finished = plan_.finished(index);
      strip.finished_columns = {plan_.tiles.region().left, plan_.tiles.region().right};
      strip.group_columns = plan_.group_columns();
      read(strip);
      go_on();
      base_.show(strip.planes);
      restored_.show(strip.finished);
      strip.capture = capture_.windows();
      strip.restored = restored_.windows();
      make(strip);
      review(strip);
      const Stopwatch watch(report_.write_seconds);
      sink.write(strip.finished, restored_.windows());
      if (drops_all_) restored_.drop_above(pool_, shape_.rows);
    }
    return report_;
  }

 private:
  void go_on() const {
    if (keep_going_ && !keep_going_(static_cast<double>(done_) / report_.tiles)) {
      throw Error(ErrorKind::kCancelled, "stopped before the frame was finished");
    }
  }

  void read(const Strip& strip) {
    const Stopwatch watch(report_.read_seconds);
    const PlaneWindow& before = capture_.windows()[0];
    const int have = before.first_row + before.view.rows;
    capture_.slide(strip.window);
    source_.read({std::max(have, strip.window.first), strip.window.last}, capture_.windows());
  }

  // Scratch is leased for each use, so that its memory can serve the engine in between.
  template <typename Work>
  void with_scratch(Strip& strip, const Work& work) {
    if (plan_.scratch_bytes == 0) {
      work();
      return;
    }
    const Lease scratch = pool_.lease("scratch", plan_.scratch_bytes);
    strip.scratch = {scratch.data(), scratch.bytes()};
    work();
    strip.scratch = {};
    if (plan_.drop_memory) pool_.advise_dropped(scratch);
  }

  // Linear planes and tiles, group by group.
  void make(Strip& strip) {
    PlaneSet others(pool_, "linear ", plan_.linear_planes - plan_.kept_planes(),
                    {plan_.plane_rows(), plan_.group_columns()}, shape_, plan_.linear_type());
    for (int group = 0; group < plan_.groups(); ++group) {
      strip.columns = plan_.columns(group);
      others.show(strip.planes);
      others.show_columns(strip.columns);
      std::vector<PlaneWindow> planes;
      for (const PlaneWindow& window : base_.windows()) {
        planes.push_back(part_of(window, strip.columns));
      }
      planes.insert(planes.end(), others.windows().begin(), others.windows().end());
      if (linear_ != nullptr) {
        const Stopwatch watch(report_.linear_seconds);
        strip.linear = planes;
        with_scratch(strip, [&] { linear_->restore(strip); });
      }
      run_tiles(strip.index, group, planes, others);
    }
    strip.linear = base_.windows();
  }

  void run_tiles(int strip, int group, std::span<const PlaneWindow> planes, PlaneSet& others) {
    const TilePlan& tiles = plan_.tiles;
    const RowRange tile_rows = plan_.tile_rows(strip);
    const RowRange tile_columns = plan_.tile_columns(group);
    Lease input = pool_.lease("tile input", plan_.input_bytes());
    Lease output = pool_.lease("tile output", plan_.output_bytes());
    connect(planes, input.as<float>());
    for (int tile_row = tile_rows.first; tile_row < tile_rows.last; ++tile_row) {
      for (int column = tile_columns.first; column < tile_columns.last; ++column) {
        run_tile(tiles.tile(tile_row, column), input.as<float>(), output.as<float>());
        ++done_;
        go_on();
      }
      if (blender_) {
        const Stopwatch watch(report_.store_seconds);
        blender_->finish_row(restored_.windows());
      }
      if (plan_.drop_memory && group + 1 == plan_.groups()) {
        others.drop_above(pool_, tile_row + 1 < tile_rows.last
                                     ? tiles.first_row_needed(tile_row + 1)
                                     : shape_.rows);
      }
    }
    if (plan_.drop_memory) {
      pool_.advise_dropped(input);
      pool_.advise_dropped(output);
    }
    if (drops_all_) engine_.rest();
  }

  // Says where each of the engine's inputs comes from; constants are filled in once.
  void connect(std::span<const PlaneWindow> planes, float* input) {
    const auto bands = static_cast<std::size_t>(plan_.bands);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const auto plane = static_cast<std::size_t>(plan_.inputs[i]);
      inputs_[i].offset = engine_.spec().input_offset;
      if (plane < bands) {
        inputs_[i].plane = capture_.windows()[plane];
      } else if (plane - bands < planes.size()) {
        inputs_[i].plane = planes[plane - bands];
      } else {
        inputs_[i].plane = {};
        std::fill_n(input + i * plan_.tile_samples(), plan_.tile_samples(),
                    plan_.constants[plane - bands - planes.size()] - inputs_[i].offset);
      }
    }
  }

  void run_tile(const Tile& tile, float* input, float* output) {
    {
      const Stopwatch watch(report_.gather_seconds);
      executor_.parallel_for(static_cast<int>(inputs_.size()), [&](int i, int) {
        const TileInput& from = inputs_[static_cast<std::size_t>(i)];
        if (from.plane.view.data == nullptr) return;
        gather_plane(from, tile.read, input + static_cast<std::size_t>(i) * plan_.tile_samples(),
                     plan_.tiles.tile_columns());
      });
    }
    {
      const Stopwatch watch(report_.engine_seconds);
      engine_.infer(input, output);
      if (plan_.require_numbers) {
        require_numbers({output, plan_.output_bytes() / sizeof(float)}, tile);
      }
    }
    const Stopwatch watch(report_.store_seconds);
    if (plan_.output_bands != plan_.bands) {
      average_bands(output, plan_.output_bands, plan_.tile_samples());
    }
    if (blender_) {
      blender_->add(tile, output);
    } else {
      store_core(output, tile, restored_.windows());
    }
  }

  void review(Strip& strip) {
    if (linear_ == nullptr) return;
    const Stopwatch watch(report_.review_seconds);
    if (!line_.empty()) {
      fill_beside(base_.windows(), strip.finished, strip.finished_columns, line_,
                  restored_.windows());
    }
    with_scratch(strip, [&] { report_.replaced_blocks += linear_->review(strip); });
  }

  FrameSource& source_;
  Engine& engine_;
  LinearStage* linear_;
  BufferPool& pool_;
  Executor& executor_;
  const FramePlan& plan_;
  const KeepGoing& keep_going_;
  FrameShape shape_;
  PlaneSet capture_;
  PlaneSet base_;  // kept for the review; the other planes go when the tiles are done
  PlaneSet restored_;
  Lease blend_memory_;
  std::optional<RowBlender> blender_;
  std::vector<TileInput> inputs_;
  std::vector<float> line_;  // one row of samples, where a region has something beside it
  PipelineReport report_;
  // Of a frame in one piece the next frame's buffers take the place, so their pages are kept.
  bool drops_all_ = false;
  int done_ = 0;  // tiles
};

void require_fit(const FramePlan& plan, const FrameShape& shape, const EngineSpec& engine,
                 std::size_t free) {
  plan.check();
  const auto refuse = [](const char* field, const std::string& message) {
    throw Error(ErrorKind::kOptions, message, {.field = field});
  };
  if (static_cast<int>(plan.inputs.size()) != engine.input_planes) {
    refuse("inputs", "the engine takes " + std::to_string(engine.input_planes) + " planes, " +
                         std::to_string(plan.inputs.size()) + " were named");
  }
  if (shape.rows != plan.shape().rows || shape.columns != plan.shape().columns ||
      shape.bands != plan.bands || shape.type != plan.type) {
    refuse("plan", "a plan for another frame");
  }
  if (engine.tile_rows != plan.tiles.tile_rows() ||
      engine.tile_columns != plan.tiles.tile_columns() ||
      engine.output_bands != plan.output_bands) {
    refuse("plan", "a plan for another engine");
  }
  if (plan.pool_bytes() > free) {
    throw Error(ErrorKind::kMemoryBudget,
                "the plan takes " + std::to_string(plan.pool_bytes()) +
                    " bytes of the buffer pool, which has " + std::to_string(free) +
                    ": plan for less memory (max_ram), or make a larger pool",
                {.field = "max_ram",
                 .wanted = static_cast<std::int64_t>(plan.pool_bytes()),
                 .allowed = static_cast<std::int64_t>(free)});
  }
}

}  // namespace

PipelineReport run_pipeline(FrameSource& source, FrameSink& sink, Engine& engine,
                            LinearStage* linear, BufferPool& pool, Executor& executor,
                            const FramePlan& plan, const KeepGoing& keep_going) {
  require_fit(plan, source.shape(), engine.spec(), pool.statistics().largest_free);
  return FrameRun(source, engine, linear, pool, executor, plan, keep_going).run(sink);
}

}  // namespace imagine_deblur
