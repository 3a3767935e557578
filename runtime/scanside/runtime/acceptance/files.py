"""Where reports lie: a record (JSON) and a page (HTML) a run, named by its start."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from scanside.runtime.acceptance.charts import charts
from scanside.runtime.acceptance.page import page_of
from scanside.runtime.acceptance.record import Report
from scanside.runtime.errors import InputError
from scanside.runtime.images.files import atomic_write, writing_failed
from scanside.runtime.record import first_fault
from scanside.runtime.signing import SigningKey, sign_file, verify_file
from scanside.runtime.trust import Trust

_NAME = "acceptance"


def write_report(
    report: Report, folder: Path, key: SigningKey | None = None, earlier: Sequence[Report] = ()
) -> Path:
    """Write record and page, and sign both where there is a key; returns the page.

    Args:
        earlier: Runs that the page draws charts of, the oldest first.

    Raises:
        OutputError: If they cannot be written.
    """
    stem = f"{_NAME}-{report.started[:19].replace('-', '').replace(':', '')}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise writing_failed(folder, error) from error
    page = folder / f"{stem}.html"
    for path, text in (
        (folder / f"{stem}.json", report.text()),
        (page, page_of(report, charts([*earlier, report]))),
    ):
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        if key is not None:
            sign_file(path, "acceptance report", key, report.by)
    return page


def read_report(path: Path, trust: Trust | None = None) -> Report:
    """Read a record; one that was signed has to be what was signed.

    Args:
        trust: Where it names keys for reports, one of them has to have signed it.

    Raises:
        InputError: If it is none, of another version, was altered, or is signed by a stranger or by nobody.
    """
    signatures = verify_file(path, "acceptance report")
    wanted = trust is not None and any("acceptance report" in key.signs for key in trust.keys)
    if trust is not None and wanted and trust.signer(signatures, "acceptance report") is None:
        raise InputError(f"{path} is signed by no key that [trust] names for reports; give one that is.")
    try:
        return Report.read(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give the record of an acceptance."
        ) from error
    except ValidationError as error:
        where, why = first_fault(error)
        raise InputError(
            f"{path} is not the record of an acceptance: {where or 'record'}: {why}; give another one."
        ) from error


def earlier_reports(folder: Path) -> tuple[Report, ...]:
    """Every record in a folder that can be read, the oldest first."""
    found = []
    for path in sorted(folder.glob(f"{_NAME}-*.json")):
        try:
            found.append(read_report(path))
        except InputError:
            continue
    return tuple(sorted(found, key=lambda report: report.started))


def last_report(folder: Path) -> Path:
    """The newest record in a folder.

    Raises:
        InputError: If there is none.
    """
    found = sorted(folder.glob(f"{_NAME}-*.json"))
    if not found:
        raise InputError(f"{folder} holds no record of an acceptance; run it once without --compare.")
    return found[-1]
