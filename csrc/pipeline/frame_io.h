// Where frames come from and go to, a run of rows at a time and from the top.
#pragma once

#include <span>

#include "base/image_view.h"
#include "tiling/plane_window.h"
#include "tiling/tile_plan.h"

namespace imagine_deblur {

struct FrameShape {
  int rows = 0;
  int columns = 0;
  int bands = 0;                         // 1 or 3
  SampleType type = SampleType::kUint8;  // kUint8 or kFloat32
};

class FrameSource {
 public:
  virtual ~FrameSource() = default;
  virtual FrameShape shape() const = 0;
  // Delivers the next rows; `rows.first` is where the last call ended, or further down where the
  // rows between are not needed. One plane per band, the rows must be inside their windows.
  virtual void read(RowRange rows, std::span<const PlaneWindow> planes) = 0;
};

class FrameSink {
 public:
  virtual ~FrameSink() = default;
  // Takes the next rows, in order, of the frame's sample type.
  virtual void write(RowRange rows, std::span<const PlaneWindow> planes) = 0;
};

// A frame in memory, interleaved: rows x columns x bands samples, `row_stride` in bytes.
struct InterleavedView {
  void* data = nullptr;
  std::ptrdiff_t row_stride = 0;
  FrameShape shape;
};

// Copies one row between interleaved samples and planes; from `first_column` of the planes on, as
// many columns as `shape` has.
void deinterleave_row(const FrameShape& shape, const std::byte* samples, int frame_row,
                      std::span<const PlaneWindow> planes);
void interleave_row(const FrameShape& shape, int frame_row, int first_column,
                    std::span<const PlaneWindow> planes, std::byte* samples);

// Reads from an array somebody else owns.
class ArraySource final : public FrameSource {
 public:
  explicit ArraySource(const InterleavedView& view) : view_(view) {}
  FrameShape shape() const override { return view_.shape; }
  void read(RowRange rows, std::span<const PlaneWindow> planes) override;

 private:
  InterleavedView view_;
};

// Writes to an array somebody else owns, which shows the frame from a row and a column on; what
// lies outside it is left out.
class ArraySink final : public FrameSink {
 public:
  explicit ArraySink(const InterleavedView& view, int first_row = 0, int first_column = 0)
      : view_(view), first_row_(first_row), first_column_(first_column) {}
  void write(RowRange rows, std::span<const PlaneWindow> planes) override;

 private:
  InterleavedView view_;
  int first_row_;
  int first_column_;
};

}  // namespace imagine_deblur
