// A Python callable as an engine. Driven from the thread that runs the pipeline, so no worker waits
// for the interpreter lock.
#pragma once

#include <pybind11/numpy.h>

#include <utility>

#include "engine/engine.h"

namespace imagine_deblur {

// Calls `function(input, output)` with float32 arrays of (planes, rows, columns) and
// (bands, rows, columns), valid during the call only. Takes the lock for each tile.
class CallableEngine final : public Engine {
 public:
  CallableEngine(pybind11::object function, EngineSpec spec)
      : function_(std::move(function)), spec_(std::move(spec)) {}

  const EngineSpec& spec() const noexcept override { return spec_; }

  void infer(const float* input, float* output) override {
    const pybind11::gil_scoped_acquire lock;
    function_(view(input, spec_.input_planes, true), view(output, spec_.output_bands, false));
  }

 private:
  pybind11::array view(const float* data, int planes, bool read_only) const {
    // A base object makes numpy borrow instead of copy.
    pybind11::array array(pybind11::dtype::of<float>(),
                          {planes, spec_.tile_rows, spec_.tile_columns}, data, pybind11::none());
    if (read_only) array.attr("flags").attr("writeable") = false;
    return array;
  }

  pybind11::object function_;
  EngineSpec spec_;
};

}  // namespace imagine_deblur
