"""No engine is used before it has shown on this machine that it computes the same labels; what then is a policy.

The engines here are sessions that break in the ways known of engines: black masks, NaN, wrong labels.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scanside.runtime import choose
from scanside.runtime.arrays import Float32
from scanside.runtime.backends import engines, ort
from scanside.runtime.backends.session import Closing, Session
from scanside.runtime.backends.trt import RTX
from scanside.runtime.bundle import open_bundle
from scanside.runtime.device import gpu_arrays
from scanside.runtime.errors import BackendError, ExitCode
from scanside.runtime.options import Options
from scanside.runtime.segmenter import Segmenter
from tests.support.sentences import assert_one_sentence
from tests.support.strict_arrays import OnDevice, StrictArrays
from tests.support.tiny_models import Tiny, write_model

pytestmark = pytest.mark.requirement("device-proven")

RIGHT, OTHER = "a" * 64, "b" * 64
DEVICE = "tensorrt-rtx"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from scanside.export.nnunet import ExportOptions, export_nnunet
    from tests.support.onnx_exports import shared

    root = tmp_path_factory.mktemp("choose")
    options = ExportOptions(precisions=("fp32",))
    with shared():
        export_nnunet(write_model(root, Tiny()), root / "tiny.bundle", options, lambda sentence: None)
    return root / "tiny.bundle"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


class Engine(Closing):
    """ONNX Runtime behind the name of another device, with something done to what it gives."""

    def __init__(self, session: Session, harm: Callable[[Float32], Float32], engine: str) -> None:
        self.session, self.harm = session, harm
        self.spec = replace(session.spec, device=DEVICE, engine=engine)

    def run(self, tiles: Float32) -> Float32:
        return self.harm(self.session.run(tiles))

    def between(self, image: OnDevice, logits: OnDevice) -> None:
        logits[...] = self.run(np.asarray(image)).view(OnDevice)

    def scratch(self, batch: int) -> int:
        return 0

    def close(self) -> None:
        self.session.close()


class Made:
    """A registered engine: which one is kept, which one opens, and how often the golden cases ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.harm: Callable[[Float32], Float32] = lambda output: output
        self.kept: str | None = None
        self.opens, self.replays = RIGHT, 0
        monkeypatch.setattr(RTX, "missing", lambda: None, raising=False)
        monkeypatch.setattr(RTX, "version", lambda: "tensorrt-rtx 1, made for a test", raising=False)
        monkeypatch.setattr(RTX, "kept", lambda network, precision, threads: self.kept, raising=False)
        monkeypatch.setattr(RTX, "open_session", self.open, raising=False)
        monkeypatch.setattr(gpu_arrays, "gpu_arrays", StrictArrays)
        replay = choose.replay_all

        def counted(segmenter: Segmenter) -> object:
            self.replays += 1
            return replay(segmenter)

        monkeypatch.setattr(choose, "replay_all", counted)

    def open(self, model: bytes, precision: str, threads: int | None = None) -> Session:
        return Engine(ort.open_session(model, precision, threads), self.harm, self.opens)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(monkeypatch)


def black(output: Float32) -> Float32:
    still = np.zeros_like(output)
    still[:, 0] = 5
    return still


HARMS: dict[str, tuple[Callable[[Float32], Float32], str]] = {
    "black": (black, "constant"),
    "nan": (lambda output: output * np.float32(np.nan), "not finite"),
    "inf": (lambda output: np.where(output > 0, np.float32(np.inf), output), "not finite"),
    "wrong": (lambda output: np.flip(output, axis=1).copy(), "golden case"),
    "shifted": (lambda output: np.roll(output, 1, axis=-1), "golden case"),
}
every_harm = pytest.mark.parametrize(("harm", "words"), HARMS.values(), ids=list(HARMS))


@every_harm
def test_an_engine_asked_for_by_name_is_tried_and_rejected(
    harm: Callable[[Float32], Float32], words: str, bundle: Path, made: Made
) -> None:
    made.harm = harm
    with pytest.raises(BackendError) as caught:
        choose.open_segmenter(open_bundle(bundle), Options(device=DEVICE))
    assert_one_sentence(str(caught.value), f"'{DEVICE}' is rejected", "--on-rejection next")
    assert words.lower() in str(caught.value).lower()
    assert caught.value.exit_code == ExitCode.BACKEND


@every_harm
@pytest.mark.parametrize("asked", ["auto", DEVICE])
def test_or_the_next_backend_is_used_and_every_result_says_so(
    asked: str, harm: Callable[[Float32], Float32], words: str, bundle: Path, made: Made
) -> None:
    made.harm = harm
    said: list[str] = []
    options = Options(device=asked, on_rejection=None if asked == "auto" else "next")
    with choose.open_segmenter(open_bundle(bundle), options, said.append) as segmenter:
        assert segmenter.device.obtained == "openvino" and segmenter.device.asked == asked
        why = segmenter.device.why.lower()
        assert f"not {DEVICE}:" in why and words.lower() in why
    assert any(f"Device {DEVICE} is not used" in sentence for sentence in said)


def test_auto_may_be_told_to_fail(bundle: Path, made: Made) -> None:
    made.harm = black
    with pytest.raises(BackendError, match="is rejected"):
        choose.open_segmenter(open_bundle(bundle), Options(on_rejection="fail"))


def test_an_engine_that_computes_is_proven_once(bundle: Path, made: Made) -> None:
    opened = open_bundle(bundle)
    for _ in range(3):
        with choose.open_segmenter(opened, Options(device=DEVICE)) as segmenter:
            assert segmenter.device.obtained == DEVICE and "passes the golden cases" in segmenter.device.why
            assert segmenter.device.engines == {RIGHT}
        made.kept = RIGHT
    assert made.replays == 1


def test_another_engine_is_tried_anew(bundle: Path, made: Made) -> None:
    opened = open_bundle(bundle)
    choose.open_segmenter(opened, Options(device=DEVICE)).close()
    made.opens = made.kept = OTHER
    choose.open_segmenter(opened, Options(device=DEVICE)).close()
    assert made.replays == 2
    made.opens, made.kept, made.harm = RIGHT, None, black  # built anew, and this time it is broken
    with pytest.raises(BackendError, match="constant"):
        choose.open_segmenter(opened, Options(device=DEVICE))


def test_an_engine_that_changes_after_its_trial_is_not_used(bundle: Path, made: Made) -> None:
    opened = open_bundle(bundle)
    choose.open_segmenter(opened, Options(device=DEVICE)).close()
    made.kept, made.opens = RIGHT, OTHER
    with pytest.raises(BackendError) as caught:
        choose.open_segmenter(opened, Options(device=DEVICE))
    assert_one_sentence(str(caught.value), "changed after the golden cases", "run again")


def test_an_engine_cache_that_cannot_be_trusted_is_a_rejection(
    bundle: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(network: object, precision: str, threads: int | None) -> str:
        raise BackendError("The engine cache is open to other users; remove it.")

    monkeypatch.setattr(RTX, "kept", refuse, raising=False)
    with pytest.raises(BackendError, match="is rejected: The engine cache is open"):
        choose.open_segmenter(open_bundle(bundle), Options(device=DEVICE))
    with choose.open_segmenter(open_bundle(bundle)) as segmenter:
        assert segmenter.device.obtained == "openvino" and "open to other users" in segmenter.device.why


def test_without_golden_cases_an_engine_proves_nothing(bundle: Path, made: Made) -> None:
    opened = open_bundle(bundle)
    bare = replace(opened, manifest=opened.manifest.model_copy(update={"golden": ()}))
    with pytest.raises(BackendError, match="no golden case"):
        choose.open_segmenter(bare, Options(device=DEVICE))
    with choose.open_segmenter(bare, Options()) as segmenter:
        assert segmenter.device.obtained == "openvino" and "no golden case" in segmenter.device.why


def test_what_is_not_here_is_refused_by_name_with_its_remedy(bundle: Path) -> None:
    for device in ("tensorrt", "tensorrt-rtx", "cuda"):
        module = choose.backend(device)
        if module.missing() is None:
            continue
        for on_rejection in (None, "next"):
            options = Options(device=device, on_rejection=on_rejection)  # type: ignore[arg-type]
            with pytest.raises(BackendError) as caught:
                choose.open_segmenter(open_bundle(bundle), options)
            assert_one_sentence(str(caught.value), device, "not available", "install")


def test_a_cpu_asked_for_by_name_is_tried_where_a_policy_is_given(bundle: Path, made: Made) -> None:
    with choose.open_segmenter(open_bundle(bundle), Options(device="cpu")) as segmenter:
        assert segmenter.device.why == "asked for" and made.replays == 0
    with choose.open_segmenter(open_bundle(bundle), Options(device="cpu", on_rejection="fail")) as segmenter:
        assert "passes the golden cases" in segmenter.device.why and made.replays == 1


def test_the_report_of_a_run_carries_the_rejection(
    bundle: Path, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import SimpleITK as sitk

    from scanside.runtime.cli.main import run
    from tests.support.phantoms import image

    made.harm = black
    scan = tmp_path / "scan.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(image((14, 26, 22), seed=1)[0].astype(np.int16)), str(scan))
    arguments = ["segment", str(bundle), str(scan), "-o", str(tmp_path / "out"), "--device", DEVICE, "--json"]
    assert run(arguments) == ExitCode.BACKEND
    assert "is rejected" in capsys.readouterr().err
    assert run([*arguments, "--on-rejection", "next"]) == ExitCode.OK
    captured = capsys.readouterr()
    device = json.loads(captured.out)["device"]
    assert device["asked"] == DEVICE and device["obtained"] == "openvino"
    assert f"not {DEVICE}: " in device["why"] and "constant" in device["why"]
    assert f"Device {DEVICE} is not used" in captured.err


def test_what_openvino_compiled_has_golden_cases_of_its_own(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kept network, not only its ONNX file, is what passed: another one, or none, runs them again."""
    replays: list[Segmenter] = []
    replay = choose.replay_all

    def counted(segmenter: Segmenter) -> object:
        replays.append(segmenter)
        return replay(segmenter)

    monkeypatch.setattr(choose, "replay_all", counted)
    opened, said = open_bundle(bundle), list[str]()
    for _ in range(2):
        with choose.open_segmenter(opened, Options(), said.append) as segmenter:
            assert segmenter.device.obtained == "openvino" and len(segmenter.engines) == 1
            assert segmenter.engines == segmenter.device.engines
    assert len(replays) == 1 and len(said) == 1 and "First use" in said[0]
    plan = next(engines.folder().glob("*.plan"))
    plan.write_bytes(b"something else")
    with choose.open_segmenter(opened, Options(), said.append) as segmenter:
        assert len(segmenter.engines) == 1 and segmenter.engines == segmenter.device.engines
    assert len(replays) == 2 and "is refused" in said[2]
    with choose.open_segmenter(
        opened, Options(device="openvino")
    ) as segmenter:  # asked for: nothing was judged
        assert segmenter.engines == frozenset()
    assert len(replays) == 2
