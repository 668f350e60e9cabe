// Lifting dark rims: what is lifted is what the rule says, sample by sample, in every kind of part,
// at every border, for both sample types; threads and their order change no bit.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.h"
#include "linear/rims.h"
#include "threads/executor.h"

using namespace imagine_deblur;
using namespace imagine_deblur::linear;

namespace {

constexpr int kReach = 6;
constexpr float kLumaOf[3] = {0.299F, 0.587F, 0.114F};

// A dark ground with bright spots; the restored picture has deep gaps beside them.
std::uint8_t shown(int row, int column, int band) {
  const int across = (column % 61) - 30;
  const int down = (row % 47) - 23;
  const int distance = across * across + down * down;
  const int ground = 60 + (row * 7 + column * 13) % 9 + band;
  // Ranges from 55 to 160 grey levels, since the rule changes from 50 to 100.
  const int spot = 120 + (row / 47 + column / 61) % 4 * 35;
  return static_cast<std::uint8_t>(distance < 12 ? spot : ground);
}

std::uint8_t made(int row, int column, int band) {
  const int across = (column % 61) - 30;
  const int down = (row % 47) - 23;
  const int distance = across * across + down * down;
  if (distance < 12) return 240;
  return static_cast<std::uint8_t>(distance < 40 ? 20 + band : shown(row, column, band));
}

template <typename T>
struct Picture {
  int rows;
  int columns;
  int bands;
  std::vector<T> samples;

  T& at(int row, int column, int band) {
    return samples[static_cast<std::size_t>((band * rows + row) * columns + column)];
  }
  std::vector<PlaneView> planes() {
    std::vector<PlaneView> out;
    for (int band = 0; band < bands; ++band) {
      out.push_back({&at(0, 0, band), sizeof(T) == 1 ? SampleType::kUint8 : SampleType::kFloat32,
                     rows, columns, static_cast<std::ptrdiff_t>(sizeof(T)) * columns});
    }
    return out;
  }
};

template <typename T>
float value(T sample) {
  return sizeof(T) == 1 ? static_cast<float>(sample) / 255.0F : static_cast<float>(sample);
}

template <typename T>
float luma(Picture<T>& picture, int row, int column) {
  row = std::clamp(row, 0, picture.rows - 1);
  column = std::clamp(column, 0, picture.columns - 1);
  if (picture.bands == 1) return value(picture.at(row, column, 0));
  float sum = 0;
  for (int band = 0; band < 3; ++band) sum += kLumaOf[band] * value(picture.at(row, column, band));
  return sum;
}

// The rule of linear/rims.h, written down once more.
template <typename T>
float lift_of(Picture<T>& capture, int row, int column, float restored) {
  float low = 2;
  float high = -1;
  double mean = 0;  // 169 sums in float would be off by more than what is tested
  for (int down = -kReach; down <= kReach; ++down) {
    for (int across = -kReach; across <= kReach; ++across) {
      const float sample = luma(capture, row + down, column + across);
      low = std::min(low, sample);
      high = std::max(high, sample);
      mean += static_cast<double>(sample) / 169.0;
    }
  }
  const float range = high - low;
  const float seen = std::clamp((range * 255.0F - 25.0F) / 25.0F, 0.0F, 1.0F);
  const float bright = std::clamp((range * 255.0F - 50.0F) / 50.0F, 0.0F, 1.0F);
  const float limit = 0.35F + 0.1F * bright;  // where it has faded out
  const float share = static_cast<float>(mean - static_cast<double>(low)) / range;
  const float dark = std::clamp((limit - share) / 0.1F, 0.0F, 1.0F);
  const float depth = 0.03F - 0.01F * bright;
  return seen * dark * std::max(low - depth * range - restored, 0.0F);
}

template <typename T>
void check_rule(int rows, int columns, int bands, int first_row, int part_rows, int first_column,
                int last_column) {
  const float one = sizeof(T) == 1 ? 1.0F : 1.0F / 255.0F;
  Picture<T> capture{rows, columns, bands, std::vector<T>(std::size_t(rows * columns * bands))};
  Picture<T> before{part_rows, columns, bands,
                    std::vector<T>(std::size_t(part_rows * columns * bands))};
  for (int band = 0; band < bands; ++band) {
    for (int c = 0; c < columns; ++c) {
      for (int r = 0; r < rows; ++r) {
        capture.at(r, c, band) = static_cast<T>(static_cast<float>(shown(r, c, band)) * one);
      }
      for (int r = 0; r < part_rows; ++r) {
        before.at(r, c, band) =
            static_cast<T>(static_cast<float>(made(first_row + r, c, band)) * one);
      }
    }
  }
  Picture<T> after = before;
  SerialExecutor serial;
  lift_rims(serial, capture.planes(), after.planes(), first_row, first_column, last_column);
  int lifted = 0;
  for (int r = 0; r < part_rows; ++r) {
    for (int c = 0; c < columns; ++c) {
      const bool inside = c >= first_column && c < last_column;
      const float lift = inside ? lift_of(capture, first_row + r, c, luma(before, r, c)) : 0.0F;
      for (int band = 0; band < bands; ++band) {
        const float wanted = value(before.at(r, c, band)) + lift;
        const float error = std::fabs(value(after.at(r, c, band)) - wanted);
        CHECK(error <= (sizeof(T) == 1 ? 0.51F / 255.0F : 1e-6F));
        if (lift == 0.0F) CHECK(after.at(r, c, band) == before.at(r, c, band));
      }
      if (lift > 0.0F) ++lifted;
    }
  }
  CHECK(lifted > 20);

  Picture<T> shuffled = before;
  ShuffledExecutor threads(3, 5);
  lift_rims(threads, capture.planes(), shuffled.planes(), first_row, first_column, last_column);
  CHECK(shuffled.samples == after.samples);
}

// Where nothing is undershot, no bit changes.
void check_silence() {
  Picture<std::uint8_t> capture{40, 50, 1, std::vector<std::uint8_t>(2000, 90)};
  capture.at(20, 20, 0) = 250;
  Picture<std::uint8_t> same = capture;
  SerialExecutor serial;
  lift_rims(serial, capture.planes(), same.planes(), 0, 0, 50);
  CHECK(same.samples == capture.samples);
}

}  // namespace

int main() {
  check_rule<std::uint8_t>(70, 150, 3, 0, 70, 0, 150);
  check_rule<std::uint8_t>(230, 1100, 1, 9, 210, 30, 1090);  // several shares of workers
  check_rule<float>(70, 131, 3, 20, 40, 1, 131);
  check_rule<float>(40, 80, 1, 0, 40, 0, 80);
  check_silence();
  return 0;
}
