"""`scanside selftest`: the golden cases on this machine."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from scanside.runtime.backends.table import DEVICES, backend
from scanside.runtime.bundle import Bundle, open_bundle, verify
from scanside.runtime.errors import BackendError, BundleError, ExitCode
from scanside.runtime.golden import replay_all
from scanside.runtime.golden_study import load_study, replay_study
from scanside.runtime.options import Options
from scanside.runtime.pipeline import Obtained, Segmenter

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def selftest(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="One device; default: all that are here.")
    ] = None,
    precision: Annotated[str, typer.Option(metavar="NAME", help="fp32, mixed, bf16 or int8.")] = "fp32",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> int:
    """Verify a bundle and replay its golden cases here. Exit code 4 when a device does not compute what it must.

    Example: scanside selftest hippocampus.bundle
    """
    opened = open_bundle(bundle)
    verify(opened)
    if not opened.manifest.golden:
        raise BundleError(f"{bundle} has no golden cases; export it again.")
    devices = [device] if device else [name for name in DEVICES if _usable(name, precision)]
    if not devices:
        raise BackendError(f"No device here has precision '{precision}'; see `scanside doctor`.")
    rows: list[dict[str, Any]] = []
    for name in devices:
        for role in dict.fromkeys(case.role for case in opened.manifest.golden):
            rows += _replay(opened, Options(device=name, precision=precision, role=role))
    studies = [asdict(replay_study(opened, load_study(opened, study))) for study in opened.manifest.studies]
    failed = [row for row in [*rows, *studies] if row["problem"]]
    if as_json:
        status = "failed" if failed else "ok"
        document = {
            "schema": "scanside.selftest/1",
            "status": status,
            "bundle": opened.summary(),
            "cases": rows,
            "studies": studies,
        }
        print(json.dumps(document, indent=1))
    else:
        for row in rows:
            print(_case_line(row))
        for row in studies:
            print(_study_line(row))
    return ExitCode.BACKEND if failed else ExitCode.OK


def _case_line(row: dict[str, Any]) -> str:
    return (
        f"{row['device']:12} {row['precision']:6} {row['case']:24} {row['differing']:6} of {row['voxels']} "
        f"voxels differ  {row['ms'] / 1000:7.2f} s  {_verdict(row)}"
    )


def _study_line(row: dict[str, Any]) -> str:
    return (
        f"{'radiomics':12} {'fp64':6} {row['case']:24} {row['features']} features differ by at most "
        f"{row['feature_error']:.1e} of their value, the probability by {row['probability_error']:.1e}  {_verdict(row)}"
    )


def _verdict(row: dict[str, Any]) -> str:
    return f"FAILED: {row['problem']}" if row["problem"] else "ok"


def _usable(name: str, precision: str) -> bool:
    return backend(name).missing() is None and precision in backend(name).FILES


def _replay(bundle: Bundle, options: Options) -> list[dict[str, Any]]:
    with Segmenter(
        bundle, options, Obtained(options.device, options.device, "selftest", options.precision)
    ) as opened:
        return [asdict(result) for result in replay_all(opened)]
