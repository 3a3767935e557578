"""The worker process, which kills itself with SIGKILL at a given instant.

`python -m tests.runtime.appliance.work.dying scanside.toml module:function before|after`
"""

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from scanside.runtime.appliance import process


def die_at(place: str, when: str) -> None:
    """Put the end of this process around a function, where it is looked up."""
    module, name = place.split(":")
    holder = importlib.import_module(module)
    real = getattr(holder, name)

    def last(*arguments: Any, **options: Any) -> Any:
        if when == "after":
            real(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(holder, name, last)


if __name__ == "__main__":
    importlib.import_module("scanside.runtime.appliance.work.main")
    die_at(sys.argv[2], sys.argv[3])
    sys.exit(process.main("work", Path(sys.argv[1])))
