// The streaming pipeline: equal to the whole frame for every cut.
#include <cstddef>
#include <memory>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "engine/identity_engine.h"
#include "memory/buffer_pool.h"
#include "pipeline/streaming_pipeline.h"
#include "pipeline_parts.h"
#include "support.h"
#include "threads/executor.h"
#include "threads/pinned_pool.h"

using namespace imagine_deblur;
using namespace pipeline_parts;

namespace {

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
  const auto size = [&] {
    return sizes[static_cast<std::size_t>(pick(random, 0, static_cast<int>(sizes.size()) - 1))];
  };
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

// Strips and groups of any size, and any region, give what one strip gives, bit for bit, with a
// stage that looks `reach` rows around and an engine that looks `halo` around.
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
  planned_bytes_grow_with_the_strip();
  constants_are_inputs();
  a_colour_engine_restores_grey_frames();
  return 0;
}
