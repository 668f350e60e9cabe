// Transfer functions and gains on the grid of a plane's spectrum.
#pragma once

#include <span>
#include <vector>

#include "linear/passes.h"
#include "linear/sizes.h"
#include "threads/executor.h"

namespace imagine_deblur::linear {

// Highest radial frequency of an image, cycles/px.
inline constexpr double kHighest = 0.70710678118654752;

// A transfer function: a table over radial frequency, or numbers laid out as the spectrum is.
class Otf {
 public:
  // Of a PSF without direction: `table` holds H at evenly spaced radial frequencies from 0 to
  // kHighest, at least two; linear in between.
  static Otf radial(std::span<const float> table);
  // Of any PSF: `values` hold the half plane of a real transform, padded_rows x frequencies, row
  // after row; real, or complex with real and imaginary parts side by side.
  static Otf half_plane(const PlaneSizes& sizes, std::span<const float> values, bool complex,
                        Executor& executor);

  OtfLayout layout() const noexcept { return layout_; }
  // Of one block, or the table.
  const float* block(int index) const noexcept {
    return values_.data() + static_cast<std::size_t>(index) * block_floats_;
  }
  std::span<float> values() noexcept { return values_; }
  int entries() const noexcept { return static_cast<int>(values_.size()); }

  // Bytes that one from a half plane takes.
  static std::size_t bytes(const PlaneSizes& sizes, bool complex) noexcept;

 private:
  Otf(OtfLayout layout, std::size_t block_floats, std::size_t floats)
      : layout_(layout), block_floats_(block_floats), values_(floats) {}

  OtfLayout layout_;
  std::size_t block_floats_;
  std::vector<float> values_;
};

// Tables hold `entries` numbers at evenly spaced radial frequencies from 0 to kHighest. Borrowed.
struct Gain {
  GainKind kind = GainKind::kOtf;
  float nsr = 0;  // kWiener: noise-to-signal power ratio at Nyquist's frequency
  const float* added = nullptr;
  const float* scale = nullptr;
  const float* noise = nullptr;
  int entries = 0;
};

// The gain on each block, times `factor`. Borrows all it is given.
GainOf gain_of(const PlaneSizes& sizes, const Otf& otf, const Gain& gain, float factor);

}  // namespace imagine_deblur::linear
