"""Choosing the device: `auto` takes the fastest backend that passes the golden cases on this very machine, and one that
compiles its kernels here has to pass them whoever asked for it.

The outcome is kept in the user's cache, keyed by everything it depends on, so that the golden cases run once a
bundle and machine, not once a call.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from scanside.runtime import machine
from scanside.runtime.backends.engines import announcing, keeping
from scanside.runtime.backends.table import DEVICES, Backend, backend
from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import BackendError, CaseError
from scanside.runtime.golden import first_problem, replay_all
from scanside.runtime.options import Options
from scanside.runtime.pipeline import LocalSegmenter
from scanside.runtime.segmenter import Obtained, Segmenter


def _silent(sentence: str) -> None:
    """Say nothing."""


def open_segmenter(
    bundle: Bundle, options: Options | None = None, say: Callable[[str], None] = _silent
) -> Segmenter:
    """Open a bundle's segmenter on the device that the options ask for.

    Args:
        say: Told when the golden cases have to run, which for a large network takes a while.

    Raises:
        BackendError: If the device asked for is not available, or none passes.
    """
    options = options or Options()
    if options.engine is not None:
        return _remote(bundle, options, say)
    device = choose_device(bundle, options, (bundle.role(options.role),), say)
    with announcing(say), keeping(_judged(bundle, device)):
        return LocalSegmenter(bundle, options, device)


def open_segmenters(
    bundle: Bundle, options: Options, roles: Sequence[str], say: Callable[[str], None] = _silent
) -> tuple[Obtained, dict[str, Segmenter]]:
    """Open several segmenters of a bundle on one device; all or none.

    Raises:
        BackendError: If the device asked for is not available, or none passes for all of them.
    """
    if options.engine is not None:
        from scanside.runtime.triton.segmenter import open_study

        return open_study(bundle, options, roles)
    device = choose_device(bundle, options, roles, say)
    segmenters: dict[str, Segmenter] = {}
    with ExitStack() as opened, announcing(say), keeping(_judged(bundle, device)):
        for role in roles:
            segmenters[role] = opened.enter_context(
                LocalSegmenter(bundle, replace(options, role=role), device)
            )
        opened.pop_all()
    return device, segmenters


def _judged(bundle: Bundle, device: Obtained) -> bool:
    """Whether golden cases passed with the very networks that are kept here."""
    return device.engines is not None and bool(bundle.manifest.golden)


def _remote(bundle: Bundle, options: Options, say: Callable[[str], None]) -> Segmenter:
    """The same on the server that the options name; its client is loaded only then."""
    from scanside.runtime.triton.segmenter import RemoteSegmenter

    return RemoteSegmenter(bundle, options, say)


def choose_device(
    bundle: Bundle, options: Options, roles: Sequence[str], say: Callable[[str], None] = _silent
) -> Obtained:
    """The device that the options ask for: of `auto`, the first that passes the golden cases of all `roles`.

    A device asked for by name has to pass them too where its kernels are compiled for this very machine (`ON_TRIAL`
    of its backend), or where `on_rejection` says what is to happen otherwise.

    Raises:
        BackendError: If the device asked for is not available or is rejected, or none passes.
    """
    asked = options.device
    if asked != "auto" and not backend(asked).ON_TRIAL and options.on_rejection is None:
        return Obtained(asked, asked, "asked for", _precisions(bundle, options, asked)[0])
    following = asked == "auto" or options.on_rejection == "next"
    policy = options.on_rejection or ("next" if asked == "auto" else "fail")
    first = 0 if asked == "auto" else DEVICES.index(asked)
    reasons: dict[str, list[str]] = {}
    for device in DEVICES[first:] if following else (asked,):
        module, wanted = backend(device), _precisions(bundle, options, device)
        unusable = _unusable(module, wanted[0])
        if unusable:
            if device == asked:
                raise BackendError(f"Device '{device}' is not available: {'; '.join(unusable)}.")
            reasons.setdefault(unusable[0].split("; ")[0], []).append(device)
            continue
        for precision in wanted:
            exactly = replace(options, precision=precision)
            problem, engines = _on_trial(bundle, exactly, roles, module, say)
            if problem is None:
                return Obtained(asked, device, _why(bundle, asked, device, reasons), precision, engines)
            if policy == "fail" and precision == wanted[-1]:
                raise BackendError(
                    f"Device '{device}' is rejected: {problem}; use another device or --on-rejection next."
                )
            name = device if len(wanted) == 1 else f"{device} in {precision}"
            say(f"Device {name} is not used: {problem}")
            reasons.setdefault(problem, []).append(name)
    raise BackendError(
        f"No device can run bundle {bundle.path} here: {_words(reasons)}; see `scanside doctor`."
    )


def _precisions(bundle: Bundle, options: Options, device: str) -> tuple[str, ...]:
    """The precisions to try on a device, in turn: on a GPU float32 alone takes several times nnU-Net's own time."""
    if options.precision != "auto":
        return (options.precision,)
    segmenters = bundle.manifest.segmenters.values()
    held = all("mixed" in network.files for segmenter in segmenters for network in segmenter.networks)
    return (
        ("mixed", "fp32")
        if held and backend(device).ON_TRIAL and "mixed" in backend(device).FILES
        else ("fp32",)
    )


def _unusable(module: Backend, precision: str) -> tuple[str, str] | None:
    """Why a backend cannot be used at all, and what mends it, or None."""
    if precision not in module.FILES:
        return f"it has no precision {precision}", f"it has {', '.join(module.FILES)}"
    return module.missing()


def _why(bundle: Bundle, asked: str, device: str, reasons: dict[str, list[str]]) -> str:
    if device == asked:
        why = "asked for; it passes the golden cases on this machine"
        return f"{why} ({_words(reasons)})" if reasons else why
    why = "first in order of speed that passes the golden cases on this machine"
    if not bundle.manifest.golden:
        why = "first in order of speed; the bundle has no golden cases to test it with"
    return f"{why} ({_words(reasons)})" if reasons else why


def _words(reasons: dict[str, list[str]]) -> str:
    return "; ".join(f"not {', '.join(devices)}: {reason}" for reason, devices in reasons.items())


def _on_trial(
    bundle: Bundle, options: Options, roles: Sequence[str], module: Backend, say: Callable[[str], None]
) -> tuple[str | None, frozenset[str]]:
    """Why the golden cases of the roles reject this backend, or None; and the engines that passed."""
    passed: frozenset[str] = frozenset()
    for role in roles:
        problem, engines = _golden_problem(bundle, replace(options, role=role), module, say)
        if problem is not None:
            return problem, passed
        passed |= engines
    return None, passed


def _golden_problem(
    bundle: Bundle, options: Options, module: Backend, say: Callable[[str], None]
) -> tuple[str | None, frozenset[str]]:
    """The same for one role; from the cache where it is known for exactly these engines."""
    try:
        kept = _kept_engines(bundle, options, module)
    except BackendError as error:  # an engine cache that is open to others
        return str(error).rstrip("."), frozenset()
    if kept is not None:
        try:
            known = json.loads(_cache_file(bundle, options, module, kept).read_text())
            if isinstance(known, dict) and (
                known.get("problem") is None or isinstance(known["problem"], str)
            ):
                return known.get("problem"), kept
        except (OSError, ValueError):
            pass
    if bundle.manifest.golden:
        say(f"First use of this bundle on {module.NAME} here: running its golden cases")
    try:
        with announcing(say), keeping(bool(bundle.manifest.golden)):
            problem, engines = _replay(bundle, options, module)
    except (BackendError, CaseError) as error:
        return str(error).rstrip("."), frozenset()
    _remember(_cache_file(bundle, options, module, engines), problem)
    return problem, engines


def _replay(bundle: Bundle, options: Options, module: Backend) -> tuple[str | None, frozenset[str]]:
    engines: frozenset[str] = frozenset()
    # Golden results are those of the exact recipe: all folds, nnU-Net's step and mirroring.
    exact = replace(options, step_size=0.5, mirroring=True, folds=None)
    trial = Obtained("auto", module.NAME, "golden cases", options.precision)
    for role in bundle.manifest.chain(bundle.role(options.role)):
        with LocalSegmenter(bundle, replace(exact, role=role), trial) as segmenter:
            engines |= segmenter.engines
            results = replay_all(segmenter)
        if module.ON_TRIAL and not results:
            return f"the bundle has no golden case of '{role}' to prove it with", engines
        if problem := first_problem(results):
            return problem, engines
    return None, engines


def _kept_engines(bundle: Bundle, options: Options, module: Backend) -> frozenset[str] | None:
    """The engines that opening the bundle would take from this machine's cache; None where it would build one."""
    if module.kept is None or not (bundle.manifest.golden or module.ON_TRIAL):
        return frozenset()
    found: set[str] = set()
    for role in bundle.manifest.chain(bundle.role(options.role)):
        for network in bundle.manifest.segmenters[role].networks:
            path = network.files.get(module.FILES[options.precision])
            file = bundle.manifest.files[path] if path else None
            engine = module.kept(file, options.precision, options.threads) if file else None
            if engine is None:
                return None
            found.add(engine)
    return frozenset(found - {""})


def _cache_file(bundle: Bundle, options: Options, module: Backend, engines: frozenset[str]) -> Path:
    from platformdirs import user_cache_path

    facts = (
        bundle.sha256,
        bundle.role(options.role),
        module.NAME,
        module.version(),
        options.precision,
        str(options.threads),
        machine.processor(),
        str(machine.cores()),
        json.dumps(machine.versions(), sort_keys=True),
        *sorted(engines),
    )
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return user_cache_path("scanside") / "golden" / f"{key}.json"


def _remember(record: Path, problem: str | None) -> None:
    """Keep the outcome; a cache that cannot be written only costs the golden run next time."""
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        temporary = record.with_suffix(".tmp")
        temporary.write_text(json.dumps({"problem": problem}))
        temporary.replace(record)
    except OSError:
        return
