// Tile plans, reflection and windows: known answers first, then properties over many random frames.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "support.h"
#include "tiling/reflect.h"
#include "tiling/tile_plan.h"
#include "tiling/window.h"
#include "tiling_cases.h"

using namespace imagine_deblur;
using namespace tiling_cases;

namespace {

void test_reflect_agrees_with_the_definition() {
  // numpy.pad(numpy.arange(4), 5, mode="reflect")
  const std::array<int, 14> expected{1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2};
  for (int i = -5; i < 9; ++i) CHECK(reflect(i, 4) == expected[static_cast<std::size_t>(i + 5)]);
  for (int i = -9; i < 9; ++i) CHECK(reflect(i, 1) == 0);
  for (int size = 1; size < 9; ++size) {
    for (int first = -30; first < 30; ++first) {
      for (int last = first + 1; last < first + 40; ++last) {
        int low = size;
        int high = 0;
        for (int i = first; i < last; ++i) {
          low = std::min(low, reflect(i, size));
          high = std::max(high, reflect(i, size) + 1);
        }
        CHECK((reflected_range({first, last}, size) == RowRange{low, high}));
      }
    }
  }
}

void test_plan_of_a_known_frame() {
  // 1536 rows in tiles of 256 with a halo of 16: cores of at most 224, so seven of 219 or 220.
  TileSpec spec;
  spec.halo = {16, 16};
  spec.multiple_of = 4;
  const TilePlan plan(1536, 2048, spec);
  CHECK(plan.grid_rows() == 7 && plan.grid_columns() == 10);
  CHECK(plan.tile_rows() == 252 && plan.tile_columns() == 240);
  CHECK((plan.tile(0, 0).core == Rect{0, 0, 216, 204}));
  CHECK((plan.tile(0, 0).read == Rect{-16, -16, 236, 224}));
  CHECK(plan.tile(6, 9).core.bottom == 1536 && plan.tile(6, 9).core.right == 2048);
  CHECK(!plan.blends());
  spec.may_shrink = false;
  const TilePlan fixed(1536, 2048, spec);
  CHECK(fixed.tile_rows() == 256 && fixed.tile_columns() == 256);
  CHECK(fixed.grid_rows() == 7);

  const TilePlan tiny(3, 8,
                      {.rows = 64,
                       .columns = 64,
                       .overlap = 8,
                       .halo = {4, 4},
                       .multiple_of = 4,
                       .may_shrink = true});
  CHECK(tiny.size() == 1 && tiny.tile_rows() == 12 && tiny.tile_columns() == 16);
  CHECK((tiny.tile(0).core == Rect{0, 0, 3, 8}) && tiny.overlap_rows() == 0);
}

void test_plan_refuses_what_cannot_work() {
  const auto make = [](TileSpec spec, int rows = 100, int columns = 100) {
    return TilePlan(rows, columns, spec);
  };
  CHECK_THROWS(make({}, 0, 5), ErrorKind::kOptions);
  CHECK_THROWS(make({}, 5, -1), ErrorKind::kOptions);
  CHECK_THROWS(make({.rows = 0}), ErrorKind::kOptions);
  CHECK_THROWS(make({.overlap = -1}), ErrorKind::kOptions);
  CHECK_THROWS(make({.halo = {-1, 0}}), ErrorKind::kOptions);
  CHECK_THROWS(make({.multiple_of = 0}), ErrorKind::kOptions);
  CHECK_THROWS(make({.rows = 30, .columns = 32, .multiple_of = 4}), ErrorKind::kOptions);
  CHECK_THROWS(make({.rows = 1 << 25, .columns = 1 << 25}), ErrorKind::kOptions);
  // Exactly one unit of core is left, then none.
  CHECK(make({.rows = 36, .columns = 36, .overlap = 8, .halo = {8, 8}, .multiple_of = 4})
            .tile(0)
            .core.rows() == 4);
  try {
    make({.rows = 64, .columns = 32, .overlap = 8, .halo = {8, 8}, .multiple_of = 4});
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kOptions);
    CHECK(error.context().field == "tile_columns");
  }
}

void check_axis(RowRange core, RowRange write, int read_first, int tile, int overlap, int halo,
                int unit, int frame) {
  CHECK(!core.empty());
  CHECK(core.first % unit == 0);
  CHECK(((read_first % unit) + unit) % unit == 0);
  CHECK(
      (write == RowRange{std::max(0, core.first - overlap), std::min(frame, core.last + overlap)}));
  CHECK(read_first <= write.first - halo && read_first + tile >= write.last + halo);
}

void check_plan(const Case& made) {
  const TileSpec& spec = made.spec;
  const TilePlan plan(made.rows, made.columns, spec);
  CHECK(plan.tile_rows() <= spec.rows && plan.tile_columns() <= spec.columns);
  CHECK(plan.tile_rows() % spec.multiple_of == 0 && plan.tile_columns() % spec.multiple_of == 0);
  if (!spec.may_shrink) {
    CHECK(plan.tile_rows() == spec.rows && plan.tile_columns() == spec.columns);
  }
  CHECK(plan.overlap_rows() <= spec.overlap && plan.overlap_columns() <= spec.overlap);

  std::vector<int> owners(static_cast<std::size_t>(made.rows * made.columns), 0);
  std::vector<int> writers(owners.size(), 0);
  const auto count = [&made](std::vector<int>& seen, const Rect& rect) {
    CHECK((Rect{0, 0, made.rows, made.columns}.contains(rect)));
    for (int r = rect.top; r < rect.bottom; ++r) {
      for (int c = rect.left; c < rect.right; ++c) {
        ++seen[static_cast<std::size_t>(r * made.columns + c)];
      }
    }
  };
  int finished = 0;
  int low = std::numeric_limits<int>::max();
  int high = 0;
  for (int row = 0; row < plan.grid_rows(); ++row) {
    for (int column = 0; column < plan.grid_columns(); ++column) {
      const Tile tile = plan.tile(row, column);
      CHECK(tile.index == row * plan.grid_columns() + column);
      CHECK(plan.tile(tile.index).core == tile.core);
      CHECK(tile.read.rows() == plan.tile_rows() && tile.read.columns() == plan.tile_columns());
      check_axis({tile.core.top, tile.core.bottom}, {tile.write.top, tile.write.bottom},
                 tile.read.top, plan.tile_rows(), plan.overlap_rows(), spec.halo.rows,
                 spec.multiple_of, made.rows);
      check_axis({tile.core.left, tile.core.right}, {tile.write.left, tile.write.right},
                 tile.read.left, plan.tile_columns(), plan.overlap_columns(), spec.halo.columns,
                 spec.multiple_of, made.columns);
      count(owners, tile.core);
      count(writers, tile.write);
    }
    CHECK(plan.finished_rows(row).first == finished);
    finished = plan.finished_rows(row).last;
    CHECK(finished <= plan.write_rows(row).last);
    if (row + 1 < plan.grid_rows()) {
      low = std::min(low, plan.core_rows(row).size());
      high = std::max(high, plan.core_rows(row).size());
    }

    // Everything gather can ask for, and nothing else, is in source_rows.
    RowRange seen{made.rows, 0};
    for (int r = plan.tile(row, 0).read.top; r < plan.tile(row, 0).read.bottom; ++r) {
      seen.first = std::min(seen.first, reflect(r, made.rows));
      seen.last = std::max(seen.last, reflect(r, made.rows) + 1);
    }
    CHECK(plan.source_rows(row) == seen);
    const RowRange writing = plan.tile_rows_writing(plan.core_rows(row));
    CHECK(writing.first <= row && writing.last > row);
  }
  CHECK(finished == made.rows);
  if (high > 0) CHECK(high - low <= spec.multiple_of);
  CHECK(std::ranges::all_of(owners, [](int n) { return n == 1; }));
  CHECK(std::ranges::all_of(writers, [](int n) { return n >= 1 && n <= 4; }));

  CHECK(plan.gatherable(made.rows) == plan.grid_rows());
  CHECK(plan.first_row_needed(plan.grid_rows()) == made.rows);
  for (int available = 0; available <= made.rows; ++available) {
    const int ready = plan.gatherable(available);
    for (int row = 0; row < ready; ++row) CHECK(plan.source_rows(row).last <= available);
    if (ready < plan.grid_rows()) CHECK(plan.source_rows(ready).last > available);
  }
  for (int row = 0; row < plan.grid_rows(); ++row) {
    for (int later = row; later < plan.grid_rows(); ++later) {
      CHECK(plan.first_row_needed(row) <= plan.source_rows(later).first);
    }
  }
}

void check_windows(const Case& made) {
  const TilePlan plan(made.rows, made.columns, made.spec);
  const BlendWindow window(plan);
  std::vector<float> sum(static_cast<std::size_t>(made.rows), 0.0F);
  for (int i = 0; i < plan.grid_rows(); ++i) {
    CHECK(std::ssize(window.rows(i)) == plan.write_rows(i).size());
    auto at = sum.begin() + plan.write_rows(i).first;
    for (const float weight : window.rows(i)) {
      CHECK(weight > 0.0F && weight <= 1.0F);
      *at++ += weight;
    }
  }
  CHECK(std::ranges::all_of(sum, [](float total) { return total == 1.0F; }));
  sum.assign(static_cast<std::size_t>(made.columns), 0.0F);
  for (int i = 0; i < plan.grid_columns(); ++i) {
    CHECK(std::ssize(window.columns(i)) == plan.write_columns(i).size());
    auto at = sum.begin() + plan.write_columns(i).first;
    for (const float weight : window.columns(i)) *at++ += weight;
  }
  CHECK(std::ranges::all_of(sum, [](float total) { return total == 1.0F; }));
}

void test_ramp_is_a_raised_cosine() {
  CHECK(raised_cosine_ramp(0).empty());
  CHECK((raised_cosine_ramp(1).size() == 2));
  for (const int overlap : {1, 2, 3, 7, 16, 61, 500}) {
    const std::vector<float> ramp = raised_cosine_ramp(overlap);
    for (std::size_t k = 0; k < ramp.size(); ++k) {
      const double angle = M_PI * (static_cast<double>(k) + 0.5) / (2.0 * overlap);
      CHECK(std::abs(static_cast<double>(ramp[k]) - (0.5 - 0.5 * std::cos(angle))) < 1e-7);
      CHECK(ramp[k] + ramp[ramp.size() - 1 - k] == 1.0F);
      CHECK(1.0F - ramp[k] == ramp[ramp.size() - 1 - k]);
      if (k > 0) CHECK(ramp[k] > ramp[k - 1]);
    }
  }
}

void test_overlap_is_lowered_where_cores_are_small() {
  // 33 columns, cores of at most 8: five cores of 6 or 7, so 3 px around each seam.
  const TilePlan plan(33, 33,
                      {.rows = 32,
                       .columns = 32,
                       .overlap = 12,
                       .halo = {},
                       .multiple_of = 1,
                       .may_shrink = false});
  CHECK(plan.grid_rows() == 5);
  CHECK(plan.overlap_rows() == 3 && plan.overlap_columns() == 3);
  CHECK(plan.blends());
}

}  // namespace

int main() {
  test_reflect_agrees_with_the_definition();
  test_plan_of_a_known_frame();
  test_plan_refuses_what_cannot_work();
  test_ramp_is_a_raised_cosine();
  test_overlap_is_lowered_where_cores_are_small();
  Random random(20260101);
  for (int i = 0; i < 600; ++i) {
    const Case made = random_case(random);
    check_plan(made);
    check_windows(made);
  }
  return 0;
}
