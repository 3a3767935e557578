"""A Python module in a process of its own that is asked line by line: one JSON document in, one out."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scanside.benchmarks.processes import tail
from scanside.runtime import errors
from scanside.runtime.errors import CaseError, ScansideError


class Child:
    """The parent's side. Use as a context manager."""

    def __init__(self, name: str, module: str, argument: Path, log: Path) -> None:
        """Start it.

        Args:
            name: For errors.
            module: Run as `python -m module argument`.
            log: Receives whatever libraries print.
        """
        self._name, self._log = name, log
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(argument)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
            )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask something and wait for the answer.

        Raises:
            CaseError: If the process fails.
        """
        self.tell(request)
        return self.answer()

    def tell(self, request: dict[str, Any]) -> None:
        """Ask something; `answer` waits for what it says.

        Raises:
            CaseError: If the process has ended.
        """
        assert self._process.stdin is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._failed() from None

    def answer(self) -> dict[str, Any]:
        """Wait for what it says next.

        Raises:
            ScansideError: What it says has happened, as if it had happened here.
            CaseError: If the process fails.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failed()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise getattr(errors, answer["error"])(answer["words"])
        return answer

    def _failed(self) -> CaseError:
        code = self._process.wait()
        return CaseError(f"{self._name} failed with exit code {code}: {tail(self._log)}")

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        self.close()


def told(error: ScansideError) -> dict[str, Any]:
    """The answer that raises this error in the parent."""
    return {"error": type(error).__name__, "words": str(error)}


def answering() -> tuple[Callable[[dict[str, Any]], None], Iterator[dict[str, Any]]]:
    """The process's own side: how it answers, and what it is asked. Whatever libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(document: dict[str, Any]) -> None:
        print(json.dumps(document), file=answers, flush=True)

    return answer, (json.loads(line) for line in sys.stdin)
