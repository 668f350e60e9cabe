// The passes over a plane's spectrum: rows forward, columns, rows back.
//
// Rows are worked on sixteen at a time and columns a block at a time, whatever thread does it, so
// the result does not depend on how many there are.
//
// A checked pass sums a spectrum's words as it writes them and as the next one reads them: a bit
// that flips in memory in between would add one wave to the whole frame, and throws Error
// (kIntegrity). What is summed is what is used.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <span>

#include "linear/samples.h"
#include "linear/sizes.h"
#include "threads/executor.h"

namespace imagine_deblur::linear {

// A spectrum in scratch memory; every block holds `rows` rows.
struct Spectrum {
  float* data = nullptr;
  int rows = 0;
  std::uint64_t written = 0;  // the sum of its words, where passes are checked

  float* block(int index) const noexcept {
    return data + static_cast<std::ptrdiff_t>(index) * rows * fft::kElement;
  }
};

// Rows [first, first + count) of the plane, at most sixteen; `stride` floats from row to row.
using LoadRows = std::function<void(int first, int count, float* rows, std::ptrdiff_t stride)>;
using StoreRows = std::function<void(int first, int count, float* rows, std::ptrdiff_t stride)>;

// The gain on block `index`.
using GainOf = std::function<GainBlock(int index)>;

// For tests: called after each block of each pass, from the thread that worked on it.
using AfterBlock = std::function<void()>;

class Passes {
 public:
  // `scratch` holds sizes.scratch_bytes() bytes, aligned to 64. Everything is borrowed. Takes
  // memory of its own for the workers: about 200 bytes for each padded column and worker.
  Passes(const PlaneSizes& sizes, Executor& executor, std::span<std::byte> scratch, bool checked,
         AfterBlock after_block = {});

  // Room for all padded rows, and for the plane's rows.
  Spectrum& whole() noexcept { return whole_; }
  Spectrum& part() noexcept { return part_; }

  // Extends and transforms the rows of a plane.
  void forward_rows(const LoadRows& load, Spectrum& target);
  // Extends and transforms the columns of whole() in place, after forward_rows.
  void forward_columns();
  // part() = the columns of whole() times the gain, transformed back.
  void filter_whole(const GainOf& gain);
  // Extends and transforms the columns of part(), multiplies and transforms them back, in place.
  void filter_part(const GainOf& gain);
  // Transforms the rows of part() back.
  void inverse_rows(const StoreRows& store);

  // 1 over what a transform there and back multiplies by.
  float unit() const noexcept;

 private:
  class Sums;
  float* memory_of(int worker) const noexcept;
  void done() const {
    if (after_block_) after_block_();
  }

  const PlaneSizes& sizes_;
  const SampleKernels& samples_;
  Executor& executor_;
  bool checked_;
  AfterBlock after_block_;
  Spectrum whole_;
  Spectrum part_;
  struct Free {
    void operator()(float* p) const noexcept { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::unique_ptr<float[], Free> workers_;
};

}  // namespace imagine_deblur::linear
