"""Write measured figures into the documents, from the committed results files.

A document marks a place with `<!-- figures: NAME -->` and `<!-- /figures -->`. Between them stands the template
`docs/figures/NAME.md`, whose `{placeholders}` are filled from `results/`. Run `make figures` after a results file or a
template has changed; a test compares every document with what this script would write.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import figures_of_peers as beside
import figures_of_program as program
import figures_of_study as study
from results_files import RESULTS

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ROOT / "docs" / "figures"
_BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- /figures -->)", re.DOTALL)


SOURCES: tuple[Callable[[], Iterator[tuple[str, str]]], ...] = (
    beside.peers, beside.runs, program.parity, program.peak, program.install, program.radiomics, program.soak,
    program.terminal, program.coverage, program.gpu_prediction, program.gpu_path, program.device_kinds,
    study.phantom, study.fused, study.lead, study.folds, study.contrast, study.ceiling, study.demonstration,
    study.new_patients,
)  # fmt: skip


def figures() -> dict[str, str]:
    """Every figure that a template may name."""
    return {name: text for source in SOURCES for name, text in source()}


def render(text: str, values: dict[str, str]) -> str:
    """A document with its blocks written anew.

    Raises:
        KeyError: If a template names a figure that no results file holds.
    """

    def fill(block: re.Match[str]) -> str:
        template = (TEMPLATES / f"{block[2]}.md").read_text().strip()
        filled = re.sub(r"\{([^{}\s]+)\}", lambda name: values[name[1]], template)
        return f"{block[1]}{filled}\n{block[3]}"

    return _BLOCK.sub(fill, text)


def documents() -> list[Path]:
    """Documents that hold blocks."""
    found = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted(RESULTS.glob("*/README.md")),
    ]
    return [path for path in found if path.parent != TEMPLATES and _BLOCK.search(path.read_text())]


def main() -> int:
    """Rewrite every document; 0, or 1 with `--check` where one was stale."""
    values, stale = figures(), []
    for path in documents():
        before = path.read_text()
        after = render(before, values)
        if after != before:
            stale.append(path)
            if "--check" not in sys.argv:
                path.write_text(after)
    for path in stale:
        print(path.relative_to(ROOT), file=sys.stderr)
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
