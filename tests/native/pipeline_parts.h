// A frame, a linear stage and an engine with known answers, and a run of the pipeline over them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "engine/identity_engine.h"
#include "memory/buffer_pool.h"
#include "pipeline/streaming_pipeline.h"
#include "support.h"
#include "threads/executor.h"

namespace pipeline_parts {

using namespace imagine_deblur;
using test_support::pick;
using test_support::Random;

// An interleaved frame that owns its samples, with padding after each row.
struct Frame {
  explicit Frame(const FrameShape& frame_shape)
      : shape(frame_shape),
        stride(static_cast<std::size_t>(shape.columns) * static_cast<std::size_t>(shape.bands) *
                   sample_bytes(shape.type) +
               4),
        bytes(stride * static_cast<std::size_t>(shape.rows), std::byte{0xA5}) {}

  InterleavedView view() { return {bytes.data(), static_cast<std::ptrdiff_t>(stride), shape}; }
  std::byte* sample(int row, int column, int band) {
    const auto index = static_cast<std::size_t>(column) * static_cast<std::size_t>(shape.bands) +
                       static_cast<std::size_t>(band);
    return bytes.data() + static_cast<std::size_t>(row) * stride + index * sample_bytes(shape.type);
  }
  double at(int row, int column, int band) {
    if (shape.type == SampleType::kUint8) {
      return static_cast<double>(std::to_integer<int>(*sample(row, column, band)));
    }
    float value = 0;
    std::memcpy(&value, sample(row, column, band), sizeof value);
    return static_cast<double>(value);
  }
  void fill(Random& random) {
    for (int r = 0; r < shape.rows; ++r) {
      for (int c = 0; c < shape.columns; ++c) {
        for (int b = 0; b < shape.bands; ++b) {
          if (shape.type == SampleType::kUint8) {
            *sample(r, c, b) = static_cast<std::byte>(pick(random, 0, 255));
          } else {
            const float value = std::uniform_real_distribution<float>(-0.5F, 1.5F)(random);
            std::memcpy(sample(r, c, b), &value, sizeof value);
          }
        }
      }
    }
  }
  // The largest difference, in sample units.
  double distance(Frame& other) {
    double worst = 0;
    for (int r = 0; r < shape.rows; ++r) {
      for (int c = 0; c < shape.columns; ++c) {
        for (int b = 0; b < shape.bands; ++b) {
          worst = std::max(worst, std::abs(at(r, c, b) - other.at(r, c, b)));
        }
      }
    }
    return worst;
  }

  FrameShape shape;
  std::size_t stride;
  std::vector<std::byte> bytes;
};

inline double sample_of(const PlaneWindow& plane, int row, int column) {
  const std::byte* at =
      plane.frame_row(row) + static_cast<std::ptrdiff_t>(column) *
                                 static_cast<std::ptrdiff_t>(sample_bytes(plane.view.type));
  switch (plane.view.type) {
    case SampleType::kUint8:
      return std::to_integer<int>(*at) / 255.0;
    case SampleType::kFixed16: {
      std::int16_t value = 0;
      std::memcpy(&value, at, sizeof value);
      return value / 4096.0;
    }
    case SampleType::kFloat32:
      break;
  }
  float value = 0;
  std::memcpy(&value, at, sizeof value);
  return static_cast<double>(value);
}

inline void set_sample(const PlaneWindow& plane, int row, int column, double value) {
  std::byte* at =
      plane.frame_row(row) + static_cast<std::ptrdiff_t>(column) *
                                 static_cast<std::ptrdiff_t>(sample_bytes(plane.view.type));
  if (plane.view.type == SampleType::kFixed16) {
    const auto fixed = static_cast<std::int16_t>(std::lround(value * 4096.0));
    std::memcpy(at, &fixed, sizeof fixed);
  } else {
    const auto real = static_cast<float>(value);
    std::memcpy(at, &real, sizeof real);
  }
}

// Planes that are the capture averaged over the rows `reach` above and below, cut at the frame:
// with reach 0 the identity. Looks at what the pipeline hands it.
class RowMeanStage final : public LinearStage {
 public:
  RowMeanStage(Frame& frame, int reach) : frame_(frame), reach_(reach) {}

  int reach() const { return reach_; }
  void restore(const Strip& strip) override {
    const FrameShape& shape = frame_.shape;
    if (strip.index != restored_) {
      CHECK(strip.index == restored_ + 1 && made_ == shape.columns);
      ++restored_;
      made_ = 0;
    }
    CHECK(strip.columns.first <= made_ && strip.columns.last <= shape.columns);
    CHECK(strip.columns.size() <= strip.group_columns);
    made_ = std::max(made_, strip.columns.last);  // the last groups' halos may end together
    CHECK(strip.window.first >= 0 && strip.window.last <= shape.rows);
    CHECK(strip.planes.first >= strip.window.first && strip.planes.last <= strip.window.last);
    CHECK(strip.window.first <= std::max(0, strip.planes.first - reach_));
    CHECK(strip.window.last >= std::min(shape.rows, strip.planes.last + reach_));
    CHECK(static_cast<int>(strip.capture.size()) == shape.bands);
    CHECK(static_cast<int>(strip.linear.size()) == shape.bands);
    CHECK(strip.scratch.size() >= static_cast<std::size_t>(strip.window.size()));
    std::fill(strip.scratch.begin(), strip.scratch.end(), std::byte{0x5A});
    for (int band = 0; band < shape.bands; ++band) {
      const PlaneWindow& capture = strip.capture[static_cast<std::size_t>(band)];
      const PlaneWindow& linear = strip.linear[static_cast<std::size_t>(band)];
      CHECK(capture.first_row == strip.window.first && capture.view.rows == strip.window.size());
      CHECK(linear.first_row == strip.planes.first && linear.view.rows == strip.planes.size());
      CHECK(linear.first_column == strip.columns.first &&
            linear.view.columns == strip.columns.size() && linear.frame_columns == shape.columns);
      for (int row = strip.window.first; row < strip.window.last; ++row) {
        for (int column = 0; column < shape.columns; ++column) {
          const double one = shape.type == SampleType::kUint8 ? 255.0 : 1.0;
          CHECK(sample_of(capture, row, column) == frame_.at(row, column, band) / one);
        }
      }
      for (int row = strip.planes.first; row < strip.planes.last; ++row) {
        const int first = std::max(0, row - reach_);
        const int last = std::min(shape.rows, row + reach_ + 1);
        for (int column = strip.columns.first; column < strip.columns.last; ++column) {
          double sum = 0;
          for (int r = first; r < last; ++r) sum += sample_of(capture, r, column);
          set_sample(linear, row, column - strip.columns.first, sum / (last - first));
        }
      }
    }
  }
  int review(const Strip& strip) override {
    CHECK(strip.index == reviewed_++);
    CHECK(reviewed_ == 1 || strip.finished.first == finished_);
    finished_ = strip.finished.last;
    // Beside what tiles stored the base planes show.
    for (int row = strip.finished.first; row < strip.finished.last; ++row) {
      for (int column = 0; column < frame_.shape.columns; ++column) {
        if (column == strip.finished_columns.first) column = strip.finished_columns.last;
        if (column >= frame_.shape.columns) break;
        const double one = frame_.shape.type == SampleType::kUint8 ? 1.0 / 255 : 1e-6;
        CHECK(std::abs(sample_of(strip.restored[0], row, column) -
                       std::clamp(sample_of(strip.linear[0], row, column), one > 1e-3 ? 0.0 : -9.0,
                                  one > 1e-3 ? 1.0 : 9.0)) <= one);
      }
    }
    return 2;
  }

  int reviewed() const { return reviewed_; }
  int finished() const { return finished_; }

 private:
  Frame& frame_;
  int reach_;
  int restored_ = 0;  // the strip at work
  int made_ = 0;      // its columns
  int reviewed_ = 0;
  int finished_ = 0;
};

// Local: the mean over a square of half-width `halo`, always summed in the same order, so that
// tiles must agree to the last bit wherever they are cut.
class BoxEngine final : public Engine {
 public:
  BoxEngine(int bands, int rows, int columns, int halo)
      : spec_{"box", "f32", bands, bands, rows, columns, {halo, halo}, true, 0.0F} {}
  const EngineSpec& spec() const noexcept override { return spec_; }
  void infer(const float* input, float* output) override {
    const int h = spec_.halo.rows;
    const auto at = [&](int b, int r, int c) {
      return static_cast<std::size_t>((b * spec_.tile_rows + r) * spec_.tile_columns + c);
    };
    const auto share = 1.0F / static_cast<float>((2 * h + 1) * (2 * h + 1));
    for (int b = 0; b < spec_.input_planes; ++b) {
      for (int r = 0; r < spec_.tile_rows; ++r) {
        for (int c = 0; c < spec_.tile_columns; ++c) {
          const bool inside =
              r >= h && r < spec_.tile_rows - h && c >= h && c < spec_.tile_columns - h;
          float sum = 0;
          for (int i = -h; inside && i <= h; ++i) {
            for (int j = -h; j <= h; ++j) sum += input[at(b, r + i, c + j)];
          }
          output[at(b, r, c)] = inside ? sum * share : std::numeric_limits<float>::quiet_NaN();
        }
      }
    }
  }

 private:
  EngineSpec spec_;
};

inline std::vector<int> first_planes(int count, int first = 0) {
  std::vector<int> out(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) out[static_cast<std::size_t>(i)] = first + i;
  return out;
}

// How a frame is cut; the rest of a plan follows from the parts.
struct Cut {
  int overlap = 0;
  int multiple_of = 1;
  std::vector<int> inputs;
  int strip_height = 1 << 20;
  int group_width = 1 << 20;
  bool drop_memory = false;
  std::optional<Rect> region = {};
};

inline FramePlan plan_of(const FrameShape& shape, const Engine& engine, const Cut& cut,
                         const RowMeanStage* stage) {
  const EngineSpec& spec = engine.spec();
  FramePlan plan{.tiles = TilePlan(shape.rows, shape.columns,
                                   {.rows = spec.tile_rows,
                                    .columns = spec.tile_columns,
                                    .overlap = spec.local ? 0 : cut.overlap,
                                    .halo = spec.halo,
                                    .multiple_of = cut.multiple_of,
                                    .may_shrink = false},
                                   cut.region),
                 .bands = shape.bands,
                 .type = shape.type,
                 .output_bands = spec.output_bands,
                 .inputs = cut.inputs,
                 .linear_planes = stage != nullptr ? shape.bands : 0,
                 .constants = {},
                 .strip_height = cut.strip_height,
                 .group_width = cut.group_width,
                 .margin_rows = stage != nullptr ? stage->reach() : 0,
                 .scratch_bytes = 0,
                 .drop_memory = cut.drop_memory};
  if (stage != nullptr) plan.scratch_bytes = static_cast<std::size_t>(plan.window_rows()) * 100;
  plan.check();
  return plan;
}

// Runs with a pool of exactly the planned bytes, and looks at the counters.
inline PipelineReport run_planned(Frame& in, Frame& out, Engine& engine, RowMeanStage* stage,
                                  Executor& executor, const Cut& cut) {
  const FramePlan plan = plan_of(in.shape, engine, cut, stage);
  BufferPool pool({.bytes = plan.pool_bytes(), .anonymous = true});
  ArraySource source(in.view());
  const Rect region = plan.tiles.region();
  ArraySink sink(out.view(), region.top, region.left);
  double last = -1;
  const PipelineReport report =
      run_pipeline(source, sink, engine, stage, pool, executor, plan, [&](double fraction) {
        CHECK(fraction >= last && fraction <= 1.0);
        last = fraction;
        return true;
      });
  CHECK(last == 1.0);
  const PoolStatistics statistics = pool.statistics();
  CHECK(statistics.leases == 0 && statistics.in_use == 0);
  CHECK(statistics.refused == 0);
  CHECK(report.planned_bytes <= pool.capacity());  // which is rounded up to pages
  CHECK(statistics.high_water <= report.planned_bytes);
  for (const std::size_t phase :
       {plan.linear_phase_bytes(), plan.tile_phase_bytes(), plan.review_phase_bytes()}) {
    CHECK(phase > 0 && phase <= plan.pool_bytes());
  }
  return report;
}

}  // namespace pipeline_parts
