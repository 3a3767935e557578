"""`scanside doctor`."""

import typer

from scanside.runtime.backends import gpu
from scanside.runtime.cli.arguments import AsJson
from scanside.runtime.doctor import DoctorReport, report
from scanside.runtime.errors import ExitCode

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def doctor(
    as_json: AsJson = False,
) -> int:
    """Say what this machine can run, what is missing, and how to get it. Exit code 4 when no backend works.

    Example: scanside doctor
    """
    found = report()
    print(found.text() if as_json else "\n".join(_lines(found)), end="" if as_json else "\n")
    return ExitCode.OK if any(backend.available for backend in found.backends) else ExitCode.BACKEND


def _lines(found: DoctorReport) -> list[str]:
    where, card = found.machine, gpu.find()
    lines = [
        f"{where.processor}, {where.cores} core(s), {where.memory_gib} GiB",
        f"GPU: {f'none: {card[0]}' if isinstance(card, tuple) else card}",
    ]
    said: set[str] = set()  # several devices lack the same driver
    for finding in (*found.backends, *found.extras):
        mark = "yes" if finding.available else "no "
        lines.append(f"{mark}  {finding.name:12} {finding.title:24} {finding.reason}")
        fixes = finding.fix.split("; ") if finding.fix else []
        lines += [f"     to mend: {fix}" for fix in fixes if fix not in said]
        said |= set(fixes)
        if finding.note and finding.available:
            lines.append(f"     note: {finding.note}")
    return lines
