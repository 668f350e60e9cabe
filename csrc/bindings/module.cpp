#include "bindings/register.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The native core of imagine_deblur. Use the package, not this module.";
  imagine_deblur::register_errors(module);
  imagine_deblur::register_system(module);
  imagine_deblur::register_tiling(module);
  imagine_deblur::register_linear(module);
  imagine_deblur::register_engines(module);
  imagine_deblur::register_jpeg(module);
  imagine_deblur::register_pipeline(module);
}
