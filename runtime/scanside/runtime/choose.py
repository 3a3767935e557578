"""Choosing the device: `auto` takes the fastest backend that passes the golden cases on this very machine.

The outcome is kept in the user's cache, keyed by everything it depends on, so that the golden cases run once a
bundle and machine, not once a call.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from scanside.runtime import machine
from scanside.runtime.backends.table import DEVICES, Backend, backend
from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import BackendError, CaseError
from scanside.runtime.golden import replay_all
from scanside.runtime.options import Options
from scanside.runtime.pipeline import Obtained, Segmenter


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
    return Segmenter(bundle, options, choose_device(bundle, options, (bundle.role(options.role),), say))


def choose_device(
    bundle: Bundle, options: Options, roles: Sequence[str], say: Callable[[str], None] = _silent
) -> Obtained:
    """The device that the options ask for: of `auto`, the first that passes the golden cases of all `roles`.

    Raises:
        BackendError: If none passes.
    """
    if options.device != "auto":
        return Obtained(options.device, options.device, "asked for", options.precision)
    reasons: list[str] = []
    for device in DEVICES:
        module = backend(device)
        problem = _unusable(module, options.precision)
        for role in roles:
            problem = problem or _golden_problem(bundle, replace(options, role=role), module, say)
        if problem is None:
            why = "first in order of speed that passes the golden cases on this machine"
            if not bundle.manifest.golden:
                why = "first in order of speed; the bundle has no golden cases to test it with"
            if reasons:
                why += f" ({'; '.join(reasons)})"
            return Obtained("auto", device, why, options.precision)
        reasons.append(f"not {device}: {problem}")
    raise BackendError(
        f"No device can run bundle {bundle.path} here: {'; '.join(reasons)}; see `scanside doctor`."
    )


def _unusable(module: Backend, precision: str) -> str | None:
    absent = module.missing()
    if absent:
        return absent[0]
    if precision not in module.FILES:
        return f"it has no precision {precision}"
    return None


def _golden_problem(
    bundle: Bundle, options: Options, module: Backend, say: Callable[[str], None]
) -> str | None:
    """Why the golden cases reject this backend, or None; from the cache where it is known."""
    record = _cache_file(bundle, options, module)
    try:
        known = json.loads(record.read_text())
        if isinstance(known, dict) and (known.get("problem") is None or isinstance(known["problem"], str)):
            return known.get("problem")
    except (OSError, ValueError):
        pass
    if bundle.manifest.golden:
        say(f"First use of this bundle on {module.NAME} here: running its golden cases")
    problem = None
    # Golden results are those of the exact recipe: all folds, nnU-Net's step and mirroring.
    exact = replace(options, step_size=0.5, mirroring=True, folds=None)
    try:
        obtained = Obtained("auto", module.NAME, "golden cases", options.precision)
        for role in bundle.manifest.chain(bundle.role(options.role)):
            with Segmenter(bundle, replace(exact, role=role), obtained) as segmenter:
                failed = [result for result in replay_all(segmenter) if result.problem]
            if failed:
                problem = f"golden case {failed[0].case}: {failed[0].problem}"
                break
    except (BackendError, CaseError) as error:
        return str(error).rstrip(".")
    _remember(record, problem)
    return problem


def _cache_file(bundle: Bundle, options: Options, module: Backend) -> Path:
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
