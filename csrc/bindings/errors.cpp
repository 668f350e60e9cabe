// Error -> Python exception, in one place. The classes live in imagine_deblur.errors; OSError keeps
// errno and filename.
#include <exception>
#include <string>

#include "base/error.h"
#include "bindings/register.h"

namespace py = pybind11;

namespace imagine_deblur {
namespace {

// File names, and messages that quote them, are any bytes.
py::str text(const std::string& bytes) {
  PyObject* const decoded =
      PyUnicode_DecodeFSDefaultAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()));
  if (decoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

py::object none_if(bool condition, const py::object& value) {
  return condition ? py::object(py::none()) : value;
}

void raise(const Error& error) {
  const ErrorContext& context = error.context();
  const py::module_ errors = py::module_::import("imagine_deblur.errors");
  const py::str message = text(error.what());
  const py::object path = none_if(context.path.empty(), text(context.path));
  py::object exception;
  switch (error.kind()) {
    case ErrorKind::kInputImage:
    case ErrorKind::kTruncatedJpeg: {
      const char* name =
          error.kind() == ErrorKind::kInputImage ? "InputImageError" : "TruncatedJpegError";
      exception = errors.attr(name)(
          message, py::arg("path") = path,
          py::arg("scanline") = none_if(context.scanline < 0, py::int_(context.scanline)));
      break;
    }
    case ErrorKind::kOptions:
      exception = errors.attr("OptionsError").attr("from_core")(context.field, message);
      break;
    case ErrorKind::kEngine:
      exception = errors.attr("EngineError")(
          message, py::arg("engine") = none_if(context.field.empty(), py::str(context.field)),
          py::arg("model") = path);
      break;
    case ErrorKind::kMemoryBudget:
      exception = errors.attr("MemoryBudgetError")(
          message, py::arg("wanted") = none_if(context.wanted < 0, py::int_(context.wanted)),
          py::arg("allowed") = none_if(context.allowed < 0, py::int_(context.allowed)));
      break;
    case ErrorKind::kIo: {
      // OSError(errno, message, filename) picks the subclass, FileNotFoundError and so on.
      const py::handle os_error(PyExc_OSError);
      exception = os_error(context.code, message, path);
      break;
    }
    case ErrorKind::kIntegrity:
      exception = errors.attr("IntegrityError")(message);
      break;
    case ErrorKind::kCancelled:
      exception = errors.attr("CancelledError")(message);
      break;
  }
  PyErr_SetObject(py::type::of(exception).ptr(), exception.ptr());
}

}  // namespace

void register_errors(py::module_&) {
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      raise(error);
    }
  });
}

}  // namespace imagine_deblur
