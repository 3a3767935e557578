"""Engines that this machine built for itself, kept in a folder that only its user can write.

A TensorRT plan is native code: reading one from anywhere else is running a stranger's program. So none is ever taken
from a bundle, a copy or another machine. What OpenVINO compiled is kept in the same way. Beside each plan lies a
sidecar with the plan's sha256 and every fact that it depends on; both are compared before the library sees one byte,
and what does not agree is built anew and said.
"""

import fcntl
import hashlib
import json
import logging
import os
import platform
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scanside.runtime.errors import BackendError
from scanside.runtime.images.files import write_private

SCHEMA = "scanside.engine/2"
ENDINGS = (".plan", ".engine", ".trt")
"""Files of compiled engines; a bundle that holds one is refused."""
_DIGEST = 32
"""Bytes of the sha256 in front of what `remember` keeps."""
_say: ContextVar[Callable[[str], None]] = ContextVar(
    "say", default=logging.getLogger("scanside.engines").warning
)
_keeping: ContextVar[bool] = ContextVar("keeping", default=False)


@dataclass(frozen=True)
class Facts:
    """All that an engine depends on. Where one differs, it is another engine.

    Attributes:
        network: sha256 of the ONNX file.
        library: Flavour and version, such as `tensorrt-rtx 1.7.1.116`.
        gpu, capability: Name of the GPU or processor, and what it can do.
        memory: Of the GPU, bytes; 0 for a processor.
        driver, cuda: Version of the driver, and the newest CUDA it runs; empty for a processor.
        profile: Largest batch asked for, and workspace; of a processor its threads.
    """

    network: str
    library: str
    gpu: str
    capability: str
    memory: int
    driver: str
    cuda: str
    precision: str
    profile: str
    system: str = field(default_factory=lambda: f"{platform.system()} {platform.machine()}")

    @property
    def key(self) -> str:
        """Name of the sidecar in the cache."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Built:
    """What a build gave.

    Attributes:
        batch: The most tiles that the plan takes at once.
        remark: Why these are fewer than were asked for, or None.
    """

    plan: bytes
    batch: int
    remark: str | None = None


@dataclass(frozen=True)
class Engine:
    """A plan that may be deserialised here.

    Attributes:
        sha256: Of the plan: what golden results are remembered by.
        remark: See `Built`.
    """

    plan: bytes
    sha256: str
    remark: str | None = None


@contextmanager
def announcing(say: Callable[[str], None]) -> Iterator[None]:
    """Inside the block, `say` is told what happens to engines; elsewhere the logger `scanside.engines` is."""
    token = _say.set(say)
    try:
        yield
    finally:
        _say.reset(token)


@contextmanager
def keeping(keeps: bool = True) -> Iterator[None]:
    """Inside the block, a device that could as well compile afresh (`keeps_here`) uses this cache.

    Only `choose` opens it, where golden cases judge the very bytes that are kept.
    """
    token = _keeping.set(keeps)
    try:
        yield
    finally:
        _keeping.reset(token)


def keeps_here() -> bool:
    """Whether the block is one of `keeping`."""
    return _keeping.get()


def announce(sentence: str) -> None:
    """Say what happens to an engine."""
    _say.get()(sentence)


def folder() -> Path:
    """The cache, made where it does not exist.

    Raises:
        BackendError: If others own it or can write to it.
    """
    from platformdirs import user_cache_path

    path = user_cache_path("scanside") / "engines"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise BackendError(
            f"The engine cache {path} cannot be made ({error.strerror}); give this user a home to write to."
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise BackendError(
            f"The engine cache {path} does not belong to this user, so its engines could be anybody's code; remove it."
        )
    if status.st_mode & 0o077:
        raise BackendError(
            f"The engine cache {path} is open to other users, so its engines could be anybody's code; "
            "remove it, it is made again with mode 0700."
        )
    return path


@contextmanager
def alone() -> Iterator[None]:
    """Inside the block, no other process is in one: two that begin together keep one engine, and both take that one.

    Where the folder's file system has no locks, both build, and the later one may have to run again.

    Raises:
        BackendError: If the cache is open to others.
    """
    with ExitStack() as held:
        with suppress(OSError):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            file = held.enter_context(os.fdopen(os.open(folder() / "lock", flags, 0o600), "wb"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def obtain(facts: Facts, build: Callable[[], Built], quietly: bool = False) -> Engine:
    """The engine of these facts: from the cache where it is there and untouched, else built and kept.

    Args:
        quietly: A build takes no time worth a sentence; what is refused is said all the same.

    Raises:
        BackendError: If the cache is open to others, or the build fails.
    """
    cache = folder()
    try:
        return _load(facts, cache)
    except FileNotFoundError:
        if not quietly:
            announce(
                f"Building a {facts.library} engine for {facts.gpu} in {facts.precision}{_what_changed(facts, cache)}"
            )
    except ValueError as why:
        announce(f"The kept {facts.library} engine is refused: {why}; building it anew")
    built = build()
    engine = Engine(built.plan, hashlib.sha256(built.plan).hexdigest(), built.remark)
    try:
        _store(engine, built.batch, facts, cache)
    except OSError as error:
        announce(f"The engine cannot be kept in {cache} ({error.strerror}); the next start builds it again")
    return engine


def kept(facts: Facts) -> str | None:
    """sha256 of the engine that `obtain` would take from the cache, or None where it would build."""
    try:
        return _load(facts, folder()).sha256
    except (FileNotFoundError, ValueError):
        return None


def discard(facts: Facts) -> None:
    """Forget an engine that the library does not take, and its kernels."""
    for name in (f"{facts.key}.json", kernels(facts)):
        (folder() / name).unlink(missing_ok=True)


def kernels(facts: Facts) -> str:
    """Name for `recall` of the kernels that TensorRT-RTX compiled for an engine."""
    return f"{facts.key}.kernels"


def recall(name: str) -> bytes | None:
    """What `remember` kept under a name in the cache; None where there is nothing, or it was changed, which is said.

    Raises:
        BackendError: If the cache is open to others.
    """
    try:
        whole = _read(folder() / name)
    except FileNotFoundError:
        return None
    except ValueError as why:
        announce(f"{name} in the engine cache is refused: {why}; it is made anew")
        return None
    digest, data = whole[:_DIGEST], whole[_DIGEST:]
    if hashlib.sha256(data).digest() != digest:
        announce(f"{name} in the engine cache is refused: it was changed or cut short; it is made anew")
        return None
    return data


def remember(name: str, data: bytes) -> None:
    """Keep bytes beside the engines, behind their sha256. A folder that cannot be written only costs time later."""
    cache = folder()
    try:
        _write(cache, name, hashlib.sha256(data).digest() + data)
    except OSError as error:
        announce(f"{name} cannot be kept in {cache} ({error.strerror}); the next start makes it again")


def _load(facts: Facts, cache: Path) -> Engine:
    """Read and compare.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: Saying what does not agree.
    """
    try:
        sidecar: Any = json.loads(_read(cache / f"{facts.key}.json"))
        recorded, digest, size = sidecar["facts"], sidecar["plan"]["sha256"], sidecar["plan"]["bytes"]
        schema, remark = sidecar["schema"], sidecar.get("remark")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("its sidecar is damaged") from error
    if schema != SCHEMA:
        raise ValueError(f"its sidecar is of another version ({schema})")
    differing = _differing(recorded, facts)
    if differing:
        raise ValueError(f"it was built for other facts ({differing})")
    try:
        plan = _read(cache / _plan_name(digest))
    except FileNotFoundError as error:
        raise ValueError("its plan is gone") from error
    if len(plan) != size:
        raise ValueError(f"its plan is truncated ({len(plan)} of {size} bytes)")
    if hashlib.sha256(plan).hexdigest() != digest:
        raise ValueError("its plan was changed (its sha256 differs)")
    return Engine(plan, digest, remark if isinstance(remark, str) else None)


def _read(path: Path) -> bytes:
    """Bytes of a file of this user that is no link.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is a link, or another user's, or others can write to it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read ({error.strerror})") from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise ValueError(f"{path.name} belongs to, or can be written by, another user")
        return stream.read()


def _store(engine: Engine, batch: int, facts: Facts, cache: Path) -> None:
    """The plan under its own hash, then the sidecar that names it: whole or not at all, whoever else is building."""
    sidecar = {
        "schema": SCHEMA,
        "facts": asdict(facts),
        "plan": {"sha256": engine.sha256, "bytes": len(engine.plan)},
        "batch": batch,
        "remark": engine.remark,
    }
    _write(cache, _plan_name(engine.sha256), engine.plan)
    _write(cache, f"{facts.key}.json", json.dumps(sidecar, indent=1).encode())


def _write(cache: Path, name: str, data: bytes) -> None:
    """A file of this user alone, whole or not at all."""
    temporary = cache / f".{name}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    write_private(temporary, data)
    temporary.replace(cache / name)


def _plan_name(digest: object) -> str:
    if not isinstance(digest, str) or len(digest) != 64 or not digest.isalnum():
        raise ValueError("its sidecar is damaged")
    return f"{digest}.plan"


def _differing(recorded: object, facts: Facts) -> str:
    if not isinstance(recorded, dict):
        return "none recorded"
    return ", ".join(
        f"{name} {recorded.get(name)} there, {value} here"
        for name, value in asdict(facts).items()
        if recorded.get(name) != value
    )


def _what_changed(facts: Facts, cache: Path) -> str:
    """Why the engine that was used until now is not, in words; empty for a first one."""
    for sidecar in sorted(cache.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            recorded = json.loads(_read(sidecar))["facts"]
            same = recorded["network"] == facts.network and recorded["precision"] == facts.precision
            if same and recorded["library"].split()[0] == facts.library.split()[0]:
                return f" (the one kept here was built for other facts: {_differing(recorded, facts)})"
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return ""
