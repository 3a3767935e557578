"""`scanside doctor`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from scanside.runtime import machine
from scanside.runtime.backends import gpu
from scanside.runtime.doctor import examine
from scanside.runtime.errors import ExitCode

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> int:
    """Say what this machine can run, what is missing, and how to get it. Exit code 4 when no backend works.

    Example: scanside doctor
    """
    findings, found = examine(), gpu.find()
    if as_json:
        document = {
            "schema": "scanside.doctor/2",
            "machine": {
                "processor": machine.processor(),
                "cores": machine.cores(),
                "memory_gib": machine.memory_gib(),
                "gpu": None if isinstance(found, tuple) else asdict(found),
            },
            "backends": [asdict(finding) for finding in findings if finding.kind == "backend"],
            "extras": [asdict(finding) for finding in findings if finding.kind == "extra"],
            "versions": machine.versions(),
        }
        print(json.dumps(document, indent=1))
    else:
        print(f"{machine.processor()}, {machine.cores()} core(s), {machine.memory_gib()} GiB")
        print(f"GPU: {f'none: {found[0]}' if isinstance(found, tuple) else found}")
        said: set[str] = set()  # several devices lack the same driver
        for finding in findings:
            mark = "yes" if finding.available else "no "
            print(f"{mark}  {finding.name:12} {finding.title:24} {finding.reason}")
            fixes = finding.fix.split("; ") if finding.fix else []
            for fix in (fix for fix in fixes if fix not in said):
                print(f"     to mend: {fix}")
            said |= set(fixes)
            if finding.note and finding.available:
                print(f"     note: {finding.note}")
    usable = any(finding.available for finding in findings if finding.kind == "backend")
    return ExitCode.OK if usable else ExitCode.BACKEND
