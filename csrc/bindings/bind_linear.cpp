// Transforms, filters and the reblur check's sums, over planes that Python holds.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "bindings/array_view.h"
#include "bindings/register.h"
#include "linear/bank.h"
#include "linear/gain.h"
#include "linear/passes.h"
#include "linear/piece_rows.h"
#include "linear/reblur.h"
#include "linear/rims.h"
#include "linear/sizes.h"
#include "threads/pinned_pool.h"

namespace py = pybind11;

namespace imagine_deblur {
namespace {

using linear::Otf;
using linear::PlaneSizes;
using Floats = py::array_t<float, py::array::c_style>;

std::span<const float> span_of(const Floats& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

// A gain and the tables it looks at.
class OwnedGain {
 public:
  explicit OwnedGain(float nsr) {
    gain_.kind = linear::GainKind::kWiener;
    gain_.nsr = nsr;
  }
  OwnedGain(Floats added, std::optional<Floats> scale, std::optional<Floats> noise)
      : tables_{std::move(added)} {
    const auto entries = tables_[0].size();
    gain_.kind = linear::GainKind::kTables;
    gain_.added = tables_[0].data();
    gain_.entries = static_cast<int>(entries);
    if (scale.has_value() != noise.has_value() || entries < 2) {
      throw Error(ErrorKind::kOptions, "tables of at least two entries, scale with noise",
                  {.field = "gain"});
    }
    if (!scale) return;
    if (scale->size() != entries || noise->size() != entries) {
      throw Error(ErrorKind::kOptions, "tables of one length", {.field = "gain"});
    }
    tables_.push_back(std::move(*scale));
    tables_.push_back(std::move(*noise));
    gain_.scale = tables_[1].data();
    gain_.noise = tables_[2].data();
  }

  const linear::Gain& view() const noexcept { return gain_; }

 private:
  std::vector<Floats> tables_;
  linear::Gain gain_;
};

// Planes of one size and type, and of so many columns where that is given.
std::vector<PlaneView> views(const std::vector<py::array>& arrays, std::optional<int> columns,
                             bool writable) {
  std::vector<PlaneView> out;
  for (const py::array& array : arrays) {
    const PlaneView plane = plane_view(array);
    if (plane.columns != columns.value_or(out.empty() ? plane.columns : out[0].columns) ||
        (writable && !array.writeable()) ||
        (!out.empty() && (plane.type != out[0].type || plane.rows != out[0].rows))) {
      throw Error(ErrorKind::kOptions, "planes of other sizes or types than the others",
                  {.field = "planes"});
    }
    out.push_back(plane);
  }
  return out;
}

// Scratch, workers and how carefully: what every pass needs.
struct Workplace {
  std::shared_ptr<PinnedPool> workers;
  py::array_t<std::uint8_t, py::array::c_style> scratch;
  bool checked;
  py::object after_block;

  linear::Passes passes(const PlaneSizes& sizes) const {
    if (static_cast<std::size_t>(scratch.size()) < sizes.scratch_bytes() || !scratch.writeable()) {
      throw Error(ErrorKind::kOptions, "too little scratch", {.field = "scratch"});
    }
    linear::AfterBlock after;
    if (!after_block.is_none()) {
      after = [function = after_block] {
        const py::gil_scoped_acquire lock;
        function();
      };
    }
    void* const data = const_cast<std::uint8_t*>(scratch.data());
    return linear::Passes(sizes, *workers,
                          {static_cast<std::byte*>(data), static_cast<std::size_t>(scratch.size())},
                          checked, std::move(after));
  }
};

void restore_planes(const Workplace& work, const PlaneSizes& sizes, const Otf& otf,
                    const std::vector<std::shared_ptr<OwnedGain>>& luma, int base,
                    const OwnedGain& colour, const std::vector<py::array>& capture,
                    int first_column, int padded_columns, const std::vector<py::array>& planes,
                    int first_row, std::pair<int, int> kept,
                    const std::optional<Floats>& row_weights,
                    const std::optional<Floats>& column_weights, bool add) {
  linear::Bank bank;
  for (const auto& gain : luma) bank.luma.push_back(gain->view());
  bank.base = base;
  bank.colour = colour.view();
  const int columns = kept.second - kept.first;
  const std::vector<PlaneView> from = views(capture, std::nullopt, false);
  const std::vector<PlaneView> to = views(planes, columns, true);
  const bool weighted = row_weights && column_weights;
  if (columns < 1 || kept.first < 0 || kept.second > sizes.size().columns ||
      (from.size() != 1 && from.size() != 3) || from[0].rows != sizes.size().rows ||
      to.size() + 1 < from.size() + bank.luma.size() || base < 0 ||
      base >= static_cast<int>(luma.size()) ||
      (weighted &&
       (row_weights->size() != sizes.size().rows || column_weights->size() != columns))) {
    throw Error(ErrorKind::kOptions, "planes that do not fit the bank", {.field = "planes"});
  }
  linear::Placement place;
  place.first_row = first_row;
  place.kept_first = kept.first;
  place.kept_last = kept.second;
  place.add = add;
  if (weighted) {
    place.row_weights = span_of(*row_weights);
    place.column_weights = span_of(*column_weights);
  }
  const linear::PieceRows piece(from, first_column, sizes.size().columns, padded_columns);
  linear::Passes passes = work.passes(sizes);
  const py::gil_scoped_release unlocked;
  linear::run_bank(passes, sizes, otf, bank, piece, to, place);
}

// Keeps what the core borrows.
class OwnedReblur {
 public:
  OwnedReblur(const Workplace& work, std::shared_ptr<PlaneSizes> sizes,
              std::vector<py::array> capture, std::vector<py::array> linear_planes,
              int linear_first, std::vector<py::array> restored, int restored_first, bool several)
      : sizes_(std::move(sizes)),
        arrays_{std::move(capture), std::move(linear_planes), std::move(restored)},
        capture_(views(arrays_[0], sizes_->size().columns, false)),
        linear_(views(arrays_[1], sizes_->size().columns, false)),
        restored_(views(arrays_[2], sizes_->size().columns, false)),
        passes_(work.passes(*sizes_)),
        work_(work) {
    if (capture_.empty() || capture_[0].rows != sizes_->size().rows ||
        restored_.size() != capture_.size() ||
        (!linear_.empty() && linear_.size() != capture_.size())) {
      throw Error(ErrorKind::kOptions, "planes that do not fit the capture", {.field = "planes"});
    }
    const linear::ReviewPlanes planes{capture_, linear_, restored_, linear_first, restored_first};
    const py::gil_scoped_release unlocked;
    reblur_.emplace(passes_, *sizes_, planes, several);
  }

  py::array_t<double> compare(const Otf& otf) {
    const std::vector<double>* sums = nullptr;
    {
      const py::gil_scoped_release unlocked;
      sums = &reblur_->compare(otf);
    }
    py::array_t<double> out({linear::kReviewSums, reblur_->runs(), reblur_->blocks()});
    std::copy(sums->begin(), sums->end(), out.mutable_data());
    return out;
  }

 private:
  std::shared_ptr<PlaneSizes> sizes_;
  std::vector<py::array> arrays_[3];
  std::vector<PlaneView> capture_;
  std::vector<PlaneView> linear_;
  std::vector<PlaneView> restored_;
  linear::Passes passes_;
  Workplace work_;
  std::optional<linear::Reblur> reblur_;
};

void lift_rims(PinnedPool& workers, const std::vector<py::array>& capture,
               const std::vector<py::array>& restored, int restored_first,
               std::pair<int, int> columns) {
  const std::vector<PlaneView> before = views(capture, std::nullopt, false);
  if (before.empty() || restored.size() != before.size()) {
    throw Error(ErrorKind::kOptions, "planes that do not fit the capture", {.field = "planes"});
  }
  const std::vector<PlaneView> after = views(restored, before[0].columns, true);
  if (after[0].type == SampleType::kFixed16 || restored_first < 0 ||
      restored_first + after[0].rows > before[0].rows || columns.first < 0 ||
      columns.first >= columns.second || columns.second > before[0].columns) {
    throw Error(ErrorKind::kOptions, "rows, columns or samples that the capture has not",
                {.field = "planes"});
  }
  const py::gil_scoped_release unlocked;
  linear::lift_rims(workers, before, after, restored_first, columns.first, columns.second);
}

}  // namespace

void register_linear(py::module_& module) {
  py::class_<PlaneSizes, std::shared_ptr<PlaneSizes>>(module, "PlaneSizes")
      .def(py::init([](int rows, int columns, int padded_rows, int padded_columns) {
             return std::make_shared<PlaneSizes>(
                 linear::Size{rows, columns, padded_rows, padded_columns});
           }),
           py::arg("rows"), py::arg("columns"), py::arg("padded_rows"), py::arg("padded_columns"))
      .def_property_readonly(
          "shape",
          [](const PlaneSizes& s) { return py::make_tuple(s.size().rows, s.size().columns); })
      .def_property_readonly("padded_shape",
                             [](const PlaneSizes& s) {
                               return py::make_tuple(s.size().padded_rows, s.size().padded_columns);
                             })
      .def("scratch_bytes", &PlaneSizes::scratch_bytes)
      .def_static(
          "scratch_bytes_of",
          [](int rows, int columns, int padded_rows, int padded_columns) {
            return linear::scratch_bytes({rows, columns, padded_rows, padded_columns});
          },
          py::arg("rows"), py::arg("columns"), py::arg("padded_rows"), py::arg("padded_columns"))
      .def_static(
          "worker_bytes_of",
          [](int rows, int columns, int padded_rows, int padded_columns) {
            return linear::worker_bytes({rows, columns, padded_rows, padded_columns});
          },
          py::arg("rows"), py::arg("columns"), py::arg("padded_rows"), py::arg("padded_columns"))
      .def(
          "otf_bytes", [](const PlaneSizes& s, bool complex) { return Otf::bytes(s, complex); },
          py::arg("complex"));

  py::class_<Otf, std::shared_ptr<Otf>>(module, "Otf")
      .def_static(
          "radial",
          [](const Floats& table) { return std::make_shared<Otf>(Otf::radial(span_of(table))); },
          py::arg("table"))
      .def_static(
          "half_plane",
          [](const PlaneSizes& sizes, const py::array& values,
             std::shared_ptr<PinnedPool> workers) {
            const bool complex = values.dtype().kind() == 'c';
            const Floats numbers =
                complex ? Floats(values.attr("view")("float32")) : Floats(values);
            const py::gil_scoped_release unlocked;
            return std::make_shared<Otf>(
                Otf::half_plane(sizes, span_of(numbers), complex, *workers));
          },
          py::arg("sizes"), py::arg("values"), py::arg("workers"))
      .def_property_readonly("values", [](const py::object& self) {
        const std::span<float> values = self.cast<Otf&>().values();
        return py::array_t<float>(static_cast<py::ssize_t>(values.size()), values.data(), self);
      });

  py::class_<OwnedGain, std::shared_ptr<OwnedGain>>(module, "Gain")
      .def(py::init<float>(), py::kw_only(), py::arg("nsr"))
      .def(py::init<Floats, std::optional<Floats>, std::optional<Floats>>(), py::kw_only(),
           py::arg("added"), py::arg("scale").none(true) = py::none(),
           py::arg("noise").none(true) = py::none());

  py::class_<Workplace>(module, "Workplace")
      .def(py::init([](std::shared_ptr<PinnedPool> workers,
                       py::array_t<std::uint8_t, py::array::c_style> scratch, bool checked,
                       py::object after_block) {
             return Workplace{std::move(workers), std::move(scratch), checked,
                              std::move(after_block)};
           }),
           py::arg("workers"), py::arg("scratch").noconvert(), py::kw_only(),
           py::arg("checked") = false, py::arg("after_block").none(true) = py::none());

  module.def("restore_planes", &restore_planes, py::arg("work"), py::arg("sizes"), py::arg("otf"),
             py::kw_only(), py::arg("luma"), py::arg("base"), py::arg("colour"), py::arg("capture"),
             py::arg("first_column"), py::arg("padded_columns"), py::arg("planes"),
             py::arg("first_row"), py::arg("kept"), py::arg("row_weights").none(true) = py::none(),
             py::arg("column_weights").none(true) = py::none(), py::arg("add") = false);

  module.def("lift_rims", &lift_rims, py::arg("workers"), py::kw_only(), py::arg("capture"),
             py::arg("restored"), py::arg("restored_first"), py::arg("columns"));

  py::class_<OwnedReblur>(module, "Reblur")
      .def(py::init<const Workplace&, std::shared_ptr<PlaneSizes>, std::vector<py::array>,
                    std::vector<py::array>, int, std::vector<py::array>, int, bool>(),
           py::arg("work"), py::arg("sizes"), py::kw_only(), py::arg("capture"), py::arg("linear"),
           py::arg("linear_first"), py::arg("restored"), py::arg("restored_first"),
           py::arg("several"))
      .def("compare", &OwnedReblur::compare, py::arg("otf"));
}

}  // namespace imagine_deblur
