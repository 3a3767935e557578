"""Triton's Python backend runs this file; `scanside export triton` made the folder. The work is in the runtime.

The folders of packages.json come before the server's own packages, and before anything else is imported: Triton's own
module needs numpy, which the server may have in another version or not at all.
"""

import json
import site
import sys
from pathlib import Path
from typing import Any

_here = Path(__file__).parent
_before = list(sys.path)
for _folder in json.loads((_here / "packages.json").read_text()):
    site.addsitedir(_folder)
sys.path[:] = [*(path for path in sys.path if path not in _before), *_before]

import triton_python_backend_utils as pb_utils  # noqa: E402


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the bundle beside this file and replay its golden cases; whatever fails keeps the model from loading."""
        try:
            from scanside.runtime.triton.served import Served
        except ImportError as error:
            raise pb_utils.TritonModelException(
                f"scanside cannot be imported by Python {sys.version_info.major}.{sys.version_info.minor} of this "
                f"server ({error}); install it there, or name its folder: scanside export triton --packages."
            ) from error
        given = json.loads(args["model_config"])["parameters"]
        self._served = Served(
            pb_utils, _here / "bundle", {name: value["string_value"] for name, value in given.items()}
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer a request."""
        return [self._served.respond(request) for request in requests]

    def finalize(self) -> None:
        """Free the networks."""
        self._served.close()
