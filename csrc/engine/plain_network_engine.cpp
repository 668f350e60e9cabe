#include "engine/plain_network_engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "base/error.h"

namespace imagine_deblur {
namespace {

using winograd::After;
using winograd::Cells;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::kEngine, "plain network: " + what, {.field = "winograd"});
}

void check(const PlainNetworkOptions& o) {
  if (o.unshuffle < 1 || o.tile_rows < 1 || o.tile_columns < 1 || o.tile_rows % o.unshuffle != 0 ||
      o.tile_columns % o.unshuffle != 0) {
    refuse("the tile is " + std::to_string(o.tile_rows) + "x" + std::to_string(o.tile_columns) +
           ", expected multiples of " + std::to_string(o.unshuffle));
  }
  if (o.output_bands < 1 || o.base_plane < 0 || o.output_bands > o.input_planes - o.base_plane) {
    refuse("the base planes are not among the input planes");
  }
  if (o.layers.size() < 2 || o.layers.size() % 2 != 0) {
    refuse(std::to_string(o.layers.size()) + " layers, expected a head, pairs and a tail");
  }
  const int cell = o.unshuffle * o.unshuffle;
  int inputs = o.input_planes * cell;
  const int width = o.layers.front().outputs;
  for (std::size_t k = 0; k < o.layers.size(); ++k) {
    const PlainLayer& layer = o.layers[k];
    const int outputs = k + 1 == o.layers.size() ? o.output_bands * cell : width;
    const std::size_t weights =
        9 * static_cast<std::size_t>(inputs) * static_cast<std::size_t>(outputs);
    if (layer.inputs != inputs || layer.outputs != outputs || layer.weights.size() != weights ||
        layer.bias.size() != static_cast<std::size_t>(outputs)) {
      refuse("layer " + std::to_string(k) + " does not take " + std::to_string(inputs) +
             " channels and make " + std::to_string(outputs));
    }
    inputs = width;
  }
}

const PlainNetworkOptions& checked(const PlainNetworkOptions& options) {
  check(options);
  return options;
}

}  // namespace

PlainNetworkEngine::PlainNetworkEngine(const PlainNetworkOptions& o,
                                       std::shared_ptr<Executor> workers)
    : spec_{.name = "winograd",
            .precision = "f32",
            .input_planes = checked(o).input_planes,
            .output_bands = o.output_bands,
            .tile_rows = o.tile_rows,
            .tile_columns = o.tile_columns,
            .halo = o.halo,
            .local = o.local,
            .input_offset = o.input_offset},
      unshuffle_(o.unshuffle),
      base_plane_(o.base_plane),
      base_offset_(o.base_offset),
      kernels_(winograd::best_kernels()),
      workers_(std::move(workers)),
      rows_(o.tile_rows / o.unshuffle),
      columns_(o.tile_columns / o.unshuffle),
      channels_(0) {
  std::size_t scratch = 0;
  for (const PlainLayer& layer : o.layers) {
    layers_.emplace_back(layer.weights.data(), layer.bias.data(), layer.inputs, layer.outputs);
    channels_ =
        std::max({channels_, winograd::padded(layer.inputs), winograd::padded(layer.outputs)});
    scratch = std::max(scratch, winograd::scratch_floats(layer.inputs, layer.outputs));
  }
  const Cells shape = cells(features_);
  const int tile_rows = (rows_ + winograd::kTile - 1) / winograd::kTile;
  const std::size_t floats = static_cast<std::size_t>(shape.row_stride) *
                             static_cast<std::size_t>(tile_rows * winograd::kTile + 2);
  features_ = Buffer(floats);
  hidden_ = Buffer(floats);
  for (int worker = 0; worker < workers_->worker_count(); ++worker) scratch_.emplace_back(scratch);
}

PlainNetworkEngine::Buffer::Buffer(std::size_t floats) : bytes_(floats * sizeof(float)) {
  void* const memory =
      ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<float*>(memory);
}

PlainNetworkEngine::Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

void PlainNetworkEngine::Buffer::forget() noexcept {
  if (data_ != nullptr) ::madvise(data_, bytes_, MADV_DONTNEED);
}

void PlainNetworkEngine::rest() noexcept {
  features_.forget();
  hidden_.forget();
}

Cells PlainNetworkEngine::cells(const Buffer& buffer) const {
  const int across = (columns_ + winograd::kTile - 1) / winograd::kTile * winograd::kTile + 2;
  Cells c{.data = nullptr,
          .stride = channels_,
          .row_stride = std::ptrdiff_t{channels_} * across,
          .rows = rows_,
          .columns = columns_};
  if (buffer.get() != nullptr) c.data = buffer.get() + c.row_stride + c.stride;
  return c;
}

// Space to depth, one row of cells into `hidden_`.
void PlainNetworkEngine::read_cells(const float* input, int row) const {
  const std::size_t width = static_cast<std::size_t>(spec_.tile_columns);
  const std::size_t plane = static_cast<std::size_t>(spec_.tile_rows) * width;
  const std::size_t step = static_cast<std::size_t>(unshuffle_);
  const Cells target = cells(hidden_);
  const std::size_t stride = static_cast<std::size_t>(target.stride);
  float* const first = target.at(row, 0);
  std::size_t channel = 0;
  for (std::size_t dy = 0; dy < step; ++dy) {
    for (std::size_t dx = 0; dx < step; ++dx) {
      const float* source = input + (static_cast<std::size_t>(row) * step + dy) * width + dx;
      for (int p = 0; p < spec_.input_planes; ++p, ++channel, source += plane) {
        float* out = first + channel;
        for (std::size_t x = 0; x < static_cast<std::size_t>(columns_); ++x) {
          out[x * stride] = source[x * step];
        }
      }
    }
  }
}

// Depth to space of the tiles [first, last) in `hidden_`, added to the base planes.
void PlainNetworkEngine::write_pixels(const float* input, float* output, int first,
                                      int last) const {
  const Cells source = cells(hidden_);
  const int across = source.tile_columns();
  const std::ptrdiff_t width = spec_.tile_columns;
  const std::ptrdiff_t plane = std::ptrdiff_t{spec_.tile_rows} * width;
  const float* const base = input + base_plane_ * plane;
  for (int t = first; t < last; ++t) {
    const int top = t / across * winograd::kTile;
    const int left = t % across * winograd::kTile;
    const int bottom = std::min(top + winograd::kTile, rows_);
    const int right = std::min(left + winograd::kTile, columns_);
    for (int row = top; row < bottom; ++row) {
      int channel = 0;
      for (int band = 0; band < spec_.output_bands; ++band) {
        for (int dy = 0; dy < unshuffle_; ++dy) {
          for (int dx = 0; dx < unshuffle_; ++dx, ++channel) {
            const std::ptrdiff_t line =
                band * plane + (std::ptrdiff_t{row} * unshuffle_ + dy) * width + dx;
            for (int column = left; column < right; ++column) {
              const std::ptrdiff_t at = line + std::ptrdiff_t{column} * unshuffle_;
              output[at] = base[at] + base_offset_ + source.at(row, column)[channel];
            }
          }
        }
      }
    }
  }
}

template <class Also>
void PlainNetworkEngine::run_layer(std::size_t layer, const Cells& input, const Cells& output,
                                   After after, const Also& also) {
  const winograd::Layer view = layers_[layer].view();
  const int tiles = input.tiles();
  const int blocks = (tiles + winograd::kBlock - 1) / winograd::kBlock;
  workers_->parallel_for(blocks, [&](int block, int worker) {
    const int first = block * winograd::kBlock;
    const int last = std::min(first + winograd::kBlock, tiles);
    kernels_.convolve(view, input, output, after, first, last,
                      scratch_[static_cast<std::size_t>(worker)].get());
    also(first, last);
  });
}

void PlainNetworkEngine::infer(const float* input, float* output) {
  const Cells features = cells(features_);
  const Cells hidden = cells(hidden_);
  const auto nothing = [](int, int) {};
  workers_->parallel_for(rows_, [&](int row, int) { read_cells(input, row); });
  run_layer(0, hidden, features, After::kRelu, nothing);
  for (std::size_t k = 1; k + 1 < layers_.size(); k += 2) {
    run_layer(k, features, hidden, After::kRelu, nothing);
    run_layer(k + 1, hidden, features, After::kAdd, nothing);
  }
  run_layer(layers_.size() - 1, features, hidden, After::kNothing,
            [&](int first, int last) { write_pixels(input, output, first, last); });
}

std::uint64_t PlainNetworkEngine::weights_sum() const noexcept {
  std::uint64_t total = std::bit_cast<std::uint32_t>(base_offset_);
  for (const winograd::OwnedLayer& layer : layers_) total += layer.sum();
  return total;
}

}  // namespace imagine_deblur
