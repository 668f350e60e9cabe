// The tile plan and its windows, for choosing tile shapes and for tests.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <optional>

#include "bindings/register.h"
#include "tiling/tile_plan.h"
#include "tiling/window.h"

namespace py = pybind11;

namespace imagine_deblur {
namespace {

py::tuple rect(const Rect& r) { return py::make_tuple(r.top, r.left, r.bottom, r.right); }

py::array_t<float> copy(std::span<const float> values) {
  py::array_t<float> out(static_cast<py::ssize_t>(values.size()));
  std::copy(values.begin(), values.end(), out.mutable_data());
  return out;
}

}  // namespace

void register_tiling(py::module_& module) {
  py::class_<Tile>(module, "Tile")
      .def_readonly("index", &Tile::index)
      .def_readonly("tile_row", &Tile::tile_row)
      .def_readonly("tile_column", &Tile::tile_column)
      .def_property_readonly("core", [](const Tile& t) { return rect(t.core); })
      .def_property_readonly("write", [](const Tile& t) { return rect(t.write); })
      .def_property_readonly("read", [](const Tile& t) { return rect(t.read); });

  py::class_<TilePlan>(module, "TilePlan")
      .def(py::init([](int frame_rows, int frame_columns, int tile_rows, int tile_columns,
                       int overlap, int halo, int multiple_of, bool may_shrink,
                       const std::optional<std::array<int, 4>>& region) {
             std::optional<Rect> part;
             if (region) part = Rect{(*region)[0], (*region)[1], (*region)[2], (*region)[3]};
             return TilePlan(frame_rows, frame_columns,
                             TileSpec{tile_rows, tile_columns, overlap, Halo{halo, halo},
                                      multiple_of, may_shrink},
                             part);
           }),
           py::arg("frame_rows"), py::arg("frame_columns"), py::kw_only(), py::arg("tile_rows"),
           py::arg("tile_columns"), py::arg("overlap") = 0, py::arg("halo") = 0,
           py::arg("multiple_of") = 1, py::arg("may_shrink") = true,
           py::arg("region").none(true) = py::none())
      .def("__len__", &TilePlan::size)
      .def(
          "tile",
          [](const TilePlan& plan, int index) {
            if (index < 0 || index >= plan.size()) throw py::index_error("no such tile");
            return plan.tile(index);
          },
          py::arg("index"))
      .def_property_readonly("region", [](const TilePlan& plan) { return rect(plan.region()); })
      .def_property_readonly("tile_rows", &TilePlan::tile_rows)
      .def_property_readonly("tile_columns", &TilePlan::tile_columns)
      .def_property_readonly("overlap_rows", &TilePlan::overlap_rows)
      .def_property_readonly("overlap_columns", &TilePlan::overlap_columns)
      .def_property_readonly("grid_rows", &TilePlan::grid_rows)
      .def_property_readonly("grid_columns", &TilePlan::grid_columns);

  py::class_<BlendWindow>(module, "BlendWindow")
      .def(py::init<const TilePlan&>(), py::arg("plan"), py::keep_alive<1, 2>())
      .def(
          "rows", [](const BlendWindow& w, int tile_row) { return copy(w.rows(tile_row)); },
          py::arg("tile_row"))
      .def(
          "columns",
          [](const BlendWindow& w, int tile_column) { return copy(w.columns(tile_column)); },
          py::arg("tile_column"));
}

}  // namespace imagine_deblur
