"""The device asked for is the device obtained, or there is a reason."""

from collections.abc import Callable

import numpy as np
import pytest

from scanside.runtime.arrays import Float32
from scanside.runtime.backends import openvino, ort, table
from scanside.runtime.backends.session import Closing, Session, SessionSpec
from scanside.runtime.errors import BackendError, UsageError
from tests.support.sentences import assert_one_sentence
from tests.support.session_contract import model


class Other(Closing):
    """A session that says it is something else."""

    def __init__(self, device: str, precision: str) -> None:
        self.spec = SessionSpec((1, 4, 4, 4), 2, device, precision)
        self.closed = False

    def run(self, tiles: Float32) -> Float32:
        return np.zeros((1, 2, 4, 4, 4), np.float32)

    def close(self) -> None:
        self.closed = True


def giving(session: Other) -> Callable[..., Session]:
    return lambda model, precision, threads=None: session


def test_every_device_has_the_names_of_a_backend() -> None:
    for device in table.DEVICES:
        module = table.backend(device)
        assert device == module.NAME and module.TITLE
        assert module.FILES["fp32"] == "fp32" and set(module.FILES) <= set(table.PRECISIONS)
        assert (
            (module.on_device is not None)
            == (device in ("tensorrt", "tensorrt-rtx", "cuda"))
            == module.ON_TRIAL
        )
        assert (module.kept is not None) == (device in ("tensorrt", "tensorrt-rtx", "openvino"))
        absent = module.missing()
        if absent is None:
            assert any(digit.isdigit() for digit in module.version())
        else:
            assert module.ON_TRIAL and all(absent)


def test_an_unknown_device() -> None:
    with pytest.raises(UsageError) as caught:
        table.open_session("abacus", b"", "fp32")
    assert_one_sentence(str(caught.value), "abacus", *table.DEVICES)


@pytest.mark.parametrize("device", table.DEVICES)
def test_a_missing_backend_says_how_to_get_it(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        table.backend(device), "missing", lambda: (f"{device} is not installed", "pip install it")
    )
    with pytest.raises(BackendError) as caught:
        table.open_session(device, model("3d", "fp32"), "fp32")
    assert_one_sentence(str(caught.value), f"{device} is not installed", "pip install it")


@pytest.mark.parametrize("module", [ort, openvino])
def test_a_library_that_is_not_installed_is_missing(
    module: table.Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    absent = module.missing()
    assert absent is not None
    assert "not installed" in absent[0] and "pip install" in absent[1]


@pytest.mark.parametrize(("device", "precision"), [("openvino", "mixed"), ("cpu", "bf16")])
def test_a_precision_the_device_lacks(device: str, precision: str) -> None:
    with pytest.raises(BackendError) as caught:
        table.open_session(device, model("3d", "fp32"), precision)
    able = "cpu" if device == "openvino" else "openvino"
    assert_one_sentence(str(caught.value), device, precision, f"--device {able}")


def test_a_precision_nobody_has() -> None:
    with pytest.raises(BackendError) as caught:
        table.open_session("cpu", model("3d", "fp32"), "int4")
    assert_one_sentence(str(caught.value), "int4", "fp32")


@pytest.mark.parametrize("obtained", [("openvino", "fp32"), ("cpu", "mixed"), ("cuda", "bf16")])
def test_another_device_or_precision_than_asked_for(
    obtained: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Other(*obtained)
    monkeypatch.setattr(ort, "open_session", giving(session))
    with pytest.raises(BackendError, match="Asked for cpu in fp32, obtained"):
        table.open_session("cpu", model("3d", "fp32"), "fp32")
    assert session.closed
