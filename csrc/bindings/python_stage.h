// A Python object as the linear stage. Called from the thread that runs the pipeline only.
#pragma once

#include <pybind11/numpy.h>

#include <utility>

#include "bindings/array_view.h"
#include "pipeline/linear_stage.h"

namespace imagine_deblur {

// What Python sees of a strip; its arrays keep `owner` (the pool) alive, their content is the
// stage's during the call only.
struct StripView {
  Strip strip;
  pybind11::object owner;

  pybind11::list planes(std::span<const PlaneWindow> windows) const {
    pybind11::list out;
    for (const PlaneWindow& window : windows) out.append(plane_array(window.view, owner));
    return out;
  }
};

class PythonStage final : public LinearStage {
 public:
  PythonStage(pybind11::object stage, pybind11::object owner)
      : stage_(std::move(stage)), owner_(std::move(owner)) {}

  void restore(const Strip& strip) override {
    const pybind11::gil_scoped_acquire lock;
    stage_.attr("restore")(StripView{strip, owner_});
  }
  int review(const Strip& strip) override {
    const pybind11::gil_scoped_acquire lock;
    return stage_.attr("review")(StripView{strip, owner_}).cast<int>();
  }

 private:
  pybind11::object stage_;
  pybind11::object owner_;
};

}  // namespace imagine_deblur
