"""Cases on many machines by Ray: one actor is one opened bundle, and files are the results (ADR 20).

A cohort is a list of independent cases whose images and masks are files on storage that all nodes see. So nothing but
names goes over Ray: core actors, no tables. Ray's own retries are off; a case whose actor or node dies goes to another
actor here, where it is known which. A worker replays the golden cases before its first case; one that fails them takes
no part.
"""

import os
import platform
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.errors import BackendError, BundleError, ExitCode
from scanside.runtime.events import ignore
from scanside.runtime.golden import first_problem, replay_all
from scanside.runtime.mask_steps import MaskSteps
from scanside.runtime.options import Options
from scanside.runtime.run import CaseResult, Item, Steps, run_items

TRIES = 3
"""How many workers a case may kill before it counts as failed: one that does not fit into memory kills each."""
Kind = Literal["masks", "studies"]
_GPU_DEVICES = ("cuda", "tensorrt", "tensorrt-rtx")
_CPUS = 4
_SECONDS = 5


@dataclass(frozen=True)
class Done:
    """A case that ended, and where."""

    result: CaseResult
    device: str
    node: str


class Worker:
    """What an actor does: it opens the bundle, proves it, and computes one item after the other."""

    def __init__(self, kind: Kind, bundle: Path, sha256: str, options: Options) -> None:
        """Open and prove.

        Raises:
            BundleError: If this node sees another bundle.
            BackendError: If golden cases fail here.
        """
        opened = open_bundle(bundle)
        node = platform.node()
        if opened.sha256 != sha256:
            raise BundleError(f"{bundle} on {node} is another bundle than the one that was started with.")
        self._steps, problem = _OPENED[kind](opened, options)
        if problem is not None:
            raise BackendError(f"{node} does not compute what it must: {problem}.")

    def ready(self) -> str:
        """The node, once the bundle is opened and proven."""
        return platform.node()

    def compute(self, item: Item) -> Done:
        """Compute an item and write its files."""
        (result,) = run_items(self._steps, [item], ignore)
        return Done(result, self._steps.device, platform.node())


def _masks(bundle: Bundle, options: Options) -> tuple[Steps[Any, Any], str | None]:
    segmenter = open_segmenter(bundle, options)
    return MaskSteps(segmenter, hashed=True), first_problem(replay_all(segmenter))


def _studies(bundle: Bundle, options: Options) -> tuple[Steps[Any, Any], str | None]:
    from scanside.runtime.study.batch import StudySteps, prove
    from scanside.runtime.study.pipeline import StudyRunner

    runner = StudyRunner(bundle, options)
    return StudySteps(runner, bundle, options), prove(bundle, runner)


_OPENED: dict[Kind, Callable[[Bundle, Options], tuple[Steps[Any, Any], str | None]]] = {
    "masks": _masks,
    "studies": _studies,
}
"""What a worker opens → what it does with an item, and why it may not."""


def run_on_ray(
    address: str,
    kind: Kind,
    bundle: Bundle,
    options: Options,
    items: Sequence[Item],
    say: Callable[[str], None],
) -> Iterator[Done]:
    """Compute items on the nodes of a Ray cluster; yields them as they end, each once.

    Args:
        kind: What they are: cases that get masks, or studies.
        address: `auto`, `host:port`, or `local` for a cluster of this machine alone.
        say: Receives what happens to workers, a sentence at a time.

    Raises:
        BackendError: If the cluster cannot be reached, or no worker is left.
    """
    _check_reachable(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # a hospital's cluster reports to nobody
    import ray

    try:
        ray.init(
            None if address == "local" else address,
            log_to_driver=False,
            logging_level="ERROR",
            **({"include_dashboard": False} if address == "local" else {}),
        )
    except Exception as error:  # Ray's errors share no base class
        raise _unreachable(address, type(error).__name__) from error
    try:
        pool = _Pool(ray, kind, bundle, options, items, say)
        yield from pool.run()
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """See that something listens: Ray itself tries for minutes, and prints while it does."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=_SECONDS).close()
        except OSError as error:
            raise _unreachable(address, error.strerror or type(error).__name__) from error


def _unreachable(address: str, reason: str) -> BackendError:
    return BackendError(
        f"No Ray cluster answers at {address} ({reason}); start one with `ray start`, or check the address "
        "and its token."
    )


class _Pool:
    """The actors, and which of them computes what."""

    def __init__(
        self,
        ray: Any,
        kind: Kind,
        bundle: Bundle,
        options: Options,
        items: Sequence[Item],
        say: Callable[[str], None],
    ) -> None:
        self._ray, self._say = ray, say
        self._arguments = (kind, bundle.path.resolve(), bundle.sha256, options)
        self._waiting = deque(items)
        self._tries: dict[str, int] = {}
        self._starting: dict[Any, Any] = {}
        self._working: dict[Any, tuple[Any, Item]] = {}
        gpus = options.device in _GPU_DEVICES or (
            options.device == "auto" and any(node["Resources"].get("GPU") for node in ray.nodes())
        )
        cpus = options.threads or _CPUS
        self._needs = {"num_gpus": 1} if gpus else {"num_cpus": cpus}
        resource, each = ("GPU", 1) if gpus else ("CPU", cpus)
        self._places = sum(
            int(node["Resources"].get(resource, 0) // each) for node in ray.nodes() if node["Alive"]
        )
        if self._places == 0:
            raise BackendError(
                f"No node of the cluster has {each} {resource}(s) for a worker; lower --threads or add a node."
            )

    def run(self) -> Iterator[Done]:
        """Until every case has ended."""
        for _ in range(min(self._places, len(self._waiting))):
            self._start()
        while self._waiting or self._working:
            if not self._starting and not self._working:
                raise BackendError(
                    f"No worker is left, and {len(self._waiting)} case(s) are not done; see the sentences above, and "
                    "go on with --resume."
                )
            ready, _ = self._ray.wait([*self._starting, *self._working], num_returns=1)
            yield from self._settle(ready[0])

    def _start(self) -> None:
        """Ask for one more worker; Ray decides where."""
        actor = self._ray.remote(Worker).options(max_restarts=0, **self._needs).remote(*self._arguments)
        self._starting[actor.ready.remote()] = actor

    def _settle(self, reference: Any) -> Iterator[Done]:
        errors = self._ray.exceptions
        if reference in self._starting:
            actor = self._starting.pop(reference)
            try:
                self._ray.get(reference)
            except (errors.RayError, BackendError, BundleError) as error:
                self._say(f"A worker takes no part: {_reason(error)}")
            else:
                self._next(actor)
            return
        actor, task = self._working.pop(reference)
        try:
            done: Done = self._ray.get(reference)
        except errors.RayError as error:
            yield from self._lost(task, error)
        else:
            self._next(actor)
            yield done

    def _next(self, actor: Any) -> None:
        if self._waiting:
            task = self._waiting.popleft()
            self._working[actor.compute.remote(task)] = (actor, task)

    def _lost(self, task: Item, error: Exception) -> Iterator[Done]:
        """The worker of a case is gone: the case goes to another, and another worker is asked for."""
        name = task.name
        self._tries[name] = self._tries.get(name, 0) + 1
        if self._tries[name] < TRIES:
            self._say(f"{name}: its worker was lost ({_reason(error)}); it is computed again")
            self._waiting.appendleft(task)
        else:
            words = f"{name} was lost with {TRIES} workers in turn; it may need more memory than a node has."
            failed = CaseResult(name, "failed", words, task.inputs, (), {}, None, ExitCode.CASE_FAILED)
            yield Done(failed, "none", "none")
        if self._waiting:
            self._start()


def _reason(error: BaseException) -> str:
    """The first line that says something: of the cause, where Ray hands it on."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return (
        lines[-1] if isinstance(cause, (BackendError, BundleError)) else (lines or [type(error).__name__])[0]
    )
