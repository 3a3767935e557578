"""Licences of everything that an extra brings, against a list of what is allowed. `make check` runs it.

    python .ci/licences.py            # says what is not allowed, or is not known; exit code 1
    python .ci/licences.py --table    # every package by extra, as Markdown

The product holds no GPL, AGPL or EUPL. Development tools may: they are not part of it and are not looked at.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
NOT_PRODUCT = ("dev", "docs")
ALLOWED = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|PSF|Python Software Foundation|PSFL|ISC|HPND|CMU|MPL|Zlib|Unlicense|CC0|LGPL"
    r"|Historical Permission Notice|ISMRMRD|NVIDIA|Public Domain|BSL-1\.0|CNRI)\b",
    re.IGNORECASE,
)
FORBIDDEN = re.compile(
    r"(?<![L])\bA?GPL|GNU (Affero )?General Public|EUPL|SSPL|Commons Clause", re.IGNORECASE
)
READ = {
    "pyradiomics-bhklab": "BSD-3-Clause",
    "python-gdcm": "BSD-3-Clause",
    "cuda-bindings": "NVIDIA software licence",
    "tensorrt-rtx": "NVIDIA software licence",
}
"""Licences that we read in the package itself, where its metadata do not say them."""


def licence(found: Distribution) -> str:
    """What the metadata say, in one line; empty where they say nothing."""
    name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
    for start, words in READ.items():
        if name == start or name.startswith(f"{start}-"):
            return words
    stated = found.metadata.get("License-Expression") or ""
    classified = [
        line.rpartition(" :: ")[2]
        for line in found.metadata.get_all("Classifier") or ()
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    text = (found.metadata.get("License") or "").strip().splitlines()
    return stated or ", ".join(classified) or (text[0][:80] if text else "")


def closure(requirements: list[str]) -> Iterator[Distribution]:
    """Everything that is installed of these requirements and of what they require."""
    todo, seen = [Requirement(line) for line in requirements], set[tuple[str, frozenset[str]]]()
    while todo:
        one = todo.pop()
        key = (one.name.lower().replace("_", "-"), frozenset(one.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            found = distribution(one.name)
        except PackageNotFoundError:
            continue  # for another platform, or an extra that is not installed here
        if key[0] != "scanside":
            yield found
        environments = [{"extra": extra} for extra in ("", *one.extras)]
        for line in found.requires or ():
            further = Requirement(line)
            if further.marker is None or any(further.marker.evaluate(where) for where in environments):
                todo.append(further)


def extras() -> dict[str, list[Distribution]]:
    """The base and each extra of the product → what it brings, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {"base": project["dependencies"]}
    wanted |= {
        name: [f"scanside[{name}]"] for name in project["optional-dependencies"] if name not in NOT_PRODUCT
    }
    return {name: _by_name(closure(lines)) for name, lines in wanted.items()}


def _by_name(packages: Iterator[Distribution]) -> list[Distribution]:
    found = {one.metadata["Name"].lower(): one for one in packages}
    return [found[name] for name in sorted(found)]


def problems() -> list[str]:
    """A sentence for each package whose licence is not allowed or not known."""
    found = []
    for extra, packages in extras().items():
        for package in packages:
            words, name = licence(package), package.metadata["Name"]
            if FORBIDDEN.search(words):
                found.append(f"{name} of [{extra}] is under {words}, which the product may not hold.")
            elif not ALLOWED.search(words):
                found.append(f"{name} of [{extra}] states '{words}'; read its licence and add it to READ.")
    return sorted(set(found))


def table() -> str:
    """Every package by extra, as Markdown."""
    parts = []
    for extra, packages in extras().items():
        rows = (f"| {one.metadata['Name']} | {one.version} | {licence(one)} |" for one in packages)
        parts.append("\n".join((f"## {extra}\n\n| package | version | licence |\n|---|---|---|", *rows)))
    return "\n\n".join(parts)


def main() -> int:
    """See the module's words."""
    if "--table" in sys.argv:
        print(table())
        return 0
    found = problems()
    for sentence in found:
        print(sentence, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
