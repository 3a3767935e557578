import sys
from pathlib import Path

import pytest

from scanside.benchmarks.processes import MIB, high_water_mark, reset_high_water_mark, run_measured
from scanside.runtime.errors import CaseError
from tests.support.interpreter import python

HOLD = "import time; held = bytearray(150 * 2**20); held[::4096] = b'x' * len(held[::4096]); time.sleep(1.5)"


def test_the_memory_of_a_whole_process_tree_counts(tmp_path: Path) -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"
    took = run_measured([sys.executable, "-c", f"import subprocess, sys\n{child}\n{HOLD}"], tmp_path / "log")
    assert 150 < took.peak_mib < 250  # one after the other
    both = f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {HOLD!r}])\n{HOLD}\nchild.wait()"
    took = run_measured([sys.executable, "-c", both], tmp_path / "log")
    assert 300 < took.peak_mib < 450
    assert took.wall_s > 1.5 > took.cpu_s > 0


def test_a_failing_command_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="exit code 3: cannot go on"):
        run_measured(
            [sys.executable, "-c", "import sys; print('cannot go on'); sys.exit(3)"], tmp_path / "log"
        )


def test_the_high_water_mark_can_be_set_back() -> None:
    """In a process of its own: what other tests hold and free at the same time would count too."""
    if not reset_high_water_mark():
        pytest.skip("NOT TESTED: this system does not let a process reset its VmHWM")
    code = f"""
from {high_water_mark.__module__} import high_water_mark, reset_high_water_mark
reset_high_water_mark()
before = high_water_mark()
held = bytearray(100 * {MIB})
held[::4096] = b"x" * len(held[::4096])
print(high_water_mark() - before)
del held
reset_high_water_mark()
print(high_water_mark() - before)
"""
    held, after = map(int, python(code).stdout.split())
    assert held > 90 * MIB and after < 20 * MIB
