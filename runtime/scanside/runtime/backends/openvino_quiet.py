"""OpenVINO without its converter, whose import reports to a web analytics service.

`import openvino` also imports `openvino.tools.ovc` where that can be imported, and this sends a usage event through
`openvino_telemetry`: from a forked process that the interpreter waits for at its end, for up to three seconds where
there is no way out. The runtime converts nothing, and a machine with patients' images reports to nobody.
"""

import importlib
import sys
from typing import Any

_CONVERTER = "openvino.tools.ovc"


def load_openvino() -> Any:
    """The module `openvino`. A converter that does not import is one that OpenVINO does without, by its own design.

    Raises:
        ImportError: If OpenVINO is not installed.
    """
    if "openvino" in sys.modules or _CONVERTER in sys.modules:
        return importlib.import_module("openvino")
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]  # how Python is told that a module cannot be imported
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[_CONVERTER]
