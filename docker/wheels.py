"""Which packages of the lean install have a wheel for aarch64 (Jetson), and which are built there.

pip answers for the foreign machine, for the versions it takes on this one; nothing is installed. Needs the package
registry, and the project installed in the environment that runs it.

Example: python docker/wheels.py results/aarch64/wheels.json
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Ubuntu 22.04 (JetPack 6) has glibc 2.35; what runs there runs on JetPack 7 as well.
PLATFORMS = [*(f"manylinux_2_{minor}_aarch64" for minor in range(35, 16, -1)), "manylinux2014_aarch64"]


def requirements() -> list[str]:
    """What `scanside[cpu,appliance]` asks for, of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    parts = ("cpu", "dicom", "study", "appliance")
    asked = [line for part in parts for line in project["optional-dependencies"][part]]
    return [*project["dependencies"], *(line for line in asked if not line.startswith("scanside["))]


def report(*arguments: str) -> dict[str, tuple[str, str]]:
    """What pip would install: name → version and file.

    Raises:
        LookupError: pip finds no file of a package that it may take; the argument is the package's name.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        done = subprocess.run(
            [*command, f"--target={folder}", f"--report={file}", *arguments], capture_output=True, text=True
        )
        missing = re.search(r"No matching distribution found for ([\w.-]+)", done.stderr)
        if missing:
            raise LookupError(missing[1])
        if done.returncode:
            sys.exit(done.stderr)
        items = json.loads(file.read_text())["install"]
    return {
        item["metadata"]["name"]: (
            item["metadata"]["version"],
            item["download_info"]["url"].rsplit("/", 1)[1],
        )
        for item in items
    }


def wheels(versions: dict[str, str], python: str) -> dict[str, str]:
    """The aarch64 wheel of each package that has one."""
    foreign = ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    foreign += [f"--platform={platform}" for platform in PLATFORMS]
    wanted = dict(versions)
    while True:
        try:
            found = report(*foreign, *(f"{name}=={version}" for name, version in wanted.items()))
            return {name: file for name, (_, file) in found.items()}
        except LookupError as missing:
            wanted = {name: version for name, version in wanted.items() if name != missing.args[0]}


def answer(name: str, found: dict[str, str]) -> str:
    """The wheel, or what building the package there takes: told by what the build left here."""
    pure = "Root-Is-Purelib: true" in (distribution(name).read_text("WHEEL") or "")
    return found.get(name, "source, pure Python" if pure else "source, needs a C compiler")


def main() -> None:
    """Write the answer as JSON, with date and command, and print it as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--python", default="3.12", help="of the machine; JetPack 7.2 has 3.12")
    arguments = parser.parse_args()
    versions = {name: version for name, (version, _) in sorted(report(*requirements()).items())}
    found = wheels(versions, arguments.python)
    packages = {name: {"version": versions[name], "file": answer(name, found)} for name in versions}
    document = {
        "schema": "scanside.wheels/1",
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python docker/wheels.py {arguments.output} --python {arguments.python}",
        "requirements": requirements(),
        "python": arguments.python,
        "platforms": PLATFORMS,
        "packages": packages,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(document, indent=1) + "\n")
    print("| package | version | aarch64 |\n|---|---|---|")
    for name, one in packages.items():
        print(f"| {name} | {one['version']} | {one['file']} |")


if __name__ == "__main__":
    main()
