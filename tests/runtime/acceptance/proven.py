"""A bundle as a site has one, small: the networks of the geometry phantom, with golden cases and a golden study.

The reference is independent of the runtime: labels come from the phantom's formulas, features of shape from its voxels.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scanside.export.geometry_bundle import write_geometry_bundle
from scanside.runtime.acceptance import phantom
from scanside.runtime.bundle import MANIFEST, open_bundle
from scanside.runtime.golden import GoldenCase
from scanside.runtime.golden_study import StudyCase
from scanside.runtime.radiomics.config import default_config
from scanside.runtime.radiomics.extract import extract
from scanside.runtime.volume import Geometry, Volume

GRIDS = {"t2w": phantom.T2W, "dwi": phantom.DWI}


def write_proven_bundle(out: Path) -> Path:
    """The geometry phantom's bundle with golden cases."""
    write_geometry_bundle(out)
    images = phantom.images()
    golden, files = [], {}
    for role, grid in GRIDS.items():
        labels = (phantom.meant(grid) > 0).astype(np.uint8)
        margin = np.abs(images[role].data[0] - phantom.THRESHOLD).astype(np.float16) / 8
        plain = Volume(images[role].data, Geometry(grid.shape, grid.spacing))
        file = f"golden/{role}.npz"
        files[file] = GoldenCase(f"{role}-phantom", plain, labels, margin).encode()
        golden.append({"name": f"{role}-phantom", "role": role, "file": file, "origin": "synthetic"})
    files["golden/study.npz"] = _study(out).encode()
    studies = [{"name": "study-phantom", "file": "golden/study.npz"}]
    for file, content in files.items():
        (out / file).parent.mkdir(exist_ok=True)
        (out / file).write_bytes(content)
    return change(out, lambda manifest: manifest.update(golden=golden, studies=studies), *files)


def _study(bundle: Path) -> StudyCase:
    model = open_bundle(bundle).manifest.models[0]
    images = {name: volume for name, volume in phantom.images().items() if name != "b0"}
    masks = {role: (phantom.meant(grid) == 1).astype(np.uint8) for role, grid in GRIDS.items()}
    found = extract(images, masks, default_config(), model.signature.features)
    features = {name: float(value.value or 0.0) for name, value in found.items()}
    return StudyCase("study-phantom", images, masks, features, {}, {model.name: 0.9})


def change(bundle: Path, edit: Callable[[dict[str, Any]], Any], *touched: str) -> Path:
    """Edit a bundle's manifest, and give the files that were touched their new hashes: as a forger would."""
    import hashlib

    path = bundle / MANIFEST
    manifest = json.loads(path.read_text())
    edit(manifest)
    for file in touched:
        data = (bundle / file).read_bytes()
        manifest["files"][file] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    path.write_text(json.dumps(manifest))
    return bundle
