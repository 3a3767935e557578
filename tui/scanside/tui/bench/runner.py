"""A benchmark as a child process, with the queue paused for as long as it runs."""

import asyncio
import contextlib
import importlib.util
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.runtime.errors import UsageError
from scanside.tui.bench.results import results_folder

COMMANDS = ("bench", "selftest")
"""What of `scanside` may be started here."""
_STOP_SECONDS = 5.0


def parse(text: str) -> list[str]:
    """The arguments of `scanside` that were typed.

    Raises:
        UsageError: If they are none that may be started here.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"'{text}' cannot be read ({error}); close the quotation marks.") from error
    words = words[1:] if words[:1] == ["scanside"] else words
    if not words or words[0] not in COMMANDS:
        raise UsageError(
            f"Only `scanside {'` and `scanside '.join(COMMANDS)}` are started here; type one of them."
        )
    return words


def proposal(config: Config, now: float) -> str:
    """The command that is there to begin with: whole studies where the benchmark is installed, else the self-test."""
    bundle = shlex.quote(str(config.service.bundle))
    if importlib.util.find_spec("scanside.benchmarks") is None or importlib.util.find_spec("psutil") is None:
        return f"selftest {bundle}"
    name = time.strftime("latency-%Y%m%d-%H%M.json", time.localtime(now))
    return f"bench run {bundle} -o {shlex.quote(str(results_folder(config) / name))}"


def busy_with(cases: Iterable[Case]) -> str | None:
    """Why a benchmark must not start now, as a sentence; None when the queue is idle."""
    waits = {
        State.RUNNING: "is running",
        State.QUEUED: "waits to be computed",
        State.RECEIVING: "is being received",
    }
    found = [case for case in cases if case.state in waits]
    if not found:
        return None
    first = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"Case {first.case_id} {waits[first.state]}{more}: patients go first; start again when the queue is idle."


class Run:
    """One child process. It has a process group of its own, so that stopping it stops its children too."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def follow(self, say: Callable[[str], None]) -> int:
        """Run it to its end, line by line; returns its exit code, negative for a signal."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "scanside.runtime.cli.main",
            *self.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        try:
            async for raw in self._process.stdout:
                # A progress bar rewrites its line: the last state of it is what counts.
                say(raw.decode("utf-8", "replace").rstrip("\n").rsplit("\r", 1)[-1])
            return await self._process.wait()
        finally:
            await self.stop()

    async def stop(self) -> None:
        """End it and everything it started."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
                return
