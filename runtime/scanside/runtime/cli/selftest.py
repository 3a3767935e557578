"""`scanside selftest`: the golden cases on this machine."""

from typing import Annotated, Literal

import typer
from pydantic import Field

from scanside.runtime.backends.table import DEVICES, backend
from scanside.runtime.bundle import Bundle, open_bundle, verify
from scanside.runtime.cli.arguments import AsJson, BundleFolder
from scanside.runtime.errors import BackendError, BundleError, ExitCode
from scanside.runtime.golden import Comparison, replay_all
from scanside.runtime.golden_study import StudyComparison, load_study, replay_study
from scanside.runtime.options import Options
from scanside.runtime.pipeline import LocalSegmenter
from scanside.runtime.record import Document
from scanside.runtime.report import BundleName, bundle_name
from scanside.runtime.segmenter import Obtained

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class SelftestReport(Document):
    """What `scanside selftest --json` prints."""

    schema_: Literal["scanside.selftest/1"] = Field("scanside.selftest/1", alias="schema")
    status: Literal["ok", "failed"]
    bundle: BundleName
    cases: tuple[Comparison, ...]
    studies: tuple[StudyComparison, ...]
    """Golden studies: features and probability; empty for a bundle of segmenters alone."""


@app.command()
def selftest(
    bundle: BundleFolder,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="One device; default: all that are here.")
    ] = None,
    precision: Annotated[str, typer.Option(metavar="NAME", help="fp32, mixed, bf16 or int8.")] = "fp32",
    as_json: AsJson = False,
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
    cases: list[Comparison] = []
    for name in devices:
        for role in dict.fromkeys(case.role for case in opened.manifest.golden):
            cases += _replay(opened, Options(device=name, precision=precision, role=role))
    studies = [replay_study(opened, load_study(opened, study)) for study in opened.manifest.studies]
    failed = any(case.problem for case in cases) or any(study.problem for study in studies)
    if as_json:
        report = SelftestReport(
            status="failed" if failed else "ok",
            bundle=bundle_name(opened),
            cases=tuple(cases),
            studies=tuple(studies),
        )
        print(report.text(), end="")
    else:
        for line in (*map(_case_line, cases), *map(_study_line, studies)):
            print(line)
    return ExitCode.BACKEND if failed else ExitCode.OK


def _case_line(row: Comparison) -> str:
    return (
        f"{row.device:12} {row.precision:6} {row.case:24} {row.differing:6} of {row.voxels} "
        f"voxels differ  {row.ms / 1000:7.2f} s  {_verdict(row.problem)}"
    )


def _study_line(row: StudyComparison) -> str:
    return f"{'radiomics':12} {'fp64':6} {row.case:24} {row.found}  {_verdict(row.problem)}"


def _verdict(problem: str | None) -> str:
    return f"FAILED: {problem}" if problem else "ok"


def _usable(name: str, precision: str) -> bool:
    return backend(name).missing() is None and precision in backend(name).FILES


def _replay(bundle: Bundle, options: Options) -> list[Comparison]:
    with LocalSegmenter(
        bundle, options, Obtained(options.device, options.device, "selftest", options.precision)
    ) as opened:
        return replay_all(opened)
