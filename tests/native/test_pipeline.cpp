// The streaming pipeline: equal to the whole frame for every cut, and clean when a part fails.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "engine/identity_engine.h"
#include "memory/buffer_pool.h"
#include "pipeline/streaming_pipeline.h"
#include "threads/executor.h"
#include "threads/pinned_pool.h"

using namespace imagine_deblur;

namespace {

using Random = std::mt19937;

int pick(Random& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

// An interleaved frame that owns its samples, with padding after each row.
struct Frame {
  explicit Frame(const FrameShape& frame_shape)
      : shape(frame_shape),
        stride(static_cast<std::size_t>(shape.columns) * static_cast<std::size_t>(shape.bands) *
                   sample_bytes(shape.type) +
               4),
        bytes(stride * static_cast<std::size_t>(shape.rows), std::byte{0xA5}) {}

  InterleavedView view() {
    return {bytes.data(), static_cast<std::ptrdiff_t>(stride), shape};
  }
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

double sample_of(const PlaneWindow& plane, int row, int column) {
  const std::byte* at = plane.frame_row(row) + static_cast<std::ptrdiff_t>(column) *
                                                   static_cast<std::ptrdiff_t>(
                                                       sample_bytes(plane.view.type));
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

void set_sample(const PlaneWindow& plane, int row, int column, double value) {
  std::byte* at = plane.frame_row(row) + static_cast<std::ptrdiff_t>(column) *
                                             static_cast<std::ptrdiff_t>(
                                                 sample_bytes(plane.view.type));
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
            linear.view.columns == strip.columns.size() &&
            linear.frame_columns == shape.columns);
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
          const bool inside = r >= h && r < spec_.tile_rows - h && c >= h &&
                              c < spec_.tile_columns - h;
          float sum = 0;
          for (int i = -h; inside && i <= h; ++i) {
            for (int j = -h; j <= h; ++j) sum += input[at(b, r + i, c + j)];
          }
          output[at(b, r, c)] =
              inside ? sum * share : std::numeric_limits<float>::quiet_NaN();
        }
      }
    }
  }

 private:
  EngineSpec spec_;
};

std::vector<int> first_planes(int count, int first = 0) {
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

FramePlan plan_of(const FrameShape& shape, const Engine& engine, const Cut& cut,
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
PipelineReport run_planned(Frame& in, Frame& out, Engine& engine, RowMeanStage* stage,
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
  for (const std::size_t phase : {plan.linear_phase_bytes(), plan.tile_phase_bytes(),
                                  plan.review_phase_bytes()}) {
    CHECK(phase > 0 && phase <= plan.pool_bytes());
  }
  return report;
}

std::unique_ptr<Executor> random_executor(Random& random) {
  switch (pick(random, 0, 2)) {
    case 0:
      return std::make_unique<SerialExecutor>();
    case 1:
      return std::make_unique<ShuffledExecutor>(pick(random, 1, 4), random());
    default:
      return std::make_unique<PinnedPool>(
          PinnedPoolOptions{.threads = pick(random, 1, 3), .pin = false});
  }
}

struct Case {
  FrameShape shape;
  int tile_rows;
  int tile_columns;
  int halo;
  int overlap;
  int multiple_of;
};

Case random_case(Random& random) {
  const std::vector<int> sizes{1, 2, 3, 7, 8, 13, 31, 32, 33, 53, 64, 65, 97};
  const auto size = [&] { return sizes[static_cast<std::size_t>(
                              pick(random, 0, static_cast<int>(sizes.size()) - 1))]; };
  Case made;
  made.shape = {size(), size(), pick(random, 0, 1) == 0 ? 1 : 3,
                pick(random, 0, 1) == 0 ? SampleType::kUint8 : SampleType::kFloat32};
  made.multiple_of = 1 << pick(random, 0, 2);
  made.halo = pick(random, 0, 5);
  made.overlap = pick(random, 0, 6);
  const int least = 2 * (made.halo + made.overlap + made.multiple_of) + 2 * made.multiple_of;
  const auto tile = [&] {
    const int side = least + pick(random, 0, 24);
    return side + (made.multiple_of - side % made.multiple_of) % made.multiple_of;
  };
  made.tile_rows = tile();
  made.tile_columns = tile();
  return made;
}

void identity_is_exact() {
  Random random(1);
  int strips = 0;
  for (int i = 0; i < 120; ++i) {
    const Case c = random_case(random);
    Frame in(c.shape);
    Frame out(c.shape);
    in.fill(random);
    const bool over_stage = pick(random, 0, 1) == 1;
    RowMeanStage stage(in, 0);
    IdentityEngine engine({.input_planes = c.shape.bands,
                           .output_bands = c.shape.bands,
                           .tile_rows = c.tile_rows,
                           .tile_columns = c.tile_columns,
                           .halo = {c.halo, c.halo}});
    const Cut cut{.multiple_of = c.multiple_of,
                  .inputs = first_planes(c.shape.bands, over_stage ? c.shape.bands : 0),
                  .strip_height = pick(random, 1, 4),
                  .group_width = pick(random, 1, 4),
                  .drop_memory = pick(random, 0, 1) == 1};
    const auto executor = random_executor(random);
    const PipelineReport report =
        run_planned(in, out, engine, over_stage ? &stage : nullptr, *executor, cut);
    CHECK(in.distance(out) == 0.0);
    CHECK(report.replaced_blocks == (over_stage ? 2 * report.strips : 0));
    if (over_stage) CHECK(stage.finished() == c.shape.rows && stage.reviewed() == report.strips);
    strips += report.strips > 1 ? 1 : 0;
  }
  CHECK(strips > 10);  // the cases are worth their name
}

void identity_blends_to_rounding() {
  Random random(2);
  for (int i = 0; i < 80; ++i) {
    const Case c = random_case(random);
    Frame in(c.shape);
    Frame out(c.shape);
    in.fill(random);
    IdentityEngine engine({.input_planes = c.shape.bands,
                           .output_bands = c.shape.bands,
                           .tile_rows = c.tile_rows,
                           .tile_columns = c.tile_columns,
                           .halo = {c.halo, c.halo},
                           .local = false});
    const Cut cut{.overlap = c.overlap,
                  .multiple_of = c.multiple_of,
                  .inputs = first_planes(c.shape.bands),
                  .strip_height = pick(random, 1, 4)};
    const auto executor = random_executor(random);
    run_planned(in, out, engine, nullptr, *executor, cut);
    CHECK(in.distance(out) <= (c.shape.type == SampleType::kUint8 ? 0.0 : 1e-6));
  }
}

// Strips and groups of any size, and any region, give what one strip gives, bit for bit, with a stage
// that looks `reach` rows around and an engine that looks `halo` around.
void strips_and_tiles_equal_the_whole() {
  Random random(3);
  for (int i = 0; i < 60; ++i) {
    const Case c = random_case(random);
    Frame in(c.shape);
    Frame whole(c.shape);
    in.fill(random);
    const int reach = pick(random, 0, 20);
    SerialExecutor serial;
    const std::vector<int> inputs = first_planes(c.shape.bands, c.shape.bands);
    {
      RowMeanStage stage(in, reach);
      const auto side = [&](int length) {
        const int grown = length + 2 * c.halo + 2 * c.multiple_of;
        return grown + (c.multiple_of - grown % c.multiple_of) % c.multiple_of;
      };
      BoxEngine engine(c.shape.bands, side(c.shape.rows), side(c.shape.columns), c.halo);
      const PipelineReport report = run_planned(in, whole, engine, &stage, serial,
                                                {.multiple_of = c.multiple_of, .inputs = inputs});
      CHECK(report.tiles == 1 && report.strips == 1 && report.margin_rows == 0);
    }
    RowMeanStage stage(in, reach);
    BoxEngine engine(c.shape.bands, c.tile_rows, c.tile_columns, c.halo);
    const auto executor = random_executor(random);
    Cut how{.multiple_of = c.multiple_of,
            .inputs = inputs,
            .strip_height = pick(random, 1, 3),
            .group_width = pick(random, 1, 3),
            .drop_memory = pick(random, 0, 1) == 1};
    Rect region{0, 0, c.shape.rows, c.shape.columns};
    if (pick(random, 0, 1) == 1) {
      const auto part = [&](int size, int& first, int& last) {
        first = pick(random, 0, size - 1) / c.multiple_of * c.multiple_of;
        last = pick(random, first + 1, size);
      };
      part(c.shape.rows, region.top, region.bottom);
      part(c.shape.columns, region.left, region.right);
      how.region = region;
    }
    FrameShape shown = c.shape;
    shown.rows = region.rows();
    shown.columns = region.columns();
    Frame out(shown);
    const PipelineReport report = run_planned(in, out, engine, &stage, *executor, how);
    CHECK(report.margin_rows == (report.strips > 1 ? reach : 0));
    CHECK(stage.reviewed() == report.strips && stage.finished() == region.bottom);
    for (int r = 0; r < shown.rows; ++r) {
      for (int column = 0; column < shown.columns; ++column) {
        for (int b = 0; b < shown.bands; ++b) {
          CHECK(out.at(r, column, b) == whole.at(region.top + r, region.left + column, b));
        }
      }
    }
  }
}

// Everything that can break, breaking once.
struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class BrokenSource final : public FrameSource {
 public:
  BrokenSource(Frame& frame, int row) : inner_(frame.view()), row_(row) {}
  FrameShape shape() const override { return inner_.shape(); }
  void read(RowRange rows, std::span<const PlaneWindow> planes) override {
    if (rows.last > row_) throw Broken("source");
    inner_.read(rows, planes);
  }

 private:
  ArraySource inner_;
  int row_;
};

class BrokenSink final : public FrameSink {
 public:
  void write(RowRange rows, std::span<const PlaneWindow>) override {
    CHECK(rows.first == written_);
    if (rows.first > 0) throw Broken("sink");
    written_ = rows.last;
  }

 private:
  int written_ = 0;
};

class CountingSink final : public FrameSink {
 public:
  void write(RowRange rows, std::span<const PlaneWindow>) override { written = rows.last; }
  int written = 0;
};

class BrokenStage final : public LinearStage {
 public:
  BrokenStage(int restores, int reviews) : restores_(restores), reviews_(reviews) {}
  void restore(const Strip&) override {
    if (restores_-- == 0) throw Broken("restore");
  }
  int review(const Strip&) override {
    if (reviews_-- == 0) throw Broken("review");
    return 0;
  }

 private:
  int restores_;
  int reviews_;
};

class BrokenEngine final : public Engine {
 public:
  explicit BrokenEngine(int tiles)
      : tiles_(tiles), spec_{"broken", "f32", 1, 1, 16, 16, {0, 0}, true, 0.0F} {}
  const EngineSpec& spec() const noexcept override { return spec_; }
  void infer(const float* input, float* output) override {
    if (tiles_-- == 0) throw Error(ErrorKind::kEngine, "engine", {.field = "broken"});
    std::copy(input, input + 256, output);
  }

 private:
  int tiles_;
  EngineSpec spec_;
};

void failures_propagate_and_leave_nothing() {
  Random random(4);
  Frame frame({97, 41, 1, SampleType::kUint8});
  frame.fill(random);
  FramePlan plan = plan_of(
      frame.shape, BrokenEngine(0), {.inputs = {0}, .strip_height = 1, .drop_memory = true},
      nullptr);
  plan.margin_rows = 3;
  plan.scratch_bytes = 100'000;
  constexpr int kNever = 1'000'000;
  enum class What { kSource, kSink, kRestore, kReview, kEngine, kCancel, kCallback };
  for (const What what : {What::kSource, What::kSink, What::kRestore, What::kReview, What::kEngine,
                          What::kCancel, What::kCallback}) {
    BrokenEngine engine(what == What::kEngine ? 5 : kNever);
    BrokenStage stage(what == What::kRestore ? 1 : kNever, what == What::kReview ? 1 : kNever);
    BrokenSource source(frame, what == What::kSource ? 60 : kNever);
    BrokenSink broken_sink;
    CountingSink counting_sink;
    FrameSink& sink = what == What::kSink ? static_cast<FrameSink&>(broken_sink) : counting_sink;
    BufferPool pool({.bytes = plan.pool_bytes(), .anonymous = true});
    PinnedPool workers({.threads = 2, .pin = false});
    int calls = 0;
    const KeepGoing keep_going = [&](double) {
      ++calls;
      if (what == What::kCallback && calls == 6) throw Broken("callback");
      return what != What::kCancel || calls < 6;
    };
    std::string caught;
    try {
      run_pipeline(source, sink, engine, &stage, pool, workers, plan, keep_going);
    } catch (const Broken& error) {
      caught = error.what();
    } catch (const Error& error) {
      caught = error.kind() == ErrorKind::kEngine      ? "engine"
               : error.kind() == ErrorKind::kCancelled ? "cancelled"
                                                       : error.what();
    }
    const char* const expected[] = {"source", "sink",      "restore", "review",
                                    "engine", "cancelled", "callback"};
    CHECK(caught == expected[static_cast<int>(what)]);
    CHECK(counting_sink.written < 97);  // stopped before the last strip
    CHECK(pool.statistics().leases == 0 && pool.statistics().in_use == 0);
    if (what == What::kCancel || what == What::kCallback) CHECK(calls == 6);  // at once
    // The same parts serve the next frame.
    BrokenEngine sound(kNever);
    BrokenStage sound_stage(kNever, kNever);
    ArraySource again(frame.view());
    CountingSink whole;
    run_pipeline(again, whole, sound, &sound_stage, pool, workers, plan, nullptr);
    CHECK(whole.written == 97);
  }
}

void cancelling_before_the_first_tile() {
  Frame frame({40, 40, 1, SampleType::kUint8});
  BrokenEngine engine(0);  // would fail at once if it were reached
  BufferPool pool({.bytes = 1 << 20, .anonymous = true});
  SerialExecutor serial;
  ArraySource source(frame.view());
  CountingSink sink;
  const FramePlan plan = plan_of(frame.shape, engine, {.inputs = {0}}, nullptr);
  CHECK_THROWS(run_pipeline(source, sink, engine, nullptr, pool, serial, plan,
                            [](double) { return false; }),
               ErrorKind::kCancelled);
  CHECK(sink.written == 0);
}

void a_small_pool_is_refused_with_the_number_that_does() {
  Random random(5);
  Frame in({97, 300, 3, SampleType::kUint8});
  Frame out(in.shape);
  in.fill(random);
  RowMeanStage stage(in, 9);
  IdentityEngine engine({.tile_rows = 32, .tile_columns = 32, .halo = {}});
  SerialExecutor serial;
  const FramePlan plan =
      plan_of(in.shape, engine, {.inputs = {3, 4, 5}, .strip_height = 1}, &stage);
  std::int64_t wanted = 0;
  {
    BufferPool pool({.bytes = 40'000, .anonymous = true});
    ArraySource source(in.view());
    ArraySink sink(out.view());
    try {
      run_pipeline(source, sink, engine, &stage, pool, serial, plan, nullptr);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kMemoryBudget);
      CHECK(error.context().allowed < 45'000 && error.context().field == "max_ram");
      wanted = error.context().wanted;
    }
  }
  CHECK(wanted > 40'000);
  BufferPool pool({.bytes = static_cast<std::size_t>(wanted), .anonymous = true});
  ArraySource source(in.view());
  ArraySink sink(out.view());
  const PipelineReport report =
      run_pipeline(source, sink, engine, &stage, pool, serial, plan, nullptr);
  CHECK(report.strips == 4);
  CHECK(stage.finished() == 97);
}

void planned_bytes_grow_with_the_strip() {
  Frame frame({500, 200, 3, SampleType::kUint8});
  RowMeanStage stage(frame, 10);
  IdentityEngine engine({.tile_rows = 64, .tile_columns = 64, .halo = {}});
  const auto bytes = [&](int height) {
    return plan_of(frame.shape, engine, {.inputs = {0, 1, 2}, .strip_height = height}, &stage)
        .pool_bytes();
  };
  std::size_t before = 0;
  for (int height = 1; height <= 8; ++height) {
    CHECK(bytes(height) > before);
    before = bytes(height);
  }
  CHECK(bytes(99) == before);
  CHECK(bytes(-1) == bytes(1));
}

// Constants reach the engine as they are, and take no planes.
void constants_are_inputs() {
  Random random(7);
  Frame in({50, 60, 1, SampleType::kFloat32});
  Frame out(in.shape);
  in.fill(random);
  IdentityEngine engine({.input_planes = 2,
                         .output_bands = 1,
                         .first_plane = 1,
                         .tile_rows = 32,
                         .tile_columns = 32,
                         .halo = {}});
  FramePlan plan = plan_of(in.shape, engine, {.inputs = {0, 0}}, nullptr);
  const std::size_t bytes = plan.pool_bytes();
  plan.inputs = {0, 1};
  CHECK_THROWS(plan.check(), ErrorKind::kOptions);
  plan.constants = {0.375F};
  plan.check();
  CHECK(plan.pool_bytes() == bytes);
  BufferPool pool({.bytes = bytes, .anonymous = true});
  ArraySource source(in.view());
  ArraySink sink(out.view());
  SerialExecutor serial;
  run_pipeline(source, sink, engine, nullptr, pool, serial, plan, nullptr);
  for (int r = 0; r < 50; ++r) {
    for (int c = 0; c < 60; ++c) CHECK(out.at(r, c, 0) == 0.375);
  }
}

void plans_that_do_not_fit_are_refused() {
  const FrameShape colour{40, 40, 3, SampleType::kUint8};
  const FrameShape grey{40, 40, 1, SampleType::kUint8};
  IdentityEngine three({.tile_rows = 32, .tile_columns = 32, .halo = {}});
  IdentityEngine one({.input_planes = 1,
                      .output_bands = 1,
                      .tile_rows = 32,
                      .tile_columns = 32,
                      .halo = {}});
  CHECK_THROWS(plan_of(colour, three, {.inputs = {0, 1, 3}}, nullptr), ErrorKind::kOptions);
  CHECK_THROWS(plan_of(colour, three, {.inputs = {0, -1, 2}}, nullptr), ErrorKind::kOptions);
  CHECK_THROWS(plan_of(colour, one, {.inputs = {0}}, nullptr), ErrorKind::kOptions);
  CHECK(plan_of(grey, three, {.inputs = {0, 0, 0}}, nullptr).pool_bytes() > 0);
  const Cut part{.inputs = {0, 1, 2}, .region = Rect{0, 0, 20, 40}};
  IdentityEngine blended({.tile_rows = 32, .tile_columns = 32, .halo = {}, .local = false});
  Cut overlapping = part;
  overlapping.overlap = 4;
  CHECK_THROWS(plan_of(colour, blended, overlapping, nullptr), ErrorKind::kOptions);
  CHECK(plan_of(colour, three, part, nullptr).tiles.size() == 2);
  // The engine and the frame are those that were planned for.
  Frame frame(colour);
  ArraySource source(frame.view());
  ArraySink sink(frame.view());
  SerialExecutor serial;
  BufferPool pool({.bytes = 1 << 22, .anonymous = true});
  for (const FramePlan& plan :
       {plan_of(grey, three, {.inputs = {0, 0, 0}}, nullptr),
        plan_of({40, 41, 3, SampleType::kUint8}, three, {.inputs = {0, 1, 2}}, nullptr),
        plan_of(colour, three, {.inputs = {0, 1}}, nullptr)}) {
    CHECK_THROWS(run_pipeline(source, sink, three, nullptr, pool, serial, plan, nullptr),
                 ErrorKind::kOptions);
  }
}

// A grey frame through a colour engine: the mean of its bands, here of three times the same.
void a_colour_engine_restores_grey_frames() {
  Random random(6);
  Frame in({53, 37, 1, SampleType::kUint8});
  Frame out(in.shape);
  in.fill(random);
  for (const bool local : {true, false}) {
    IdentityEngine engine({.tile_rows = 32, .tile_columns = 32, .halo = {}, .local = local});
    SerialExecutor serial;
    run_planned(in, out, engine, nullptr, serial, {.overlap = 4, .inputs = {0, 0, 0}});
    CHECK(in.distance(out) == 0.0);
  }
}

}  // namespace

int main() {
  identity_is_exact();
  identity_blends_to_rounding();
  strips_and_tiles_equal_the_whole();
  failures_propagate_and_leave_nothing();
  cancelling_before_the_first_tile();
  a_small_pool_is_refused_with_the_number_that_does();
  planned_bytes_grow_with_the_strip();
  constants_are_inputs();
  plans_that_do_not_fit_are_refused();
  a_colour_engine_restores_grey_frames();
  return 0;
}
