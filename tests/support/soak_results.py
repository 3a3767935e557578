"""Where a slow test leaves the results that it measured: outside the repository's own `results/`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scanside.runtime import machine

_FOLDER = Path(__file__).parents[2] / "soak-results"


def write_soak_results(name: str, command: str, packages: tuple[str, ...], found: Mapping[str, Any]) -> Path:
    """Write `<name>.json` with machine and versions into `soak-results/`, which git ignores.

    A person who wants to publish the figures copies the file into `results/`. SCANSIDE_SOAK_RESULTS names
    another folder.
    """
    folder = Path(os.environ.get("SCANSIDE_SOAK_RESULTS") or _FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": f"scanside.{name}/1",
        "command": command,
        "machine": {
            "processor": machine.processor(),
            "cores": machine.cores(),
            "memory_gib": machine.memory_gib(),
        },
        "versions": machine.versions(packages),
        **found,
    }
    file = folder / f"{name}.json"
    file.write_text(json.dumps(document, indent=1) + "\n")
    return file
