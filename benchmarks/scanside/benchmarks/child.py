"""An object in a process of its own, whose methods are called from here: memory and imports count for it alone."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from scanside.benchmarks.processes import tail
from scanside.runtime.errors import CaseError

Held = TypeVar("Held")
_held: Any = None
"""In the process: what it holds."""


class Child(Generic[Held]):
    """The parent's side. Use as a context manager."""

    def __init__(self, name: str, log: Path, make: Callable[..., Held], *arguments: Any) -> None:
        """Start it, and wait until the object is made.

        Args:
            name: For errors.
            log: Receives whatever libraries print.
            make: A function or class of a module, called in the process.

        Raises:
            CaseError: If the process dies; what `make` itself raises comes here as it is.
        """
        self._name, self._log = name, log
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, _open, (str(log),))
        self._pid: int = self.wait(self._pool.submit(os.getpid))
        try:
            self.wait(self._pool.submit(_make, make, arguments))
        except BaseException:
            self.close(kill=True)
            raise

    def ask(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of the object, named by its class's function, and wait for what it returns."""
        return self.wait(self.tell(method, *arguments))

    def tell(self, method: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Call a method; `wait` for what it returns."""
        return self._pool.submit(_call, method.__name__, arguments)

    def wait(self, future: "Future[Any]") -> Any:
        """What a call returns, or raises.

        Raises:
            CaseError: If the process dies, such as for lack of memory.
        """
        try:
            return future.result()
        except BrokenProcessPool:
            raise CaseError(
                f"{self._name} was killed, most likely for lack of memory ({tail(self._log)}); free some and try again."
            ) from None

    def close(self, kill: bool = False) -> None:
        """End the process, as soon as its call has returned or at once."""
        if kill:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(kill=kind is not None)


def _open(log: str) -> None:
    """The process's own side: whatever is printed goes to the log."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)


def _make(make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    global _held
    _held = make(*arguments)


def _call(method: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_held, method)(*arguments)
