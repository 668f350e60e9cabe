// Views of samples somebody else owns. A plane is one band: rows x columns samples of one type.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagine_deblur {

// How a sample is stored. kFixed16 is a signed 16-bit fixed-point number with 1.0 = 4096, range
// [-8, 8): enough for ringing Wiener planes, a sixteenth of an 8-bit step fine.
enum class SampleType { kUint8, kFixed16, kFloat32 };

inline constexpr float kFixed16One = 4096.0F;

constexpr std::size_t sample_bytes(SampleType type) noexcept {
  switch (type) {
    case SampleType::kUint8:
      return 1;
    case SampleType::kFixed16:
      return 2;
    case SampleType::kFloat32:
      return 4;
  }
  return 0;
}

// One band; `row_stride` in bytes. Does not own.
struct PlaneView {
  void* data = nullptr;
  SampleType type = SampleType::kUint8;
  int rows = 0;
  int columns = 0;
  std::ptrdiff_t row_stride = 0;

  std::byte* row(int r) const noexcept {
    return static_cast<std::byte*>(data) + static_cast<std::ptrdiff_t>(r) * row_stride;
  }
  std::byte* sample(int r, int column) const noexcept {
    return row(r) + static_cast<std::size_t>(column) * sample_bytes(type);
  }
};

}  // namespace imagine_deblur
