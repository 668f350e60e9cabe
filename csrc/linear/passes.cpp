#include "linear/passes.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "memory/assertion.h"

namespace imagine_deblur::linear {

using fft::kElement;
using fft::kLines;

// What a pass read and wrote.
class Passes::Sums {
 public:
  void read(std::uint64_t sum) noexcept { read_.fetch_add(sum, std::memory_order_relaxed); }
  void wrote(std::uint64_t sum) noexcept { wrote_.fetch_add(sum, std::memory_order_relaxed); }

  void compare(const Spectrum& source) const {
    if (read_.load() != source.written) {
      throw Error(ErrorKind::kIntegrity, "a spectrum changed in memory between two passes");
    }
  }
  std::uint64_t written() const noexcept { return wrote_.load(); }

 private:
  std::atomic<std::uint64_t> read_{0};
  std::atomic<std::uint64_t> wrote_{0};
};

Passes::Passes(const PlaneSizes& sizes, Executor& executor, std::span<std::byte> scratch,
               bool checked, AfterBlock after_block)
    : sizes_(sizes),
      samples_(sample_kernels()),
      executor_(executor),
      checked_(checked),
      after_block_(std::move(after_block)) {
  ensure(scratch.size() >= sizes.scratch_bytes(), "too little scratch");
  float* const memory = static_cast<float*>(static_cast<void*>(scratch.data()));
  whole_ = {memory, sizes.size().padded_rows};
  part_ = {memory + sizes.spectrum_floats(whole_.rows), sizes.size().rows};
  const std::size_t floats =
      static_cast<std::size_t>(executor.worker_count()) * sizes.worker_floats();
  workers_.reset(
      static_cast<float*>(::operator new[](floats * sizeof(float), std::align_val_t{64})));
}

float* Passes::memory_of(int worker) const noexcept {
  return workers_.get() + static_cast<std::size_t>(worker) * sizes_.worker_floats();
}

float Passes::unit() const noexcept {
  const double samples = static_cast<double>(sizes_.size().padded_rows) *
                         static_cast<double>(sizes_.size().padded_columns);
  return static_cast<float>(1.0 / samples);
}

void Passes::forward_rows(const LoadRows& load, Spectrum& target) {
  const fft::Kernels& kernels = sizes_.kernels();
  const Extension& along = sizes_.row_axis();
  const int rows = sizes_.size().rows;
  const int columns = sizes_.size().columns;
  const std::ptrdiff_t stride = sizes_.size().padded_columns;
  const int blocks = sizes_.blocks();
  Sums sums;
  executor_.parallel_for((rows + kLines - 1) / kLines, [&](int group, int worker) {
    const int first = group * kLines;
    const int count = std::min(kLines, rows - first);
    float* const lanes = memory_of(worker);
    float* const lines = lanes + stride * kLines;
    for (int r = count; r < kLines; ++r) std::fill_n(lines + r * stride, columns, 0.0F);
    load(first, count, lines, stride);
    kernels.to_lanes(lines, stride, columns, lanes);
    for (std::size_t i = 0; i < along.fade.size(); ++i) {
      samples_.blend(lanes + std::ptrdiff_t{along.ahead[i]} * kLines,
                     lanes + std::ptrdiff_t{along.behind[i]} * kLines, along.fade[i], kLines,
                     lanes + (std::ptrdiff_t{columns} + static_cast<std::ptrdiff_t>(i)) * kLines);
    }
    kernels.forward(sizes_.row_view(), lanes);
    std::uint64_t wrote = 0;
    const std::size_t floats = static_cast<std::size_t>(count) * kElement;
    for (int block = 0; block < blocks; ++block) {
      float* const to = target.block(block) + std::ptrdiff_t{first} * kElement;
      if (count == kLines) {
        kernels.unpack(sizes_.row_view(), lanes, block * kLines, to);
      } else {
        kernels.unpack(sizes_.row_view(), lanes, block * kLines, lines);
        std::copy_n(lines, floats, to);
      }
      if (checked_) wrote += samples_.sum(to, floats);
    }
    sums.wrote(wrote);
    done();
  });
  target.written = sums.written();
}

namespace {

// Continues a block's columns: rows that follow the plane's.
void extend(const Extension& axis, const SampleKernels& samples, float* data) {
  for (std::size_t i = 0; i < axis.fade.size(); ++i) {
    samples.blend(
        data + std::ptrdiff_t{axis.ahead[i]} * kElement,
        data + std::ptrdiff_t{axis.behind[i]} * kElement, axis.fade[i], kElement,
        data + (std::ptrdiff_t{axis.samples} + static_cast<std::ptrdiff_t>(i)) * kElement);
  }
}

}  // namespace

void Passes::forward_columns() {
  const std::size_t plane = static_cast<std::size_t>(sizes_.size().rows) * kElement;
  const std::size_t all = static_cast<std::size_t>(sizes_.size().padded_rows) * kElement;
  Sums sums;
  executor_.parallel_for(sizes_.blocks(), [&](int block, int worker) {
    float* const data = checked_ ? memory_of(worker) : whole_.block(block);
    if (checked_) sums.read(samples_.copy_summed(whole_.block(block), plane, data));
    extend(sizes_.column_axis(), samples_, data);
    sizes_.kernels().forward(sizes_.column_view(), data);
    if (checked_) sums.wrote(samples_.copy_summed(data, all, whole_.block(block)));
    done();
  });
  if (checked_) sums.compare(whole_);
  whole_.written = sums.written();
}

void Passes::filter_whole(const GainOf& gain) {
  const std::size_t plane = static_cast<std::size_t>(sizes_.size().rows) * kElement;
  const std::size_t all = static_cast<std::size_t>(sizes_.size().padded_rows) * kElement;
  Sums sums;
  executor_.parallel_for(sizes_.blocks(), [&](int block, int worker) {
    float* const data = memory_of(worker);
    sums.read(samples_.copy_summed(whole_.block(block), all, data));
    samples_.multiply(gain(block), sizes_.column_view(), data);
    sizes_.kernels().inverse(sizes_.column_view(), data);
    sums.wrote(samples_.copy_summed(data, plane, part_.block(block)));
    done();
  });
  if (checked_) sums.compare(whole_);
  part_.written = sums.written();
}

void Passes::filter_part(const GainOf& gain) {
  const std::size_t plane = static_cast<std::size_t>(sizes_.size().rows) * kElement;
  Sums sums;
  executor_.parallel_for(sizes_.blocks(), [&](int block, int worker) {
    float* const data = memory_of(worker);
    sums.read(samples_.copy_summed(part_.block(block), plane, data));
    extend(sizes_.column_axis(), samples_, data);
    sizes_.kernels().forward(sizes_.column_view(), data);
    samples_.multiply(gain(block), sizes_.column_view(), data);
    sizes_.kernels().inverse(sizes_.column_view(), data);
    sums.wrote(samples_.copy_summed(data, plane, part_.block(block)));
    done();
  });
  if (checked_) sums.compare(part_);
  part_.written = sums.written();
}

void Passes::inverse_rows(const StoreRows& store) {
  const fft::Kernels& kernels = sizes_.kernels();
  const int rows = sizes_.size().rows;
  const int columns = sizes_.size().columns;
  const std::ptrdiff_t stride = sizes_.size().padded_columns;
  Sums sums;
  executor_.parallel_for((rows + kLines - 1) / kLines, [&](int group, int worker) {
    const int first = group * kLines;
    const int count = std::min(kLines, rows - first);
    float* const lanes = memory_of(worker);
    float* const lines = lanes + stride * kLines;  // the spectrum in order, then the rows
    for (int block = 0; block < sizes_.blocks(); ++block) {
      kernels.exchange(part_.block(block) + std::ptrdiff_t{first} * kElement,
                       lines + std::ptrdiff_t{block} * kLines * kElement);
    }
    kernels.pack(sizes_.row_view(), lines, lanes);
    if (checked_) {
      // After it was used: no moment is left unwatched.
      std::uint64_t read = 0;
      for (int block = 0; block < sizes_.blocks(); ++block) {
        read += samples_.sum(part_.block(block) + std::ptrdiff_t{first} * kElement,
                             static_cast<std::size_t>(count) * kElement);
      }
      sums.read(read);
    }
    kernels.inverse(sizes_.row_view(), lanes);
    kernels.from_lanes(lines, stride, columns, lanes);
    store(first, count, lines, stride);
    done();
  });
  if (checked_) sums.compare(part_);
}

}  // namespace imagine_deblur::linear
