"""Run restoration networks: a tile in, a tile out, whatever the runtime.

Importing this package imports no runtime. `describe` reads what a network expects, `open_engine`
opens it on the runtime that `select` names; `native` turns any engine into what the core's pipeline
takes.
"""

from imagine_deblur.engines.choose import ENGINES, open_engine, select
from imagine_deblur.engines.descriptor import ModelDescriptor, describe
from imagine_deblur.engines.identity import CallableEngine, IdentityEngine
from imagine_deblur.engines.onnxruntime import OrtEngine, find_onnxruntime
from imagine_deblur.engines.openvino import OpenVinoEngine, find_openvino
from imagine_deblur.engines.scaled import ScaledEngine
from imagine_deblur.engines.self_ensemble import SelfEnsembleEngine
from imagine_deblur.engines.settings import EngineSettings, resolve_precision
from imagine_deblur.engines.spec import Engine, EngineSpec, Tile, native
from imagine_deblur.engines.winograd import WinogradEngine

__all__ = [
    "ENGINES",
    "CallableEngine",
    "Engine",
    "EngineSettings",
    "EngineSpec",
    "IdentityEngine",
    "ModelDescriptor",
    "OpenVinoEngine",
    "OrtEngine",
    "ScaledEngine",
    "SelfEnsembleEngine",
    "Tile",
    "WinogradEngine",
    "describe",
    "find_onnxruntime",
    "find_openvino",
    "native",
    "open_engine",
    "resolve_precision",
    "select",
]
