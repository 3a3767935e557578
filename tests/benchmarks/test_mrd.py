"""How long a scanner waits, against a real server: what is timed, and what is said of it."""

import json
from pathlib import Path

from benchmarks.scripts.mrd import main
from tests.runtime.study.tiny_study import TinyBundle, images, write_bundle, write_image


def test_sessions_are_timed_and_too_few_are_said(tmp_path: Path) -> None:
    recipe = TinyBundle(channels={"t2w": ("t2w",)}, features=(), classifier=False)
    bundle, out = write_bundle(tmp_path / "tiny.bundle", recipe), tmp_path / "mrd.json"
    scan = write_image(images()["t2w"], tmp_path / "scan.nii.gz")
    main(bundle, scan, out, sessions=3, starts=1)
    found = json.loads(out.read_text())
    took = found["close_to_last_label_ms"]
    assert (
        len(took["samples"]) == 3
        and all(ms > 0 for ms in took["samples"])
        and took["median"] == found["p50_ms"]
    )
    assert len(found["listening_ms"]["samples"]) == 1 and found["first_ms"] > found["listening_ms"]["max"]
    assert found["p95_ms"] is None and not found["headline"]
    table = out.with_suffix(".md").read_text()
    assert "too few sessions" in table and "Not to be quoted" in table
