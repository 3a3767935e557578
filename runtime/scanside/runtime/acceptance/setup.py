"""Configuration and installation: `serve --check`, and what is installed."""

from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, distributions

from scanside.runtime.acceptance.record import Check, passed, refused
from scanside.runtime.appliance.check import Finding
from scanside.runtime.appliance.config import Config


def configured(findings: Sequence[Finding]) -> tuple[Check, ...]:
    """The findings of `appliance.check.check`, one line each."""
    checks = []
    seen: dict[str, int] = {}
    for finding in findings:
        seen[finding.what] = seen.get(finding.what, 0) + 1
        name = finding.what if seen[finding.what] == 1 else f"{finding.what} ({seen[finding.what]})"
        if finding.ok:
            checks.append(passed("setup", name, finding.sentence))
        else:
            checks.append(
                refused(
                    "setup",
                    name,
                    finding.sentence,
                    "" if ";" in finding.sentence else "Mend it, and run again.",
                )
            )
    return tuple(checks)


def settings(config: Config) -> dict[str, str]:
    """What of the configuration the figures depend on, in words."""
    work = config.work
    return {
        "device": work.device,
        "precision": work.precision,
        "mirroring": "on" if work.mirroring else "off",
        "step size": f"{work.step_size:g}",
        "folds": ", ".join(work.folds) if work.folds is not None else "all",
        "threads": "one a core" if work.threads is None else str(work.threads),
        "receiver": f"{config.receive.ae_title}, {'TLS' if config.receive.tls else 'plaintext'}",
        "destinations": ", ".join(one.name for one in config.destinations) or "none",
    }


def licences(found: Iterable[Distribution] | None = None) -> dict[str, str]:
    """Licence of every installed distribution, as it states it itself; `not stated` where it does not."""
    named = {}
    for one in distributions() if found is None else found:
        meta = one.metadata
        if name := meta["Name"]:
            named[f"{name} {one.version}"] = _licence(
                meta.get_all("Classifier") or [], meta["License-Expression"], meta["License"]
            )
    return dict(sorted(named.items(), key=lambda pair: pair[0].lower()))


def _licence(classifiers: Sequence[str], expression: str | None, text: str | None) -> str:
    if expression:
        return expression
    named = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")]
    if named:
        return ", ".join(named)
    first = (text or "").strip().splitlines()
    return first[0][:60] if first else "not stated"
