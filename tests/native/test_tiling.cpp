// Tile plan, windows, gather, store and blend: known answers first, then properties over many
// seeded random frames, tiles, overlaps and halos.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "tiling/blender.h"
#include "tiling/gather.h"
#include "tiling/reflect.h"
#include "tiling/tile_plan.h"
#include "tiling/window.h"

using namespace imagine_deblur;

namespace {

using Random = std::mt19937;

int pick(Random& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

// `misuse` ends the program (in a child process) instead of returning.
template <typename Misuse>
bool aborts(Misuse misuse) {
  const pid_t child = fork();
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(2);
    misuse();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

// A plane that owns its samples, with some bytes of padding after each row.
template <typename Sample>
struct OwnedPlane {
  OwnedPlane(int frame_rows, int columns, SampleType type, int first_row = 0, int rows = -1)
      : stride(static_cast<std::size_t>(columns) + 3) {
    const int held = rows < 0 ? frame_rows : rows;
    samples.assign(stride * static_cast<std::size_t>(held), Sample{});
    window = {{samples.data(), type, held, columns,
               static_cast<std::ptrdiff_t>(stride * sizeof(Sample))},
              first_row,
              frame_rows,
              0,
              columns};
  }
  Sample& at(int row, int column) {
    return samples[static_cast<std::size_t>(row - window.first_row) * stride +
                   static_cast<std::size_t>(column)];
  }

  std::size_t stride;
  std::vector<Sample> samples;
  PlaneWindow window;
};

const std::array<int, 14> kAwkwardSizes{1, 2, 3, 5, 7, 8, 13, 31, 32, 33, 63, 64, 65, 127};

struct Case {
  int rows;
  int columns;
  TileSpec spec;
};

// A frame and a tile that leave room for a core. Small frames, so that many fit in a second.
Case random_case(Random& random) {
  Case made;
  const auto size = [&random] {
    const bool awkward = pick(random, 0, 1) == 0;
    return awkward ? kAwkwardSizes[static_cast<std::size_t>(pick(random, 0, 13))]
                   : pick(random, 1, 150);
  };
  TileSpec& spec = made.spec;
  spec.multiple_of = std::array{1, 1, 2, 4, 8}[static_cast<std::size_t>(pick(random, 0, 4))];
  spec.overlap = pick(random, 0, 2) == 0 ? 0 : pick(random, 0, 12);
  spec.halo = {pick(random, 0, 9), pick(random, 0, 9)};
  spec.may_shrink = pick(random, 0, 1) == 0;
  const auto tile = [&](int halo) {
    const int m = spec.multiple_of;
    const int margin = (spec.overlap + halo + m - 1) / m * m;
    return 2 * margin + m * pick(random, 1, 48 / m);
  };
  spec.rows = tile(spec.halo.rows);
  spec.columns = tile(spec.halo.columns);
  made.rows = size();
  made.columns = size();
  if (pick(random, 0, 4) == 0) made.rows = std::max(1, spec.rows + pick(random, -1, 1));
  if (pick(random, 0, 4) == 0) made.columns = std::max(1, spec.columns + pick(random, -1, 1));
  return made;
}

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

  const TilePlan tiny(3, 8, {.rows = 64, .columns = 64, .overlap = 8, .halo = {4, 4},
                             .multiple_of = 4, .may_shrink = true});
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
            .tile(0).core.rows() == 4);
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
  CHECK((write == RowRange{std::max(0, core.first - overlap),
                           std::min(frame, core.last + overlap)}));
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

// Every sample under a read is the sample that reflection shows, for each type, and from a window
// of rows as from the whole plane.
template <typename Sample>
void check_gather(Random& random, const Case& made, SampleType type, double scale) {
  const TilePlan plan(made.rows, made.columns, made.spec);
  OwnedPlane<Sample> whole(made.rows, made.columns, type);
  for (Sample& sample : whole.samples) sample = static_cast<Sample>(pick(random, 0, 255));
  const float offset = pick(random, 0, 1) == 0 ? 0.0F : 0.5F;
  const std::size_t area = static_cast<std::size_t>(plan.tile_rows() * plan.tile_columns());
  for (int index = 0; index < plan.size(); ++index) {
    const Tile tile = plan.tile(index);
    const RowRange source = plan.source_rows(tile.tile_row);
    OwnedPlane<Sample> strip(made.rows, made.columns, type, source.first, source.size());
    for (int r = source.first; r < source.last; ++r) {
      for (int c = 0; c < made.columns; ++c) strip.at(r, c) = whole.at(r, c);
    }
    std::vector<float> chw(2 * area);
    const std::array inputs{TileInput{whole.window, offset}, TileInput{strip.window, 0.0F}};
    gather_tile(inputs, tile.read, chw.data());
    const float* value = chw.data();
    for (const float subtracted : {offset, 0.0F}) {
      for (int r = tile.read.top; r < tile.read.bottom; ++r) {
        for (int c = tile.read.left; c < tile.read.right; ++c) {
          const Sample sample = whole.at(reflect(r, made.rows), reflect(c, made.columns));
          const auto expected =
              static_cast<float>(static_cast<double>(sample) / scale) - subtracted;
          CHECK(*value++ == expected);
        }
      }
    }
  }
}

// Exact mode: gather, hand the tile on unchanged, store. Bytes in, the same bytes out.
void check_exact_identity(Random& random, const Case& made) {
  const TilePlan plan(made.rows, made.columns, made.spec);
  OwnedPlane<std::uint8_t> bytes(made.rows, made.columns, SampleType::kUint8);
  for (auto& sample : bytes.samples) sample = static_cast<std::uint8_t>(pick(random, 0, 255));
  OwnedPlane<float> floats(made.rows, made.columns, SampleType::kFloat32);
  for (auto& sample : floats.samples) {
    sample = 0.001F * static_cast<float>(pick(random, -900, 1900));
  }
  OwnedPlane<std::int16_t> fixed(made.rows, made.columns, SampleType::kFixed16);
  for (auto& sample : fixed.samples) {
    sample = static_cast<std::int16_t>(pick(random, -32768, 32767));
  }

  OwnedPlane<std::uint8_t> bytes_out(made.rows, made.columns, SampleType::kUint8);
  OwnedPlane<float> floats_out(made.rows, made.columns, SampleType::kFloat32);
  OwnedPlane<std::int16_t> fixed_out(made.rows, made.columns, SampleType::kFixed16);
  const std::array inputs{TileInput{bytes.window}, TileInput{floats.window},
                          TileInput{fixed.window}};
  const std::array outputs{bytes_out.window, floats_out.window, fixed_out.window};
  std::vector<float> chw(static_cast<std::size_t>(3 * plan.tile_rows() * plan.tile_columns()));
  for (int index = 0; index < plan.size(); ++index) {
    const Tile tile = plan.tile(index);
    gather_tile(inputs, tile.read, chw.data());
    store_core(chw.data(), tile, outputs);
  }
  for (int r = 0; r < made.rows; ++r) {
    for (int c = 0; c < made.columns; ++c) {
      CHECK(bytes_out.at(r, c) == bytes.at(r, c));
      CHECK(floats_out.at(r, c) == floats.at(r, c));
      CHECK(fixed_out.at(r, c) == fixed.at(r, c));
    }
    CHECK(bytes_out.at(r, made.columns) == 0);  // nothing after the last column
  }
}

// What a network would do to a tile: depends on the tile, so that blending has something to blend.
void disturb(std::vector<float>& chw, int index, float strength) {
  for (std::size_t i = 0; i < chw.size(); ++i) {
    chw[i] += strength * std::sin(static_cast<float>(i % 97) + static_cast<float>(index));
  }
}

// Blend the tiles of a float plane and of a byte plane, adding the tiles of each row in `order`.
struct Blended {
  std::vector<float> floats;
  std::vector<std::uint8_t> bytes;
};
Blended blend(const TilePlan& plan, const PlaneWindow& plane, float strength, Random* shuffle) {
  OwnedPlane<float> floats(plan.frame_rows(), plan.frame_columns(), SampleType::kFloat32);
  OwnedPlane<std::uint8_t> bytes(plan.frame_rows(), plan.frame_columns(), SampleType::kUint8);
  std::vector<float> memory(RowBlender::memory_floats(plan, 2),
                            std::numeric_limits<float>::quiet_NaN());
  RowBlender blender(plan, 2, memory);
  const std::array inputs{TileInput{plane}, TileInput{plane}};
  const std::array outputs{floats.window, bytes.window};
  std::vector<float> chw(static_cast<std::size_t>(2 * plan.tile_rows() * plan.tile_columns()));
  std::vector<int> order(static_cast<std::size_t>(plan.grid_columns()));
  for (int row = 0; row < plan.grid_rows(); ++row) {
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
    if (shuffle != nullptr) std::ranges::shuffle(order, *shuffle);
    for (const int column : order) {
      const Tile tile = plan.tile(row, column);
      gather_tile(inputs, tile.read, chw.data());
      disturb(chw, tile.index, strength);
      blender.add(tile, chw.data());
    }
    CHECK(blender.current_tile_row() == row);
    CHECK(blender.finish_row(outputs) == plan.finished_rows(row));
  }
  return {floats.samples, bytes.samples};
}

void check_blend(Random& random, const Case& made) {
  const TilePlan plan(made.rows, made.columns, made.spec);
  OwnedPlane<std::uint8_t> plane(made.rows, made.columns, SampleType::kUint8);
  for (auto& sample : plane.samples) sample = static_cast<std::uint8_t>(pick(random, 0, 255));
  const Blended same = blend(plan, plane.window, 0.0F, nullptr);
  for (int r = 0; r < made.rows; ++r) {
    for (int c = 0; c < made.columns; ++c) {
      const std::size_t at = static_cast<std::size_t>(r) * plane.stride +
                             static_cast<std::size_t>(c);
      CHECK(std::abs(same.floats[at] - static_cast<float>(plane.at(r, c)) / 255.0F) < 1e-6F);
      CHECK(same.bytes[at] == plane.at(r, c));
    }
  }

  const Blended ordered = blend(plan, plane.window, 0.3F, nullptr);
  const Blended shuffled = blend(plan, plane.window, 0.3F, &random);
  CHECK(ordered.floats == shuffled.floats && ordered.bytes == shuffled.bytes);

  // Against the obvious: every pixel as the sum of weight * value over the tiles that write it.
  const BlendWindow window(plan);
  std::vector<double> expected(plane.samples.size(), 0.0);
  std::vector<float> chw(static_cast<std::size_t>(2 * plan.tile_rows() * plan.tile_columns()));
  const std::array inputs{TileInput{plane.window}, TileInput{plane.window}};
  for (int index = 0; index < plan.size(); ++index) {
    const Tile tile = plan.tile(index);
    gather_tile(inputs, tile.read, chw.data());
    disturb(chw, index, 0.3F);
    for (int r = tile.write.top; r < tile.write.bottom; ++r) {
      for (int c = tile.write.left; c < tile.write.right; ++c) {
        const float weight =
            window.rows(tile.tile_row)[static_cast<std::size_t>(r - tile.write.top)] *
            window.columns(tile.tile_column)[static_cast<std::size_t>(c - tile.write.left)];
        const auto from = static_cast<std::size_t>((r - tile.read.top) * plan.tile_columns() +
                                                   c - tile.read.left);
        expected[static_cast<std::size_t>(r) * plane.stride + static_cast<std::size_t>(c)] +=
            static_cast<double>(weight) * static_cast<double>(chw[from]);
      }
    }
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(std::abs(static_cast<double>(ordered.floats[i]) - expected[i]) < 1e-6);
  }
}

void test_samples_survive_the_round_trip() {
  std::array<float, 256> values{};
  for (int v = 0; v < 256; ++v) {
    OwnedPlane<std::int16_t> fixed(1, 1, SampleType::kFixed16);
    OwnedPlane<std::uint8_t> byte(1, 1, SampleType::kUint8);
    byte.at(0, 0) = static_cast<std::uint8_t>(v);
    float value = 0.0F;
    gather_plane({byte.window}, {0, 0, 1, 1}, &value, 1);
    CHECK(value == static_cast<float>(v) / 255.0F);
    values[static_cast<std::size_t>(v)] = value;
    store_samples(&value, 1, SampleType::kFixed16, fixed.window.frame_row(0), 0);
    float through_fixed = 0.0F;
    gather_plane({fixed.window}, {0, 0, 1, 1}, &through_fixed, 1);
    store_samples(&through_fixed, 1, SampleType::kUint8, byte.window.frame_row(0), 0);
    CHECK(byte.at(0, 0) == v);
    // With an offset taken off and put back by the engine.
    gather_plane({byte.window, 0.5F}, {0, 0, 1, 1}, &value, 1);
    value += 0.5F;
    store_samples(&value, 1, SampleType::kUint8, byte.window.frame_row(0), 0);
    CHECK(byte.at(0, 0) == v);
  }
  std::array<std::uint8_t, 256> bytes{};
  std::array<std::byte, 256> row{};
  store_samples(values.data(), 256, SampleType::kUint8, row.data(), 0);
  std::memcpy(bytes.data(), row.data(), bytes.size());
  for (int v = 0; v < 256; ++v) CHECK(bytes[static_cast<std::size_t>(v)] == v);
}

void test_stores_round_half_up_and_cut() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const std::array<float, 10> values{-1.0F,         -kInfinity,    kNan,          kInfinity, 7.5F,
                                     0.49F / 255.F, 0.51F / 255.F, 254.6F / 255.F, 1.0F,     -0.0F};
  const std::array<int, 10> bytes{0, 0, 0, 255, 255, 0, 1, 255, 255, 0};
  const std::array<int, 10> fixed{-4096, -32768, 0, 32767, 30720, 8, 8, 4090, 4096, 0};
  std::array<std::uint8_t, 12> byte_row{};
  std::array<std::int16_t, 12> fixed_row{};
  store_samples(values.data(), 10, SampleType::kUint8, reinterpret_cast<std::byte*>(&byte_row), 1);
  store_samples(values.data(), 10, SampleType::kFixed16, reinterpret_cast<std::byte*>(&fixed_row),
                1);
  for (std::size_t i = 0; i < 10; ++i) {
    CHECK(byte_row[i + 1] == bytes[i]);
    CHECK(fixed_row[i + 1] == fixed[i]);
  }
  CHECK(byte_row[0] == 0 && byte_row[11] == 0 && fixed_row[0] == 0 && fixed_row[11] == 0);
  // A half: 0.5 / 255 * 255 is exactly one half in float32.
  const float half = 0.5F / 255.0F;
  if (half * 255.0F == 0.5F) {
    store_samples(&half, 1, SampleType::kUint8, reinterpret_cast<std::byte*>(&byte_row), 0);
    CHECK(byte_row[0] == 1);
  }
}

void test_misuse_ends_the_program() {
  OwnedPlane<float> strip(100, 10, SampleType::kFloat32, 40, 20);
  std::array<float, 10> out{};
  gather_plane({strip.window}, {40, 0, 41, 10}, out.data(), 10);
  gather_plane({strip.window}, {59, 0, 60, 10}, out.data(), 10);
  CHECK(aborts([&] { gather_plane({strip.window}, {39, 0, 40, 10}, out.data(), 10); }));
  CHECK(aborts([&] { gather_plane({strip.window}, {60, 0, 61, 10}, out.data(), 10); }));
  CHECK(!aborts([&] { gather_plane({strip.window}, {40, 0, 41, 10}, out.data(), 10); }));

  const TilePlan plan(40, 40, {.rows = 32, .columns = 32, .overlap = 4, .halo = {}});
  std::vector<float> memory(RowBlender::memory_floats(plan, 1));
  std::vector<float> chw(32 * 32);
  RowBlender blender(plan, 1, memory);
  OwnedPlane<float> plane(40, 40, SampleType::kFloat32);
  const std::array outputs{plane.window};
  blender.add(plan.tile(0, 0), chw.data());
  CHECK(aborts([&] { blender.add(plan.tile(0, 0), chw.data()); }));
  CHECK(aborts([&] { blender.add(plan.tile(1, 1), chw.data()); }));
  CHECK(aborts([&] { blender.finish_row(outputs); }));
  CHECK(aborts([&] { RowBlender(plan, 1, std::span(memory).first(memory.size() - 1)); }));
}

void test_overlap_is_lowered_where_cores_are_small() {
  // 33 columns, cores of at most 8: five cores of 6 or 7, so 3 px around each seam.
  const TilePlan plan(33, 33, {.rows = 32, .columns = 32, .overlap = 12, .halo = {},
                               .multiple_of = 1, .may_shrink = false});
  CHECK(plan.grid_rows() == 5);
  CHECK(plan.overlap_rows() == 3 && plan.overlap_columns() == 3);
  CHECK(plan.blends());
}

}  // namespace

int main() {
  test_reflect_agrees_with_the_definition();
  test_plan_of_a_known_frame();
  test_plan_refuses_what_cannot_work();
  test_overlap_is_lowered_where_cores_are_small();
  test_ramp_is_a_raised_cosine();
  test_samples_survive_the_round_trip();
  test_stores_round_half_up_and_cut();
  test_misuse_ends_the_program();
  Random random(20260101);
  for (int i = 0; i < 600; ++i) {
    const Case made = random_case(random);
    check_plan(made);
    check_windows(made);
    if (i % 4 == 0) {
      check_gather<std::uint8_t>(random, made, SampleType::kUint8, 255.0);
      check_gather<std::int16_t>(random, made, SampleType::kFixed16, 4096.0);
      check_gather<float>(random, made, SampleType::kFloat32, 1.0);
    }
    check_exact_identity(random, made);
    if (i % 2 == 0) check_blend(random, made);
  }
  return 0;
}
