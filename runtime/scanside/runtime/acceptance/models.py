"""The bundle on this machine: integrity, golden cases on every device that may be used, and the IBSI phantom."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from scanside.runtime.acceptance.record import Check, count, failed, not_done, passed, refused, seconds
from scanside.runtime.backends.table import DEVICES, backend
from scanside.runtime.bundle import Bundle, verify
from scanside.runtime.choose import open_segmenter
from scanside.runtime.errors import ScansideError
from scanside.runtime.golden import Comparison, replay_all
from scanside.runtime.golden_study import StudyComparison, load_study, replay_study
from scanside.runtime.options import Options
from scanside.runtime.pipeline import LocalSegmenter
from scanside.runtime.radiomics.conformance import Row
from scanside.runtime.segmenter import Obtained, Segmenter
from scanside.runtime.trust import Trust, judge

_AGAIN = "Export the bundle again, or choose another device; do not use this one."


def bundle_checks(bundle: Bundle, options: Options, trust: Trust) -> Iterator[Check]:
    """Every check of a bundle.

    Args:
        trust: Whose signatures count.
        options: As the appliance computes; a device of `auto` stands for every one that is here.
    """
    yield signature(bundle, trust)
    try:
        number = verify(bundle)
    except ScansideError as error:
        yield refused("model", "every file as exported", str(error))
        return
    yield passed("model", "every file as exported", f"{number} files have the sha256 of their manifest.")
    if not bundle.manifest.golden:
        yield failed(
            "model", "golden cases", "The bundle holds no golden cases.", "Export it again with golden cases."
        )
    for device in _devices(options):
        yield from _golden(bundle, options, device)
    if not bundle.manifest.studies:
        yield not_done(
            "model",
            "golden study",
            "The bundle holds no golden study: radiomics and classifier are not proven here.",
        )
    for study in bundle.manifest.studies:
        try:
            yield golden_study(replay_study(bundle, load_study(bundle, study)))
        except ScansideError as error:
            yield refused("model", f"golden study {study.name}", str(error))


def signature(bundle: Bundle, trust: Trust) -> Check:
    """Who vouches for the bundle."""
    try:
        standing = judge(bundle, trust)
    except ScansideError as error:
        return refused("model", "signature", str(error))
    words = f"{standing.words[:1].upper()}{standing.words[1:]}."
    return passed("model", "signature", words) if standing.signer else not_done("model", "signature", words)


def _devices(options: Options) -> list[str]:
    if options.engine is not None:
        return [options.engine.url]
    if options.device != "auto":
        return [options.device]
    return [
        name
        for name in DEVICES
        if backend(name).missing() is None and _precision(options) in backend(name).FILES
    ]


def _precision(options: Options) -> str:
    return "fp32" if options.precision == "auto" else options.precision


def _golden(bundle: Bundle, options: Options, device: str) -> Iterator[Check]:
    for role in dict.fromkeys(case.role for case in bundle.manifest.golden):
        try:
            with _opened(bundle, options, device, role) as segmenter:
                compared = replay_all(segmenter)
        except ScansideError as error:
            yield refused("model", f"{role} on {device}", str(error))
            continue
        yield from (golden_case(one, role) for one in compared)


def _opened(bundle: Bundle, options: Options, device: str, role: str) -> Segmenter:
    if options.engine is not None:
        return open_segmenter(bundle, replace(options, role=role))
    how = Options(device=device, precision=_precision(options), role=role, threads=options.threads)
    return LocalSegmenter(bundle, how, Obtained(device, device, "acceptance", how.precision))


def golden_case(compared: Comparison, role: str) -> Check:
    """One golden case on one device."""
    name = f"{compared.case} on {compared.device}, {compared.precision}"
    figures = (count("differing voxels", compared.differing), seconds("time", compared.ms / 1000))
    found = f"{compared.differing} of {compared.voxels} voxels of {role} differ from nnU-Net's."
    if compared.problem:
        return failed(
            "model", name, f"{found} {compared.problem[:1].upper()}{compared.problem[1:]}.", _AGAIN, *figures
        )
    return passed("model", name, found, *figures)


def golden_study(compared: StudyComparison) -> Check:
    """Radiomics and classifier on the masks of a golden study."""
    name = f"golden study {compared.case}"
    found = f"{compared.found}."
    if compared.problem:
        return failed("model", name, f"{found} {compared.problem[:1].upper()}{compared.problem[1:]}.", _AGAIN)
    return passed("model", name, found)


def ibsi(rows: Sequence[Row]) -> Check:
    """The IBSI-1 digital phantom."""
    wrong = [row for row in rows if row.status == "fail"]
    known = sum(row.status == "known deviation" for row in rows)
    figures = (
        count("features that pass", sum(row.status == "pass" for row in rows)),
        count("known deviations", known),
        count("features that fail", len(wrong)),
    )
    if wrong:
        names = ", ".join(f"{row.reference.kind} {row.reference.feature}" for row in wrong[:5])
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        what = f"{len(wrong)} of {len(rows)} features of the IBSI phantom are beyond their tolerance: {names}{more}."
        return failed(
            "features",
            "IBSI-1 digital phantom",
            what,
            "Install pyradiomics again as the release has it.",
            *figures,
        )
    words = (
        f"{len(rows) - known} of {len(rows)} features agree with the consensus values, "
        f"{known} deviate by definition as documented."
    )
    return passed("features", "IBSI-1 digital phantom", words, *figures)
