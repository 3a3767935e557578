import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from scanside.runtime import choose
from scanside.runtime.backends import openvino, ort
from scanside.runtime.backends.table import DEVICES
from scanside.runtime.cli.schema import record_of
from scanside.runtime.errors import BackendError
from scanside.runtime.record import json_schema
from tests.runtime.cli.conftest import Command
from tests.support.sentences import assert_one_sentence


def schema(name: str) -> object:
    return json_schema(record_of(name))


def test_selftest_replays_every_golden_case_on_every_device(scanside: Command, bundle: Path) -> None:
    done = scanside("selftest", bundle, "--json")
    assert done.code == 0
    jsonschema.validate(done.json, schema("selftest"))
    rows = done.json["cases"]
    assert {(row["device"], row["case"]) for row in rows} == {
        (device, case) for device in ("openvino", "cpu") for case in ("synthetic-tiles", "synthetic-small")
    }
    assert all(row["problem"] is None and row["voxels"] > 1000 for row in rows)


def _wrong(session: object) -> None:
    """Make a backend compute something else, as a faulty engine would."""
    run = session.run  # type: ignore[attr-defined]
    session.run = lambda tiles: np.flip(run(tiles), axis=1).copy()  # type: ignore[attr-defined]


def test_a_backend_that_computes_something_else_is_found_and_not_used(
    scanside: Command, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = openvino.open_session

    def faulty(model: bytes, precision: str, threads: int | None = None) -> object:
        session = opened(model, precision, threads)
        _wrong(session)
        return session

    monkeypatch.setattr(openvino, "open_session", faulty)
    monkeypatch.setattr(openvino, "version", lambda: "openvino, made faulty for a test")
    done = scanside("selftest", bundle, "--device", "openvino")
    assert done.code == 4 and "FAILED" in done.out
    from scanside.runtime import open_bundle, open_segmenter

    with open_segmenter(open_bundle(bundle)) as segmenter:
        assert segmenter.device.obtained == "cpu"
        assert "not openvino: golden case" in segmenter.device.why


def test_auto_says_when_no_device_is_left(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scanside.runtime import open_bundle, open_segmenter

    for module in (openvino, ort):
        monkeypatch.setattr(module, "missing", lambda: ("it is not installed", "pip install it"))
    with pytest.raises(BackendError) as caught:
        open_segmenter(open_bundle(bundle))
    assert_one_sentence(str(caught.value), "doctor")


def test_auto_remembers_the_golden_result(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scanside.runtime import open_bundle, open_segmenter

    opened = open_bundle(bundle)
    open_segmenter(opened).close()

    def never(*arguments: object) -> None:
        raise AssertionError("the golden cases ran again")

    monkeypatch.setattr(choose, "replay_all", never)
    with open_segmenter(opened) as segmenter:
        assert segmenter.device.asked == "auto"


def test_doctor_names_what_is_missing_and_how_to_get_it(
    scanside: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = scanside("doctor", "--json")
    assert done.code == 0
    document = done.json
    jsonschema.validate(document, schema("doctor"))
    assert [backend["name"] for backend in document["backends"]] == list(DEVICES)
    assert all({"available", "reason", "fix"} <= set(backend) for backend in document["backends"])
    for module in (openvino, ort):
        monkeypatch.setattr(module, "missing", lambda: ("it is not installed", "pip install 'scanside[cpu]'"))
    done = scanside("doctor")
    assert done.code == 4 and "to mend: pip install 'scanside[cpu]'" in done.out


def test_json_is_the_only_thing_on_stdout(scanside: Command, bundle: Path) -> None:
    for arguments in (("doctor",), ("selftest", bundle), ("bundle", "inspect", bundle)):
        json.loads(scanside(*arguments, "--json").out)
