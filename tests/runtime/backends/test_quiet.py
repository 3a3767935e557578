"""What libraries print never reaches the channel of our data, be it Python's `print` or C's `puts`."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scanside.runtime.backends.quiet import captured

LOUD = """
import ctypes
print("a library's print")
ctypes.CDLL(None).puts(b"a library's puts")
__version__ = "1"
"""


def test_all_that_is_printed_inside_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with captured() as said:
        print("python")
        print("words", file=sys.stderr)
        ctypes.CDLL(None).puts(b"C")
        os.write(2, b"\x1b[1;31mred\x1b[m\n")
    print("after")
    outside = capfd.readouterr()
    assert set(said.text.split()) == {"python", "words", "C", "red"}
    assert outside.out == "before\nafter\n" and outside.err == ""


def test_an_error_passes_and_everything_is_put_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), captured() as said:
        print("the reason")
        raise ValueError
    print("after")
    assert "the reason" in said.text and capfd.readouterr().out == "after\n"


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_stdout_is_json_whatever_a_library_prints(name: str, tmp_path: Path) -> None:
    """`doctor` imports every library; these two print while they load and while the process ends."""
    (tmp_path / f"{name}.py").write_text(
        f"{LOUD}\nimport atexit\natexit.register(ctypes.CDLL(None).puts, b'bye')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "scanside.runtime.cli.main", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout)["schema"].startswith("scanside.doctor/"), done.stderr
    assert "bye" in done.stderr  # it did print
