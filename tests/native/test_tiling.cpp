// Gather, store and blend: known answers first, then properties over many random frames.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "check.h"
#include "support.h"
#include "tiling/blender.h"
#include "tiling/gather.h"
#include "tiling/reflect.h"
#include "tiling/tile_plan.h"
#include "tiling/window.h"
#include "tiling_cases.h"

using namespace imagine_deblur;
using namespace tiling_cases;
using test_support::aborts;

namespace {

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
      const std::size_t at =
          static_cast<std::size_t>(r) * plane.stride + static_cast<std::size_t>(c);
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
        const auto from = static_cast<std::size_t>((r - tile.read.top) * plan.tile_columns() + c -
                                                   tile.read.left);
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
  const std::array<float, 10> values{-1.0F, -kInfinity,    kNan,          kInfinity,
                                     7.5F,  0.49F / 255.F, 0.51F / 255.F, 254.6F / 255.F,
                                     1.0F,  -0.0F};
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

}  // namespace

int main() {
  test_samples_survive_the_round_trip();
  test_stores_round_half_up_and_cut();
  test_misuse_ends_the_program();
  Random random(20260101);
  for (int i = 0; i < 600; ++i) {
    const Case made = random_case(random);
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
