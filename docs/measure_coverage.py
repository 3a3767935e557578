"""How much of each component the tests run, from the report of `make coverage`.

python docs/measure_coverage.py dist/coverage.json OUT.json
"""

import json
import sys
from collections import Counter
from pathlib import Path

COMPONENTS = ("runtime", "export", "training", "tui", "benchmarks")


def by_component(files: dict[str, dict[str, dict[str, int]]]) -> dict[str, dict[str, float]]:
    """Component → statements, those that a test ran, and the part in percent.

    Args:
        files: Path → its summary, as coverage.py reports it.
    """
    statements: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    for path, found in files.items():
        component = path.split("/", 1)[0]
        if component in COMPONENTS:
            statements[component] += found["summary"]["num_statements"]
            covered[component] += found["summary"]["covered_lines"]
    return {
        name: {
            "statements": statements[name],
            "covered": covered[name],
            "percent": round(100 * covered[name] / statements[name], 1),
        }
        for name in COMPONENTS
        if statements[name]
    }


def main() -> None:
    """Write OUT.json."""
    report = json.loads(Path(sys.argv[1]).read_text())
    document = {"measured": report["meta"]["timestamp"][:10], "components": by_component(report["files"])}
    Path(sys.argv[2]).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
