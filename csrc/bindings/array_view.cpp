#include "bindings/array_view.h"

#include <cstdint>
#include <string>

#include "base/error.h"

namespace py = pybind11;

namespace imagine_deblur {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorKind::kInputImage, message);
}

py::dtype dtype_of(SampleType type) {
  switch (type) {
    case SampleType::kUint8:
      return py::dtype::of<std::uint8_t>();
    case SampleType::kFixed16:
      return py::dtype::of<std::int16_t>();
    case SampleType::kFloat32:
      break;
  }
  return py::dtype::of<float>();
}

FrameShape shape_of(const py::array& array) {
  FrameShape shape;
  if (array.dtype().equal(py::dtype::of<std::uint8_t>())) {
    shape.type = SampleType::kUint8;
  } else if (array.dtype().equal(py::dtype::of<float>())) {
    shape.type = SampleType::kFloat32;
  } else {
    refuse("the array has dtype " + std::string(py::str(array.dtype())) +
           "; expected uint8, or float32 in [0, 1]: convert with .astype(np.float32)");
  }
  if (array.ndim() != 2 && !(array.ndim() == 3 && array.shape(2) == 3)) {
    refuse("the array has shape " + std::string(py::str(array.attr("shape"))) +
           "; expected (rows, columns) or (rows, columns, 3)");
  }
  if (array.shape(0) < 1 || array.shape(1) < 1 || array.shape(0) > 65'500 ||
      array.shape(1) > 65'500) {
    refuse("the array has shape " + std::string(py::str(array.attr("shape"))) +
           "; rows and columns must be 1 to 65500");
  }
  if ((array.flags() & py::array::c_style) == 0) {
    refuse("the array is not C-contiguous; pass np.ascontiguousarray(image)");
  }
  shape.rows = static_cast<int>(array.shape(0));
  shape.columns = static_cast<int>(array.shape(1));
  shape.bands = array.ndim() == 3 ? 3 : 1;
  return shape;
}

}  // namespace

InterleavedView read_only_frame(const py::array& array) {
  return {const_cast<void*>(array.data()), array.strides(0), shape_of(array)};
}

InterleavedView writable_frame(py::array& array, const FrameShape& shape) {
  const FrameShape found = shape_of(array);
  if (!array.writeable()) refuse("the output array is read-only");
  if (found.rows != shape.rows || found.columns != shape.columns || found.bands != shape.bands ||
      found.type != shape.type) {
    refuse("the output array's shape or dtype differs from the input's");
  }
  return {array.mutable_data(), array.strides(0), found};
}

PlaneView plane_view(const py::array& array) {
  PlaneView plane;
  if (array.dtype().equal(py::dtype::of<std::uint8_t>())) {
    plane.type = SampleType::kUint8;
  } else if (array.dtype().equal(py::dtype::of<std::int16_t>())) {
    plane.type = SampleType::kFixed16;
  } else if (array.dtype().equal(py::dtype::of<float>())) {
    plane.type = SampleType::kFloat32;
  } else {
    throw Error(ErrorKind::kOptions, "a plane must be uint8, int16 or float32", {.field = "plane"});
  }
  if (array.ndim() != 2 || (array.shape(1) > 1 && array.itemsize() != array.strides(1))) {
    throw Error(ErrorKind::kOptions, "a plane must be (rows, columns), samples side by side",
                {.field = "plane"});
  }
  plane.data = const_cast<void*>(array.data());
  plane.rows = static_cast<int>(array.shape(0));
  plane.columns = static_cast<int>(array.shape(1));
  plane.row_stride = array.strides(0);
  return plane;
}

py::array plane_array(const PlaneView& plane, const py::object& owner) {
  const auto item = static_cast<py::ssize_t>(sample_bytes(plane.type));
  return py::array(dtype_of(plane.type), {plane.rows, plane.columns},
                   {static_cast<py::ssize_t>(plane.row_stride), item}, plane.data, owner);
}

}  // namespace imagine_deblur
