"""A result folder that is written again: a job that was tried before finds one."""

from pathlib import Path

from scanside.runtime.bundle import open_bundle
from scanside.runtime.options import Options
from scanside.runtime.study.compose import run_report
from scanside.runtime.study.objects import ObjectOptions
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyResult
from scanside.runtime.study.report import StudyReport
from scanside.runtime.study.write import existing_results, write_result


def test_outlines_are_there_after_a_second_try_and_gone_after_one_without(
    runner: StudyRunner, bundle: Path, dicom_study: Path, tmp_path: Path
) -> None:
    opened, out = open_bundle(bundle), tmp_path / "result"
    result = runner.run(read_study(dicom_study, ("t2w", "dwi", "adc")))

    def written(outlines: bool) -> StudyReport:
        def document(final: StudyResult, outputs: list[Path]) -> StudyReport:
            return run_report(final, opened, Options("cpu"), [dicom_study], outputs)

        channels = {"t2w": ("t2w",), "dwi": ("dwi",)}
        return write_result(result, opened, channels, out, document, options=ObjectOptions(outlines=outlines))

    for _ in range(2):
        report = written(outlines=True)
        outlines = [Path(one.path) for one in report.objects if one.kind == "gsps"]
        assert len(outlines) == 2 and all(path.is_file() for path in outlines)
        assert {*map(Path, report.outputs)} == {*existing_results(out, ("t2w", "dwi"))} == {*out.iterdir()}
    written(outlines=False)
    assert not any(path.exists() for path in outlines)
