"""What the console chooses is opened when it is asked for, and nothing answers that has not passed its golden cases."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scanside.runtime import Options, open_bundle
from scanside.runtime.cli.mrd import _open
from scanside.runtime.errors import BackendError, CaseError, UsageError
from scanside.runtime.mrd.console import read_console
from scanside.runtime.mrd.networks import Networks
from scanside.runtime.mrd.segmenting import Choice
from scanside.runtime.plan import Labels
from scanside.runtime.segmenter import Segmentation
from scanside.training.demo import BUNDLE
from tests.runtime.mrd.test_series import volume
from tests.support.sentences import assert_one_sentence


class Opened:
    """A stand-in for a segmenter that labels everything with one value."""

    def __init__(self, value: int) -> None:
        names: dict[str, int | tuple[int, ...]] = {"background": 0, "one": 1, "two": 2}
        self.value, self.closed = value, False
        self.plan, self.bundle = SimpleNamespace(labels=Labels(names=names)), SimpleNamespace(sha256="a" * 64)

    def segment(self, of: Any) -> Segmentation:
        return Segmentation(np.full(of.geometry.shape, self.value, np.uint8), {"one": 1.0}, {})

    def close(self) -> None:
        self.closed = True


def test_the_console_s_choice_is_opened_once_and_a_wrong_one_is_forgotten() -> None:
    asked: list[Choice] = []
    made: list[Opened] = []

    def open_it(choice: Choice) -> Any:
        asked.append(choice)
        if choice.segmenter == "nobody":
            raise UsageError("There is no segmenter 'nobody' here; choose one of t2w, dwi.")
        made.append(Opened(2 if choice.segmenter else 1))
        return made[-1]

    networks, dwi, nobody = Networks(open_it), Choice("dwi", "cpu"), Choice("nobody")
    for choice, value in ((Choice(), 1), (dwi, 2), (dwi, 2), (Choice(), 1)):
        assert set(np.unique(networks.segment(volume(), choice).mask)) == {value}
    for _ in range(2):
        with pytest.raises(CaseError, match="no segmenter 'nobody'") as caught:
            networks.segment(volume(), nobody)
        assert_one_sentence(str(caught.value))
    assert asked == [Choice(), dwi, nobody, nobody] and networks.problem is None
    networks.close()
    assert [one.closed for one in made] == [True, True]


def test_the_words_of_the_console_are_the_choice() -> None:
    console, _ = read_console('{"parameters": {"Segmenter": "dwi", "device": "default"}}')
    assert (console.segmenter, console.device) == ("dwi", None)


def test_a_segmenter_that_is_not_there_is_named_without_a_command_line() -> None:
    with pytest.raises(UsageError) as caught:
        _open(open_bundle(BUNDLE), Options(role="t2w"), Choice("prostate"))
    assert "'prostate'" in str(caught.value) and "--" not in str(caught.value)
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize("choice", [Choice(), Choice("t2w", "openvino")])
def test_a_device_by_name_has_to_pass_its_golden_cases_too(
    choice: Choice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wrong = SimpleNamespace(case="golden-1", problem="3 voxels differ")
    monkeypatch.setattr("scanside.runtime.choose.replay_all", lambda segmenter: [wrong])
    with pytest.raises(BackendError, match="golden-1: 3 voxels differ"):
        _open(open_bundle(BUNDLE), Options(role="t2w", device="openvino"), choice)
