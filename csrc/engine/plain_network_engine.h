// The bundled networks' own engine: 3x3 convolutions by Winograd's method in this library, with no
// runtime beside it. It takes one kind of network, see imagine_deblur.train.network:
// space-to-depth, a head with a ReLU, residual pairs, a tail, depth-to-space, added to three planes
// of the input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/winograd.h"
#include "threads/executor.h"

namespace imagine_deblur {

// A 3x3 convolution with zero padding: weights (outputs, inputs, 3, 3).
struct PlainLayer {
  int inputs = 0;
  int outputs = 0;
  std::vector<float> weights;
  std::vector<float> bias;
};

struct PlainNetworkOptions {
  int input_planes = 0;
  int output_bands = 3;
  int tile_rows = 0;
  int tile_columns = 0;
  Halo halo;
  bool local = true;
  float input_offset = 0;
  int unshuffle = 1;      // side of the block of pixels that makes a cell
  int base_plane = 0;     // first of the input planes that the residual is added to
  float base_offset = 0;  // added with them
  // Head, then the two of each pair, then the tail. The head's inputs are ordered by the place in
  // the block first, then by plane; the tail's outputs by band first, then by the place.
  std::vector<PlainLayer> layers;
};

class PlainNetworkEngine final : public Engine {
 public:
  // Throws Error (kEngine) where layers, planes and tile do not fit together.
  // Every layer is shared out to `workers`, which may serve others between tiles.
  PlainNetworkEngine(const PlainNetworkOptions& options, std::shared_ptr<Executor> workers);

  const EngineSpec& spec() const noexcept override { return spec_; }
  int threads() const noexcept { return workers_->worker_count(); }
  const char* instructions() const noexcept { return kernels_.instructions; }

  void infer(const float* input, float* output) override;
  std::uint64_t weights_sum() const noexcept override;
  std::size_t working_bytes() const noexcept override {
    return features_.bytes() + hidden_.bytes();
  }
  void rest() noexcept override;

 private:
  // Zeros, aligned to a page; no memory is taken before it is written to.
  class Buffer {
   public:
    Buffer() = default;
    explicit Buffer(std::size_t floats);
    Buffer(Buffer&& other) noexcept { swap(other); }
    Buffer& operator=(Buffer&& other) noexcept {
      swap(other);
      return *this;
    }
    ~Buffer();
    float* get() const noexcept { return data_; }
    std::size_t bytes() const noexcept { return bytes_; }
    void forget() noexcept;  // zeros again, and no memory

   private:
    void swap(Buffer& other) noexcept {
      std::swap(data_, other.data_);
      std::swap(bytes_, other.bytes_);
    }
    float* data_ = nullptr;
    std::size_t bytes_ = 0;
  };

  winograd::Cells cells(const Buffer& buffer) const;
  void read_cells(const float* input, int row) const;
  void write_pixels(const float* input, float* output, int first, int last) const;
  template <class Also>
  void run_layer(std::size_t layer, const winograd::Cells& input, const winograd::Cells& output,
                 winograd::After after, const Also& also);

  EngineSpec spec_;
  int unshuffle_;
  int base_plane_;
  float base_offset_;
  winograd::Kernels kernels_;
  std::vector<winograd::OwnedLayer> layers_;
  std::shared_ptr<Executor> workers_;
  int rows_;  // of cells
  int columns_;
  int channels_;  // floats of a cell
  Buffer features_;
  Buffer hidden_;
  std::vector<Buffer> scratch_;  // one a worker
};

}  // namespace imagine_deblur
