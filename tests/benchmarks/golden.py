"""The tiny study bundle with golden cases, whose labels are worked out by numpy alone."""

import hashlib
import json
from pathlib import Path

import numpy as np

from scanside.runtime.golden import GoldenCase
from tests.runtime.study.tiny_study import LEVEL, images, write_bundle


def write_golden_bundle(out: Path) -> Path:
    """The bundle of `tiny_study` and a golden case for each of its segmenters."""
    write_bundle(out)
    path = out / "bundle.json"
    manifest = json.loads(path.read_text())
    (out / "golden").mkdir()
    for role in ("t2w", "dwi"):
        volume = images()[role]
        nonzero = np.argwhere(volume.data[0] != 0)
        box = tuple(slice(a, b + 1) for a, b in zip(nonzero.min(axis=0), nonzero.max(axis=0), strict=True))
        inside = volume.data[0][box].astype(np.float64)
        scores = (volume.data[0] - inside.mean()) / inside.std()
        labels = np.zeros(volume.geometry.shape, np.uint8)
        labels[box] = scores[box] > LEVEL
        case = GoldenCase(f"{role}-tiny", volume, labels, np.abs(8 * (scores - LEVEL)).astype(np.float16))
        name, content = f"golden/{case.name}.npz", case.encode()
        (out / name).write_bytes(content)
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        manifest["golden"].append({"name": case.name, "role": role, "file": name, "origin": "synthetic"})
    path.write_text(json.dumps(manifest))
    return out
