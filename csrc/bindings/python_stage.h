// A Python object as the linear stage. Called from the thread that runs the pipeline only.
#pragma once

#include <pybind11/numpy.h>

#include <map>
#include <optional>
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

  // What the plan asks for is asked of Python once.
  int plane_count(int bands) const override {
    if (!planes_) {
      const pybind11::gil_scoped_acquire lock;
      planes_ = stage_.attr("plane_count")(bands).cast<int>();
    }
    return *planes_;
  }
  int margin_rows() const override {
    if (!margin_) {
      const pybind11::gil_scoped_acquire lock;
      margin_ = stage_.attr("margin_rows")().cast<int>();
    }
    return *margin_;
  }
  std::size_t scratch_bytes(int rows, int columns, int bands) const override {
    const auto known = scratch_.find(rows);
    if (known != scratch_.end()) return known->second;
    const pybind11::gil_scoped_acquire lock;
    const auto found = stage_.attr("scratch_bytes")(rows, columns, bands).cast<std::size_t>();
    scratch_[rows] = found;
    return found;
  }
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
  mutable std::optional<int> planes_;
  mutable std::optional<int> margin_;
  mutable std::map<int, std::size_t> scratch_;  // by rows
};

}  // namespace imagine_deblur
