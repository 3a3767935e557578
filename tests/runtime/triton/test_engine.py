"""`--engine` against a real Triton server that serves the demonstration's bundle."""

import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scanside.runtime.appliance.check import Finding, check
from scanside.runtime.appliance.config import Work, load_config
from scanside.runtime.appliance.config.document import EngineServer
from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.cli.main import run
from scanside.runtime.errors import BackendError, InputError, ScansideError, UsageError
from scanside.runtime.events import StageStarted
from scanside.runtime.options import Options
from scanside.runtime.triton import segmenter as remote
from scanside.runtime.volume import Volume
from scanside.training.demo import BUNDLE
from tests.runtime.appliance.work import filled
from tests.runtime.triton.serving import CASES, MODEL, Place, lines, masks, opened, segmented, small
from tests.runtime.triton.spoiling import GOLDEN, case_and_repetition, flipped, oversized, swapped, truncated
from tests.support.peers import LOOPBACK, TlsProxy, free_port
from tests.support.tls_files import make_tls
from tests.support.triton import Meddler

pytestmark = pytest.mark.requirement("server-proven")


def assert_same(found: dict[str, npt.NDArray[Any]], place: Place) -> None:
    assert found.keys() == place.alone.keys()
    for name, mask in found.items():
        assert int((mask != place.alone[name]).sum()) == 0
    assert sum(int(mask.sum()) for mask in found.values()) > 100


def test_labels_are_those_of_this_machine_and_the_report_names_the_engine(
    place: Place, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert segmented(place.root, tmp_path / "out", "--engine", f"{place.server.url}/{MODEL}") == 0
    told = capfd.readouterr().err
    assert (
        f"Device cpu of {place.server.url}/{MODEL}; exact recipe;" in told
        and "decided together with dwi" in told
    )
    assert_same(masks(tmp_path / "out"), place)
    assert {(line["device"], line["node"]) for line in lines(tmp_path / "out")} == {
        ("cpu", f"{place.server.url}/{MODEL}")
    }
    out, image = tmp_path / "one.nii.gz", "images/c0_0000.nii.gz"
    assert segmented(place.root, out, "--engine", place.server.url, "--json", images=image) == 0
    device = json.loads(capfd.readouterr().out)["device"]
    assert (device["asked"], device["obtained"], device["precision"]) == (place.server.url, "cpu", "fp32")
    assert device["engine"] == f"{place.server.url}/{MODEL}"
    assert "golden cases" in device["why"]


def test_probabilities_are_those_of_this_machine(place: Place) -> None:
    """What a bundle that decides with two sequences asks for."""
    with (
        opened(f"{place.server.url}/{MODEL}") as there,
        open_segmenter(open_bundle(BUNDLE), Options("cpu", role="t2w", threads=1)) as here,
    ):
        told, own = (one.segment(small(), probabilities=True) for one in (there, here))
        assert told.probabilities is not None and own.probabilities is not None
        assert told.probabilities.dtype == np.float32
        np.testing.assert_array_equal(told.probabilities, own.probabilities)
        np.testing.assert_array_equal(told.mask, own.mask)
        with pytest.raises(UsageError, match="sends no logits"):
            there.segment(small(), logits=True)


def test_probabilities_are_saved_for_ensembles(place: Place, tmp_path: Path) -> None:
    image, found = "images/c0_0000.nii.gz", []
    for name, options in (
        ("there", ("--engine", place.server.url)),
        ("here", ("--device", "cpu", "--threads", "1")),
    ):
        out = tmp_path / f"{name}.nii.gz"
        assert segmented(place.root, out, "--save-probabilities", *options, images=image) == 0
        with np.load(tmp_path / f"{name}.npz") as saved:
            found.append(saved["probabilities"])
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (
            "absent",
            BackendError,
            "does not serve 'absent' .*; it serves by-as-numpy, lying, pancreas-phantom-",
        ),
        ("changed", BackendError, "does not serve 'changed'"),
        ("pancreas-phantom-dwi", BackendError, "serves segmenter 'dwi' of this bundle, not 't2w'"),
        ("lying", BackendError, "lying does not compute golden case t2w-synthetic-tiles: .*; do not use it"),
        ("by-as-numpy", BackendError, "by-as-numpy did not compute from the voxels that were sent"),
    ],
)
def test_a_model_that_is_not_this_bundle_is_refused(
    place: Place, model: str, error: type[ScansideError], words: str
) -> None:
    """`by-as-numpy` is the fault of Triton's own way to numpy where their versions differ: see `served`."""
    with pytest.raises(error, match=words):
        opened(f"{place.server.url}/{model}")


def test_a_bundle_that_was_changed_does_not_load(place: Place) -> None:
    assert "changed/1/bundle is not the bundle that was exported here" in place.server.log()


def test_another_bundle_here_than_there_is_refused(
    place: Place, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.bundle"
    shutil.copytree(BUNDLE, other)
    manifest = other / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"version": "2"', '"version": "3"'))
    out = tmp_path / "out"
    command = ["segment", str(other), str(place.images), "-o", str(out), "--role", "t2w"]
    assert run([*command, "--engine", place.server.url]) == 3
    assert f"serves bundle {open_bundle(BUNDLE).sha256[:12]}…, not {other}" in capfd.readouterr().err
    assert not list(out.glob("*.nii.gz"))


@pytest.fixture(scope="module")
def between(place: Place) -> Iterator[tuple[Meddler, Any]]:
    """A segmenter that was proven through a connection, which can be spoiled from then on."""
    with Meddler(place.server.port, truncated, after=GOLDEN) as meddler, opened(meddler.url) as segmenter:
        yield meddler, segmenter


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncated, "broke off after [0-9]+ of [0-9]+ bytes"),
        (lambda answer: b"", "cannot be reached"),
        (oversized, "its answer has 99999999999 bytes, more than the"),
        (swapped(b'"UINT8"', b'"UINT9"'), "labels is UINT9, not UINT8"),
        (swapped(rb'"shape":\[[0-9]', b'"shape":[9'), "labels has shape"),
        (swapped(rb'"shape":\[', b'"shape":{'), "answers without JSON"),
        (swapped(b'"labels"', b'"lables"'), "a tensor that was not asked for"),
        (swapped(rb'"binary_data_size":[0-9]', b'"binary_data_size":0'), "answers without JSON"),
        (swapped(rb'"binary_data_size":[0-9]', b'"binary_data_size":9'), "labels has 9[0-9]+ of"),
        (swapped(b'"outputs"', b'"outpits"'), "lacks the tensor about"),
        (flipped, "sent other values than it computed"),
        (lambda answer: b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", "how long its header is"),
        (lambda answer: b"SSH-2.0-OpenSSH_9.2\r\n", "cannot be reached"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_answer_that_is_not_what_it_has_to_be_is_refused(
    between: tuple[Meddler, Any], monkeypatch: pytest.MonkeyPatch, spoil: Any, words: str
) -> None:
    monkeypatch.setattr(remote, "AWAY_SECONDS", 0.0)
    meddler, segmenter = between
    meddler.spoil, meddler.after = spoil, 0
    with pytest.raises(BackendError, match=words):
        segmenter.segment(small())


@pytest.mark.parametrize("spoil", [truncated, flipped])
def test_golden_cases_are_spoiled_as_cases_are(place: Place, spoil: Any) -> None:
    with Meddler(place.server.port, spoil) as meddler, pytest.raises(BackendError):
        opened(meddler.url)


def test_a_case_is_sent_once_more_and_no_more(
    between: tuple[Meddler, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_POLL_SECONDS", 0.0)
    meddler, segmenter = between
    told: list[str] = []
    monkeypatch.setattr(segmenter, "_say", told.append)
    broken, events = [truncated], []
    meddler.spoil, meddler.after = lambda answer: broken.pop()(answer) if broken else answer, 0
    assert segmenter.segment(small(), listener=events.append).mask.shape == (8, 40, 40)
    stages = [event.stage for event in events if isinstance(event, StageStarted)]
    assert stages == ["engine", "waiting for the engine", "engine"]
    assert len(told) == 1 and "broke off" in told[0]
    broken += [truncated] * 2  # the case, and a golden case while it waits: it waits on
    assert segmenter.segment(small()).mask.shape == (8, 40, 40)
    meddler.spoil = case_and_repetition(truncated)
    with pytest.raises(BackendError, match="broke off"):
        segmenter.segment(small())


def test_tls_is_spoken_through_a_proxy_whose_authority_is_known(place: Place, tmp_path: Path) -> None:
    files = make_tls(tmp_path)
    proxy = TlsProxy(files.server, place.server.port)
    url = f"triton+https://{LOOPBACK}:{proxy.port}"
    opened(url, files.server.authority).close()
    with pytest.raises(BackendError, match=r"certificate of .* is not accepted"):
        opened(url, tmp_path / "stranger-authority.pem")
    with pytest.raises(UsageError, match="does not hold certificates"):
        opened(url, tmp_path)
    proxy.close()


def test_a_server_that_stays_away_ends_the_run(
    place: Place, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nobody = f"triton://{LOOPBACK}:{free_port()}"
    assert segmented(place.root, tmp_path / "out", "--engine", nobody) == 4
    assert f"{nobody} cannot be reached (connection refused)" in capfd.readouterr().err
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_what_the_model_refuses_comes_back_as_its_own_sentence(place: Place) -> None:
    with opened(place.server.url) as segmenter:
        two = np.zeros((2, 8, 40, 40), np.float32)
        with pytest.raises(InputError, match="The model takes 1 channel"):
            segmenter.segment(Volume(two, small().geometry))
        skewed = Volume(small().data, small().geometry)
        object.__setattr__(skewed.geometry, "direction", (2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
        with pytest.raises(InputError, match="not orthogonal"):
            segmenter.segment(skewed)


def test_check_asks_the_server_as_the_first_study_would(place: Place, tmp_path: Path) -> None:
    config = load_config(filled.configured(tmp_path, BUNDLE))

    def device(url: str) -> Finding:
        work = Work(engine=EngineServer(url=url))
        return next(one for one in check(config.model_copy(update={"work": work})) if one.what == "device")

    found = device(place.server.url)
    assert found.ok and found.sentence.startswith(f"cpu of {place.server.url} in fp32")
    found = device(f"{place.server.url}/{MODEL}")
    assert not found.ok and "leave the model out of the address" in found.sentence
    assert not device(f"triton://{LOOPBACK}:{free_port()}").ok


def test_a_server_that_is_killed_in_mid_run_costs_no_case(
    place: Place, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    def kill_in_between() -> None:
        while not list(out.glob("*.nii.gz")):
            time.sleep(0.005)
        place.server.kill()
        place.server.start(MODEL)

    killer = threading.Thread(target=kill_in_between, daemon=True)
    killer.start()
    assert segmented(place.root, out, "--engine", place.server.url) == 0
    killer.join()
    assert "waiting up to 300 s for it to come back" in capfd.readouterr().err
    assert Counter(line["name"] for line in lines(out)) == Counter({f"c{index}": 1 for index in range(CASES)})
    assert_same(masks(out), place)
