"""`--engine` against a real Triton server that serves the demonstration's bundle."""

import itertools
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from scanside.runtime.acceptance.models import bundle_checks
from scanside.runtime.appliance.check import Finding, check
from scanside.runtime.appliance.config import Config, Work, load_config
from scanside.runtime.appliance.config.document import EngineServer
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.runtime.appliance.work.main import Worker
from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.cli.main import run
from scanside.runtime.errors import BackendError, InputError, ScansideError, UsageError
from scanside.runtime.events import StageStarted
from scanside.runtime.ledger import NAMES
from scanside.runtime.options import Options
from scanside.runtime.triton import segmenter as remote
from scanside.runtime.triton.address import Engine
from scanside.runtime.trust import Trust
from scanside.runtime.volume import Geometry, Volume
from scanside.training.demo import BUNDLE
from tests.runtime.appliance.work import filled
from tests.runtime.study.tiny_study import write_dicom
from tests.support import phantoms
from tests.support.peers import LOOPBACK, TlsProxy, free_port
from tests.support.tls_files import make_tls
from tests.support.triton import Meddler, Triton

pytestmark = pytest.mark.requirement("server-proven")
MODEL = "pancreas-phantom-t2w"
CASES = 3
GOLDEN = 2


@dataclass(frozen=True)
class Place:
    """A server, and images with the masks that this machine computes of them."""

    server: Triton
    root: Path
    alone: dict[str, npt.NDArray[Any]]

    @property
    def images(self) -> Path:
        return self.root / "images"


def liar(model: Path, code: str) -> None:
    """Turn a served model into one that does something else, and says nothing of it."""
    with (model / "1" / "model.py").open("a") as file:
        file.write(code)


LYING = """
from scanside.runtime.triton import served
_segment = served.Segmenter.segment
def _other(self, volume, **words):
    found = _segment(self, volume, **words)
    found.mask[:, :, 2:] = found.mask[:, :, :-2].copy()
    return found
_initialize = TritonPythonModel.initialize
def _late(self, args):
    _initialize(self, args)
    served.Segmenter.segment = _other
TritonPythonModel.initialize = _late
"""
BY_AS_NUMPY = """
from scanside.runtime.triton import served
class _AsNumpy:
    def __getattr__(self, name):
        return getattr(served_numpy, name)
    def from_dlpack(self, tensor):
        return tensor.as_numpy() if tensor.name() == "image" else served_numpy.from_dlpack(tensor)
served_numpy, served.np = served.np, _AsNumpy()
"""


def altered(repository: Path, name: str, code: str) -> None:
    shutil.copytree(repository / MODEL, repository / name)
    config = repository / name / "config.pbtxt"
    config.write_text(config.read_text().replace(f'"{MODEL}"', f'"{name}"', 1))
    liar(repository / name, code)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("triton")
    repository = root / "repository"
    assert (
        run(["export", "triton", str(BUNDLE), "-o", str(repository), "--device", "cpu", "--threads", "1"])
        == 0
    )
    altered(repository, "lying", LYING)
    altered(repository, "by-as-numpy", BY_AS_NUMPY)
    changed = repository / "changed" / "1" / "bundle" / "bundle.json"
    altered(repository, "changed", "")
    changed.write_text(changed.read_text().replace('"version": "2"', '"version": "3"'))
    server = Triton(repository, root)
    server.start(MODEL, "lying", "by-as-numpy", "changed", "pancreas-phantom-dwi", wait=False)
    (root / "images").mkdir()
    for index in range(CASES):
        image = sitk.GetImageFromArray(phantoms.smooth((20, 60 + index, 64), index) * 100)
        image.SetSpacing((3.0, 3.0, 5.0))
        sitk.WriteImage(image, str(root / "images" / f"c{index}_0000.nii.gz"))
    assert segmented(root, root / "alone", "--device", "cpu", "--threads", "1") == 0
    server.wait()
    yield Place(server, root, masks(root / "alone"))
    server.kill()


def segmented(root: Path, out: Path, *options: str, images: str = "images") -> int:
    return run(["segment", str(BUNDLE), str(root / images), "-o", str(out), "--role", "t2w", *options])


def masks(out: Path) -> dict[str, npt.NDArray[Any]]:
    return {path.name: sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in out.glob("*.nii.gz")}


def assert_same(found: dict[str, npt.NDArray[Any]], place: Place) -> None:
    assert found.keys() == place.alone.keys()
    for name, mask in found.items():
        assert int((mask != place.alone[name]).sum()) == 0
    assert sum(int(mask.sum()) for mask in found.values()) > 100


def lines(out: Path) -> list[dict[str, Any]]:
    found = [
        json.loads(line) for line in (out / f"{NAMES['segment']}.jsonl").read_text().splitlines() if line
    ]
    return [line for line in found if "name" in line]


def small() -> Volume:
    return Volume(phantoms.smooth((8, 40, 40), 1)[None] * 100, Geometry((8, 40, 40), (5.0, 3.0, 3.0)))


def opened(url: str, authority: Path | None = None) -> Any:
    return open_segmenter(open_bundle(BUNDLE), Options(role="t2w", engine=Engine(url, authority, seconds=60)))


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


def truncated(answer: bytes) -> bytes:
    return answer[:-10]


def oversized(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: 99999999999", b"", body])


def swapped(old: bytes, new: bytes) -> Any:
    """Replaces the first `old` of an answer, whose length must not change."""

    def spoil(answer: bytes) -> bytes:
        found = re.search(old, answer)
        assert found is not None and len(found[0]) == len(new)
        return answer.replace(found[0], new, 1)

    return spoil


def flipped(answer: bytes) -> bytes:
    place = answer.index(b"\r\n\r\n") + 4
    length = next(line for line in answer.split(b"\r\n") if line.lower().startswith(b"inference-header"))
    labels = place + int(length.split(b":")[1]) + 40
    return answer[:labels] + bytes([answer[labels] ^ 1]) + answer[labels + 1 :]


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


def case_and_repetition(spoil: Any) -> Any:
    """Spoils the case and, after the golden cases have passed, the same case again."""
    count = itertools.count()
    return lambda answer: spoil(answer) if next(count) in (0, GOLDEN + 1) else answer


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


@pytest.mark.parametrize(
    "options",
    [
        ["--device", "cpu"],
        ["--no-mirroring"],
        ["--threads", "2"],
        ["--folds", "0"],
        ["--step-size", "0.7"],
        ["--ray", "local"],
    ],
    ids=lambda words: words[0],
)
def test_what_an_engine_cannot_heed_is_refused(tmp_path: Path, options: list[str]) -> None:
    assert segmented(tmp_path, tmp_path / "out", "--engine", "triton://server:8000", *options) == 2


@pytest.mark.parametrize(
    "url",
    [
        "server:8000/x",
        "http://server:8000/x",
        "triton://server/x",
        "triton://server:8000/x/y",
        "triton://a@b:1/x",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no engine"):
        Engine(url)


def worked(config: Config, database: Database, case_id: str, url: str) -> Case:
    """The case after a worker has taken its job once."""
    work = Work(engine=EngineServer(url=url), tries=1, backoff_seconds=0)
    worker = Worker(config.model_copy(update={"work": work}), database, threading.Event())
    assert worker.step()
    worker.close()
    return filled.shown(database, case_id)


def test_studies_wait_while_the_server_is_away(tmp_path: Path) -> None:
    config, database = filled.opened(filled.configured(tmp_path, BUNDLE))
    case_id = filled.received(config, database, sorted(write_dicom(tmp_path / "study").rglob("*.dcm")))
    away = worked(config, database, case_id, f"triton://{LOOPBACK}:{free_port()}")
    assert (away.state, away.attempts) == (State.QUEUED, 0), "the study has no part in it"
    assert "cannot be reached" in (away.reason or "")


@pytest.mark.slow
def test_the_appliance_computes_a_study_on_it(place: Place, tmp_path: Path) -> None:
    study, alone = write_dicom(tmp_path / "study"), tmp_path / "alone"
    assert run(["run", str(BUNDLE), str(study), "-o", str(alone), "--device", "cpu", "--threads", "1"]) in (
        0,
        5,
    )
    config, database = filled.opened(filled.configured(tmp_path, BUNDLE))
    case_id = filled.received(config, database, sorted(study.rglob("*.dcm")))
    done = worked(config, database, case_id, place.server.url)
    assert done.state == State.SENDING and done.result is not None
    out = config.results / done.result
    report, expected = (json.loads((one / "result.json").read_text()) for one in (out, alone))
    assert report["device"]["engine"] == report["device"]["asked"] == place.server.url
    assert report["device"]["obtained"] == "cpu" and not report["approximations"]
    assert report["status"] == expected["status"] and report["probability"] == expected["probability"]
    there = masks(out)
    assert there.keys() == masks(alone).keys() != set()
    assert all(int((mask != masks(alone)[name]).sum()) == 0 for name, mask in there.items())


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


@pytest.mark.slow
def test_acceptance_replays_its_golden_cases_there(place: Place) -> None:
    options = Options(engine=Engine(place.server.url, seconds=60))
    rows = list(bundle_checks(open_bundle(BUNDLE), options, Trust(allow=("pancreas-phantom",))))
    golden = [row for row in rows if "synthetic" in row.name and "study" not in row.name]
    assert len(golden) == 4 and {row.result.outcome for row in golden} == {"passed"}


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ('engine = { url = "triton://10.0.0.1:8000" }', "is not this machine: use triton.https"),
        ('engine = { url = "http://server:8000" }', "is no engine"),
        ('engine = { url = "triton+https://server:443" }\ndevice = "cpu"', "leave out device"),
    ],
)
def test_a_configuration_that_would_surprise_is_refused(tmp_path: Path, work: str, words: str) -> None:
    path = filled.configured(tmp_path, BUNDLE)
    text = re.sub(r"(?ms)^\[work\].*?(?=^\[)", f"[work]\n{work}\n", path.read_text())
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        load_config(path)


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


@pytest.mark.slow
def test_two_clients_and_a_server_that_is_killed_again_and_again(place: Place, tmp_path: Path) -> None:
    """Every image of both once, with the labels of this machine, whatever the server was doing when it died."""
    count, kills = 12, 4
    (tmp_path / "images").mkdir()
    for index in range(count):
        source = place.images / f"c{index % CASES}_0000.nii.gz"
        shutil.copyfile(source, tmp_path / "images" / f"c{index}_0000.nii.gz")
    outs = [tmp_path / "first", tmp_path / "second"]
    program = [
        sys.executable,
        "-m",
        "scanside.runtime.cli.main",
        "segment",
        str(BUNDLE),
        str(tmp_path / "images"),
    ]
    clients = [
        subprocess.Popen([*program, "-o", str(out), "--role", "t2w", "--engine", place.server.url])
        for out in outs
    ]
    for _ in range(kills):
        before = sum(len(list(out.glob("*.nii.gz"))) for out in outs)
        while sum(len(list(out.glob("*.nii.gz"))) for out in outs) < before + 3:
            time.sleep(0.01)
        assert any(client.poll() is None for client in clients), "it dies while there is something to do"
        place.server.kill()
        place.server.start(MODEL)
    assert [client.wait(600) for client in clients] == [0, 0]
    for out in outs:
        assert Counter(line["name"] for line in lines(out)) == Counter({f"c{i}": 1 for i in range(count)})
        found = masks(out)
        assert len(found) == count
        for index in range(count):
            expected = place.alone[f"c{index % CASES}.nii.gz"]
            assert int((found[f"c{index}.nii.gz"] != expected).sum()) == 0
