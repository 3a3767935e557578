"""`make test-fast` runs what needs no PyTorch, and only that: it is read from what files import."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.needs import needs_more

TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("runtime/appliance/store/test_jobs.py", False),
        ("runtime/dicom/test_sr.py", False),  # by way of helpers that need nothing either
        ("tui/test_words.py", False),
        ("export/test_matrix.py", True),
        ("training/phantom/test_physics.py", True),  # another component
        ("runtime/images/test_read.py", True),  # inside a function
        ("runtime/stages", True),  # by its conftest.py
        ("tui", False),
        ("support/fake_cuda", False),  # no Python at all
    ],
)
def test_what_a_file_needs_is_read_from_its_imports(name: str, more: bool) -> None:
    assert (TESTS / name).exists() and needs_more(TESTS / name) == more


def test_nothing_that_is_collected_for_it_loads_pytorch() -> None:
    code = (
        "import sys, pytest\n"
        "code = pytest.main(['--light', '--collect-only', '-qq', '-p', 'no:cacheprovider', 'tests'])\n"
        "sys.exit(int(code) or sorted({'torch', 'nnunetv2', 'sklearn', 'matplotlib'} & {*sys.modules}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TESTS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
